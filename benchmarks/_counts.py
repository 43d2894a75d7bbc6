"""Count forward passes, decoded files, and frames of padding."""

from collections import Counter
from contextlib import contextmanager
from unittest import mock

import soundfile
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from sklearn_ser.backbones._codec import CodecBackbone
from sklearn_ser.backbones._wav2vec2 import Wav2Vec2Backbone
from sklearn_ser.backbones._whisper import WhisperBackbone


class _LinearRows(TorchFunctionMode):
    """Count the rows that are passed to each linear layer of hidden states."""

    def __init__(self):
        self.rows = Counter()
        self.n_dims = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.linear and args[1].shape[1] == self.n_dims:
            self.rows[args[1].data_ptr()] += args[0].numel() // self.n_dims
        return function(*args, **kwargs or {})


@contextmanager
def count_calls(enabled=True):
    """Count what runs meanwhile.

    Yields
    ------
    counts : Counter
        ``"forward passes"`` of recordings or their windows, ``"decoded files"``, ``"training
        steps"``, and at the end ``"padded frames"``: rows passed to a linear layer of the
        transformer blocks, minus frames of the recordings.
    """
    counts = Counter()
    if not enabled:
        yield counts
        return
    linear = _LinearRows()

    def counting(encode):
        def counted(self, waveforms, *args, **kwargs):
            counts["forward passes"] += len(waveforms)
            counts["frames"] += sum(self.n_frames(len(waveform)) for waveform in waveforms)
            linear.n_dims = self.n_dims
            return encode(self, waveforms, *args, **kwargs)

        return counted

    open_file = soundfile.SoundFile.__init__

    def opened(self, *args, **kwargs):
        counts["decoded files"] += 1
        open_file(self, *args, **kwargs)

    patches = [
        mock.patch.object(backbone, "encode", counting(backbone.encode))
        for backbone in (Wav2Vec2Backbone, WhisperBackbone, CodecBackbone)
    ]
    patches.append(mock.patch.object(soundfile.SoundFile, "__init__", opened))
    for patch in patches:
        patch.start()
    steps = register_optimizer_step_pre_hook(lambda *_: counts.update(["training steps"]))
    try:
        with linear:
            yield counts
    finally:
        steps.remove()
        for patch in patches:
            patch.stop()
    counts["padded frames"] = max(linear.rows.values(), default=0) - counts["frames"]
