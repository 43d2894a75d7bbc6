"""GE2E, the speaker encoder of Wan et al., with the weights and procedure of Resemblyzer."""

import numpy as np
import torch
from torch.nn import functional as F

from sklearn_ser.audio import mel_filterbank, mel_spectrogram, sample_window

from ._base import AudioBackbone
from ._checkpoint import CheckpointError
from ._loading import get_cached
from ._weights import check_tensors, load_state_dict_strict, read_tensors

_N_MELS = 40
_N_DIMS = 256
_N_FFT = 400  # 25 ms
_HOP = 160  # 10 ms
# Quieter recordings are amplified to this level (-30 dBFS).
_MIN_RMS = 10 ** (-30 / 20)
# A recording is split into parts of 1.6 s, 1.3 per second.
_PART_FRAMES = 160
_PART_HOP = round(16000 / 1.3 / _HOP)
# The last part is padded with zeros, or dropped if the recording covers less of it.
_MIN_COVERAGE = 0.75
# Number of parts in a batch: 10 MB of spectrograms.
_PARTS_PER_BATCH = 400


class GE2EBackbone(AudioBackbone):
    """The frozen speaker encoder, with its preprocessing and the averaging over parts.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of the network.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
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

    def n_samples_processed(self, n_samples):
        """Return the number of samples of all parts, which overlap."""
        return len(_part_starts(n_samples)) * _PART_FRAMES * _HOP

    def prepare(self, waveform):
        """Amplify a quiet recording; digital silence is returned unchanged."""
        rms = np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
        if rms == 0 or rms >= _MIN_RMS:
            return waveform
        return (waveform * (_MIN_RMS / rms)).astype(np.float32)

    @torch.inference_mode()
    def encode(self, waveforms, last_layer):
        """Yield the embeddings as a single layer.

        Parameters
        ----------
        waveforms : list of ndarray of shape (n_samples,), float32
            Waveforms returned by `prepare`.
        last_layer : int
            Ignored.

        Yields
        ------
        embeddings : Tensor of shape (n_waveforms, 1, n_dims)
            Mean of the parts' embeddings, scaled to unit length.
        """
        network = self._network()
        totals = torch.zeros(len(waveforms), _N_DIMS, device=self.device)
        parts = [
            (row, part) for row, waveform in enumerate(waveforms) for part in self._cut(waveform)
        ]
        for first in range(0, len(parts), _PARTS_PER_BATCH):
            rows, spectrograms = zip(*parts[first : first + _PARTS_PER_BATCH], strict=True)
            batch = torch.from_numpy(np.stack(spectrograms)).to(self.device, self.dtype)
            embedded = F.normalize(network(batch).float())
            totals.index_add_(0, torch.tensor(rows, device=self.device), embedded)
        yield F.normalize(totals)[:, None]

    def _cut(self, waveform):
        """Return the spectrograms of the parts, views of shape (n_frames, n_mels)."""
        starts = _part_starts(len(waveform))
        missing = (starts[-1] + _PART_FRAMES) * _HOP - len(waveform)
        spectrogram = mel_spectrogram(
            np.pad(waveform, (0, max(missing, 0))),
            self.filters,
            self.window,
            hop_length=_HOP,
            center=True,
            power=2,
        ).T
        return [spectrogram[start : start + _PART_FRAMES] for start in starts]

    def _network(self):
        checkpoint = self.checkpoint

        def load():
            (path,) = checkpoint.files
            saved = read_tensors(checkpoint, path)
            if not isinstance(saved.get("model_state"), dict):
                raise CheckpointError(
                    f"{checkpoint.label} is not a GE2E checkpoint: it has no 'model_state'."
                )
            check_tensors(checkpoint, saved["model_state"])
            # The two similarity weights are only used in training.
            weights = {k: v for k, v in saved["model_state"].items() if "similarity" not in k}
            network = load_state_dict_strict(_Network(), weights, checkpoint)
            return network.to(self.device, self.dtype)

        key = (*checkpoint.files, checkpoint.version, _Network, self.device, self.dtype)
        return get_cached(key, load)


class _Network(torch.nn.Module):
    """Three LSTM layers, and a projection of the last hidden state."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.lstm = torch.nn.LSTM(_N_MELS, _N_DIMS, num_layers=3, batch_first=True)
            self.linear = torch.nn.Linear(_N_DIMS, _N_DIMS)

    def forward(self, spectrograms):
        _, (last_states, _) = self.lstm(spectrograms)
        return F.relu(self.linear(last_states[-1]))


def _part_starts(n_samples):
    """Return the first frame of each part; there is at least one part."""
    n_frames = -(-(n_samples + 1) // _HOP)
    starts = range(0, max(1, n_frames - _PART_FRAMES + _PART_HOP + 1), _PART_HOP)
    covered = (n_samples - starts[-1] * _HOP) / (_PART_FRAMES * _HOP)
    return starts[:-1] if covered < _MIN_COVERAGE and len(starts) > 1 else starts
