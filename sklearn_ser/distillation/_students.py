"""Small encoders of speech and text that are trained: rebuilt from settings, without files."""

import math
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from sklearn_ser.backbones import (
    SPEECH_BACKBONES,
    call_block,
    import_transformers,
    load_speech_backbone,
    load_text_backbone,
    quiet,
)

from ._pruning import fit_narrow_whisper

# Families of encoders whose narrower students are fitted to the wide network, and what fits them;
# students of others keep the part of its weights that they begin with.
_FIT_NARROW = {"whisper": fit_narrow_whisper}
# Of a configuration, what says where the network came from, and nothing of what it computes.
_OF_NO_CONSEQUENCE = {"_name_or_path", "architectures", "dtype", "torch_dtype"}
_OF_NO_CONSEQUENCE |= {"transformers_version", "gradient_checkpointing"}


class SpeechFeatures:
    """From a waveform to what the convolutions of an encoder see.

    Parameters
    ----------
    settings : dict
        As `read_speech_student` returns them.

    Attributes
    ----------
    sampling_rate, n_dims, stride, min_samples, max_samples
        As of a `Backbone`.
    """

    def __init__(self, settings):
        # What a frozen network of this kind knows of frames and of preprocessing.
        backbone_class = SPEECH_BACKBONES[settings["model_type"]]
        self.frozen = backbone_class.from_settings(_config(settings), settings["preprocessing"])
        self.sampling_rate, self.n_dims = self.frozen.sampling_rate, self.frozen.n_dims
        self.stride, self.min_samples = self.frozen.stride, self.frozen.min_samples
        self.max_samples = self.frozen.max_samples

    def prepare(self, waveform):
        """Do the checkpoint's own preprocessing of a whole recording."""
        return self.frozen.prepare(waveform)

    def features(self, waveform):
        """Return what the convolutions see of a piece of a recording, frames first.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32
            Prepared.

        Returns
        -------
        features : Tensor of shape (n_samples,) or (n_frames, n_bands)
        """
        missing = self.min_samples - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        return self.frozen.features(waveform)

    def n_frames(self, length):
        """Count the hidden states of so many features."""
        return self.frozen.n_hidden_frames(length)


class SpeechStudent(nn.Module):
    """An encoder of speech, exact in ragged batches, whose weights can be trained.

    Parameters
    ----------
    settings : dict
        As `read_speech_student` returns them.
    saves_memory : bool, default=False
        Whether training computes what is inside a block twice in place of keeping it.
    """

    def __init__(self, settings, *, saves_memory=False):
        super().__init__()
        self.saves_memory = saves_memory
        self.reading = SpeechFeatures(settings)
        self.n_dims = self.reading.n_dims
        with _unfilled():
            self.network = self.reading.frozen.build_network()

    @property
    def blocks(self):
        """The transformer blocks."""
        return self.reading.frozen.blocks(self.network)

    def forward(self, features, lengths):
        """Compute the last hidden states.

        Parameters
        ----------
        features : Tensor of shape (sum of lengths, ...)
            As `features` gives them, one recording after the other.
        lengths : list of int

        Returns
        -------
        hidden_states : Tensor of shape (n_recordings, n_frames, n_dims)
            What follows a recording's own frames means nothing.
        n_frames : list of int
            How many are a recording's own.
        """
        pieces = features.split(lengths)
        run = self._run_twice if self.saves_memory and self.training else call_block
        last_layer = len(self.blocks)
        *_, last = self.reading.frozen.hidden_states(self.network, pieces, last_layer, run=run)
        return last, [self.reading.n_frames(length) for length in lengths]

    def narrow(self, model, features, *, local_files_only=False):
        """Begin as well as a narrower student can: as near to what it is made of as it gets.

        Parameters
        ----------
        model : str or path
            The encoder that it was made of. One that is not of Whisper's make changes nothing.
        features : list of Tensor
            As `SpeechFeatures.features` gives them, for some recordings.
        local_files_only : bool, default=False
            Never go to the network.
        """
        fit_narrow = _FIT_NARROW.get(self.reading.frozen.name)
        if fit_narrow is not None:
            wide = load_speech_backbone(model, device="cpu", local_files_only=local_files_only)
            fit_narrow(self.network, wide.bare_network(), [piece.T for piece in features])

    def _run_twice(self, block, hidden_states, **settings):
        return checkpoint(block, hidden_states, use_reentrant=False, **settings)

    def freeze_convolutions(self):
        """Let training leave the convolutions, and a table of positions, as they are."""
        self.reading.frozen.freeze_convolutions(self.network)

    def train(self, mode=True):
        """Change between training and prediction; statistics of a batch norm stay as they are.

        A batch norm sees one recording at a time here, of which it learns nothing.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def save(self, folder):
        """Save it as transformers does, so that an embedder can use it.

        Parameters
        ----------
        folder : path
            Made where it is not there.
        """
        with quiet():
            self.network.save_pretrained(folder)
        self.reading.frozen.extractor.save_pretrained(folder)


def read_speech_student(model, *, n_layers=None, width=None, **where):
    """Read what a student begins as: a small encoder, or a large one's first layers.

    Parameters
    ----------
    model : str or path
        A hub id or a folder.
    n_layers : int, default=None
        How many blocks are kept, the first ones; None keeps all.
    width : int, default=None
        Width of the hidden states. A narrower student gets the first of the weights along each
        axis, and as many heads of attention as fit; `SpeechStudent.narrow` finds better ones. None
        keeps the network's own.
    **where
        `revision`, `local_files_only` and `parameter` of `find_checkpoint`.

    Returns
    -------
    settings : dict
        What `SpeechStudent` is built from, in plain types.
    weights : dict of str to Tensor
        Its weights, by their names in the student.
    """
    backbone = load_speech_backbone(model, device="cpu", **where)
    network = backbone.bare_network()
    config = {
        name: value
        for name, value in backbone.config.to_dict().items()
        if name not in _OF_NO_CONSEQUENCE
    }
    _cut_down(config, backbone.size_names, model, n_layers, width)
    settings = {
        "model_type": backbone.config.model_type,
        "config": config,
        "preprocessing": _plain(backbone.extractor.to_dict()),
    }
    student = SpeechStudent(settings)
    whole = network.state_dict()
    weights = {}
    for name, values in student.network.state_dict().items():
        corner = tuple(slice(size) for size in values.shape)
        weights[f"network.{name}"] = whole[name][corner].clone()
    return settings, weights


def count_parameters(module, *, trainable=False):
    """Count the numbers in the weights of a module, or of a backbone's network."""
    network = module if isinstance(module, nn.Module) else module.bare_network()
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


class TextStudent(nn.Module):
    """An encoder of text whose weights can be trained.

    Texts of equal length pass together, so that nothing is padded.

    Parameters
    ----------
    settings : dict
        As `read_text_student` returns them.
    """

    def __init__(self, settings):
        super().__init__()
        transformers = import_transformers()

        config = _config(settings)
        self.n_dims = config.hidden_size
        with _unfilled():
            self.network = getattr(transformers, settings["class_name"])(config)
        if hasattr(self.network, "pooler"):
            self.network.pooler = None  # no hidden state depends on it

    def forward(self, token_ids, n_tokens):
        """Compute the last hidden states.

        Parameters
        ----------
        token_ids : Tensor of int, shape (sum of n_tokens,)
            Texts, one after the other.
        n_tokens : list of int
            0 where there is no text.

        Returns
        -------
        hidden_states : Tensor of shape (n_texts, n_tokens, n_dims)
            At least one token long; what follows a text's own tokens means nothing.
        n_tokens : list of int
            How many are a text's own.
        """
        texts = token_ids.split(n_tokens)
        nothing = next(self.network.parameters()).new_zeros((1, self.n_dims))
        states = [nothing] * len(texts)
        for length in sorted(set(n_tokens) - {0}):
            rows = [row for row, n in enumerate(n_tokens) if n == length]
            input_ids = torch.stack([texts[row] for row in rows])
            found = self.network(
                input_ids=input_ids, attention_mask=torch.ones_like(input_ids), return_dict=True
            ).last_hidden_state
            for row, own in zip(rows, found, strict=True):
                states[row] = own
        return pad_sequence([own.to(states[0].dtype) for own in states], batch_first=True), n_tokens

    def freeze_words(self):
        """Let training leave the embeddings of words as they are."""
        self.network.get_input_embeddings().requires_grad_(False)


def read_text_student(model, *, max_length=None, **where):
    """Read a small encoder of text, and its tokenizer.

    Parameters
    ----------
    model : str or path
        As for `load_text_backbone`.
    max_length : int, default=None
        Most tokens of a text; None for as many as the network takes.
    **where
        `revision`, `local_files_only` and `parameter` of `find_checkpoint`.

    Returns
    -------
    settings : dict
        What `TextStudent` and `tokenize` are built from, in plain types.
    weights : dict of str to Tensor
        The weights, by their names in the student.

    Raises
    ------
    ValueError
        If the tokenizer has no form that can be kept by itself.
    """
    backbone = load_text_backbone(
        model,
        device="cpu",
        dtype="float32",
        max_length=max_length,
        **where,
    )
    tokenizer = getattr(backbone.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(
            f"The tokenizer of text_model={model!r} has no tokenizer.json, in which it could be "
            "kept with what was learned: choose another model."
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    settings = {
        "model_type": backbone.config.model_type,
        "class_name": backbone.class_name,
        "config": {
            name: value
            for name, value in backbone.config.to_dict().items()
            if name not in _OF_NO_CONSEQUENCE
        },
        "tokenizer": tokenizer.to_str(),
        "max_tokens": backbone.max_tokens,
    }
    whole = backbone.bare_network().state_dict()
    names = TextStudent(settings).network.state_dict()
    return settings, {f"network.{name}": whole[name].clone() for name in names}


def tokenize(settings, texts):
    """Turn texts into tokens, and cut those that are too long.

    Parameters
    ----------
    settings : dict
        As `read_text_student` returns them.
    texts : list of str

    Returns
    -------
    token_ids : list of list of int
    n_tokens : list of int
        How many tokens each text has, uncut.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(settings["tokenizer"])
    n_tokens = [len(encoded.ids) for encoded in tokenizer.encode_batch(texts)]
    if settings["max_tokens"] is not None:
        tokenizer.enable_truncation(settings["max_tokens"])
    return [encoded.ids for encoded in tokenizer.encode_batch(texts)], n_tokens


def _config(settings):
    return import_transformers().AutoConfig.for_model(**settings["config"])


def _cut_down(config, size_names, model, n_layers, width):
    """Change a configuration to that of fewer layers and a smaller width."""
    layers_name, width_name, heads_name, inner_name = size_names
    if n_layers is not None:
        if not 1 <= n_layers <= config[layers_name]:
            raise ValueError(
                f"student_layers={n_layers} must be from 1 to the {config[layers_name]} of "
                f"{model!r}."
            )
        config[layers_name] = n_layers
    if width is not None:
        whole, head = config[width_name], config[width_name] // config[heads_name]
        # Heads of attention, and the groups of the convolution that tells positions, stay whole.
        step = math.lcm(head, config.get("num_conv_pos_embedding_groups", 1))
        if width % step or not step <= width <= whole:
            raise ValueError(
                f"student_width={width} must be a multiple of {step}, up to the {whole} of "
                f"{model!r}."
            )
        config[heads_name] = width // head
        config[inner_name] = round(config[inner_name] * width / whole)
        config[width_name] = width


def _plain(settings):
    """Leave out of an extractor's settings what can be computed again."""
    return {
        name: value
        for name, value in settings.items()
        if isinstance(value, (str, int, float, bool, type(None)))
    }


@contextmanager
def _unfilled():
    """Let transformers build networks without drawing weights, which come from elsewhere."""
    import_transformers()
    from transformers.initialization import no_init_weights

    with no_init_weights(), torch.random.fork_rng(devices=[]):
        yield
