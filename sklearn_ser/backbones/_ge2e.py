"""GE2E: the speaker encoder of Wan et al. as Resemblyzer published it, procedure included."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from sklearn_ser.audio import mel_filterbank, mel_spectrogram, sample_window

from ._base import AudioBackbone
from ._checkpoint import Layout, fill_network, read_tensors, share_network

GE2E = Layout(
    settings=(),
    weights=(("pretrained.pt",),),
    origin="one with the GE2E checkpoint of Resemblyzer",
)

_N_MELS = 40
_N_DIMS = 256
_N_FFT = 400  # 25 ms
_HOP = 160  # 10 ms
# Recordings quieter than this are made as loud; others stay as they are.
_RMS = 10 ** (-30 / 20)
# A recording is heard in parts of 1.6 s, about 1.3 of which begin in a second.
_FRAMES_OF_PART = 160
_FRAMES_TO_NEXT = round(16000 / 1.3 / _HOP)
# The last part is filled up with zeros, or left out where the recording covers less of it.
_MIN_COVERAGE = 0.75
# Parts that pass through the network at once: 10 MB of spectrograms.
_PARTS_AT_ONCE = 400


def find_ge2e():
    """Return the checkpoint that an installed Resemblyzer brings, without importing it.

    Returns
    -------
    path : Path

    Raises
    ------
    FileNotFoundError
        If Resemblyzer is not installed.
    """
    package = importlib.util.find_spec("resemblyzer")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "pretrained.pt"
        if path.is_file():
            return path
    raise FileNotFoundError(
        "model='ge2e' is the file pretrained.pt that the package Resemblyzer carries, and it is "
        "not installed here. Run `pip install --no-deps Resemblyzer` (none of its code is run), "
        "or pass the file or its folder: model='path/to/pretrained.pt'."
    )


class GE2EBackbone(AudioBackbone):
    """The frozen speaker encoder, and what is done to a recording before and after it.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the network is.
    device : str
        Where to run it.
    dtype : torch.dtype
        Its precision.
    """

    name = "ge2e"
    sampling_rate = 16000
    n_dims = _N_DIMS
    cuts_by_itself = True

    def __init__(self, checkpoint, *, device, dtype):
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.filters = mel_filterbank(
            self.sampling_rate, _N_FFT, _N_MELS, 0.0, self.sampling_rate / 2, False, "slaney"
        )
        self.window = sample_window("hann", _N_FFT, _N_FFT)

    def n_samples_seen(self, n_samples):
        """Return on how many samples the network computes: those of the parts, which overlap."""
        return len(_part_starts(n_samples)) * _FRAMES_OF_PART * _HOP

    def prepare(self, waveform):
        """Make a quiet recording louder; silence stays silent."""
        rms = np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
        if rms == 0 or rms >= _RMS:
            return waveform
        return (waveform * (_RMS / rms)).astype(np.float32)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the embeddings, as the one layer there is.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Prepared.
        last_layer : int
            Of no consequence.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            Of length 1: the mean of the parts' embeddings, normalised.
        """
        network = self._network()
        totals = torch.zeros(len(waveforms), _N_DIMS, device=self.device)
        parts = [
            (row, part) for row, waveform in enumerate(waveforms) for part in self._cut(waveform)
        ]
        for first in range(0, len(parts), _PARTS_AT_ONCE):
            rows, spectrograms = zip(*parts[first : first + _PARTS_AT_ONCE], strict=True)
            batch = torch.from_numpy(np.stack(spectrograms)).to(self.device, self.dtype)
            embedded = F.normalize(network(batch).float())
            totals.index_add_(0, torch.tensor(rows, device=self.device), embedded)
        yield F.normalize(totals)[:, None]

    def _cut(self, waveform):
        """Return the spectrogram in parts: views of shape (n_frames, n_mels)."""
        starts = _part_starts(len(waveform))
        missing = (starts[-1] + _FRAMES_OF_PART) * _HOP - len(waveform)
        spectrogram = mel_spectrogram(
            np.pad(waveform, (0, max(missing, 0))),
            self.filters,
            self.window,
            hop_length=_HOP,
            center=True,
            power=2,
        ).T
        return [spectrogram[start : start + _FRAMES_OF_PART] for start in starts]

    def _network(self):
        checkpoint = self.checkpoint

        def load():
            (path,) = checkpoint.files
            saved = read_tensors(checkpoint, path)
            if not isinstance(saved.get("model_state"), dict):
                raise ValueError(
                    f"{checkpoint.label} is no checkpoint of GE2E: it has no 'model_state'."
                )
            # Two more scale similarities in training.
            weights = {k: v for k, v in saved["model_state"].items() if "similarity" not in k}
            network = fill_network(_Network(), weights, checkpoint)
            return network.to(self.device, self.dtype)

        key = (*checkpoint.files, checkpoint.version, _Network, self.device, self.dtype)
        return share_network(key, load)


class _Network(torch.nn.Module):
    """Three recurrent layers; what the last knows at the end of a part is projected."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.lstm = torch.nn.LSTM(_N_MELS, _N_DIMS, num_layers=3, batch_first=True)
            self.linear = torch.nn.Linear(_N_DIMS, _N_DIMS)

    def forward(self, spectrograms):
        _, (last_states, _) = self.lstm(spectrograms)
        return F.relu(self.linear(last_states[-1]))


def _part_starts(n_samples):
    """Return the frames where the parts of a recording begin: one part at least."""
    n_frames = -(-(n_samples + 1) // _HOP)
    starts = range(0, max(1, n_frames - _FRAMES_OF_PART + _FRAMES_TO_NEXT + 1), _FRAMES_TO_NEXT)
    covered = (n_samples - starts[-1] * _HOP) / (_FRAMES_OF_PART * _HOP)
    return starts[:-1] if covered < _MIN_COVERAGE and len(starts) > 1 else starts
