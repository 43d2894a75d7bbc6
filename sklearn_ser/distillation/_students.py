"""Trainable encoders of speech and text, built from settings in plain types."""

import math
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sklearn_ser.backbones import (
    SPEECH_BACKBONES,
    call_block,
    import_transformers,
    load_speech_backbone,
    load_text_backbone,
    quiet,
)
from sklearn_ser.training import TrainingContext

from ._pruning import fit_narrow_whisper

# Family of encoders -> function that fits a narrower student to the wide network by least squares.
_FIT_NARROW = {"whisper": fit_narrow_whisper}
# Entries of a configuration that do not change what the network computes.
_IGNORED = {"_name_or_path", "architectures", "dtype", "torch_dtype"}
_IGNORED |= {"transformers_version", "gradient_checkpointing"}


class SpeechFeatures:
    """Compute the input features of an encoder from a waveform.

    Parameters
    ----------
    settings : dict
        From `read_speech_student`.

    Attributes
    ----------
    sampling_rate, n_dims, stride, min_samples, max_samples
        As for a `Backbone`.
    """

    def __init__(self, settings):
        # The frozen backbone of this family computes the preprocessing and the features.
        backbone_class = SPEECH_BACKBONES[settings["model_type"]]
        self.frozen = backbone_class.from_settings(_config(settings), settings["preprocessing"])
        self.sampling_rate, self.n_dims = self.frozen.sampling_rate, self.frozen.n_dims
        self.stride, self.min_samples = self.frozen.stride, self.frozen.min_samples
        self.max_samples = self.frozen.max_samples

    def prepare(self, waveform):
        """Apply the checkpoint's own preprocessing to a whole recording."""
        return self.frozen.prepare(waveform)

    def features(self, waveform):
        """Return the waveform or spectrogram of a part of a recording, frames first.

        Parameters
        ----------
        waveform : ndarray of shape (n_samples,), float32
            From `prepare`.

        Returns
        -------
        features : Tensor of shape (n_samples,) or (n_frames, n_bands)
        """
        missing = self.min_samples - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        return self.frozen.features(waveform)


def check_duration(max_duration, encoder, name="this encoder"):
    """Return `max_duration` in seconds, or raise an error if an encoder cannot take it.

    Parameters
    ----------
    max_duration : float
        Duration, in seconds.
    encoder : SpeechFeatures or AudioBackbone
        The encoder.
    name : str, default="this encoder"
        What the message calls it.

    Returns
    -------
    max_duration : float
    """
    longest = encoder.max_samples
    if longest is not None and max_duration * encoder.sampling_rate > longest:
        raise ValueError(
            f"max_duration={max_duration} is too long for {name}, which takes at most "
            f"{longest / encoder.sampling_rate:g} s at once."
        )
    return max_duration


class SpeechStudent(nn.Module):
    """A trainable encoder of speech, exact in ragged batches.

    Parameters
    ----------
    settings : dict
        From `read_speech_student`.
    gradient_checkpointing : bool, default=False
        Whether training recomputes the activations within each block instead of storing them.
    """

    def __init__(self, settings, *, gradient_checkpointing=False):
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.front_end = SpeechFeatures(settings)
        self.n_dims = self.front_end.n_dims
        with _without_initialization():
            self.network = self.front_end.frozen.build_network()

    @property
    def blocks(self):
        """The transformer blocks."""
        return self.front_end.frozen.blocks(self.network)

    def forward(self, features, lengths):
        """Compute the last hidden states.

        Parameters
        ----------
        features : Tensor of shape (sum of lengths, ...)
            From `SpeechFeatures.features`, concatenated over recordings.
        lengths : list of int
            Number of features of each recording.

        Returns
        -------
        hidden_states : sequence of Tensor of shape (n_frames, n_dims)
            Of each recording.
        """
        run = self._run_twice if self.gradient_checkpointing and self.training else call_block
        *_, last = self.front_end.frozen.hidden_states(
            self.network, features.split(lengths), len(self.blocks), run=run
        )
        return last

    def narrow(self, model, features, *, local_files_only=False):
        """Initialise a narrower student of Whisper to approximate its teacher, by least squares.

        Students of other families are not changed.

        Parameters
        ----------
        model : str or path
            Hub id or folder of the teacher.
        features : iterable of Tensor
            Features of a sample of recordings, from `SpeechFeatures.features`.
        local_files_only : bool, default=False
            Whether to look on this machine only.
        """
        fit_narrow = _FIT_NARROW.get(self.front_end.frozen.name)
        if fit_narrow is not None:
            wide = load_speech_backbone(model, device="cpu", local_files_only=local_files_only)
            fit_narrow(self.network, wide.bare_network(), [piece.T for piece in features])

    def _run_twice(self, block, hidden_states, **settings):
        return checkpoint(block, hidden_states, use_reentrant=False, **settings)

    def freeze_convolutions(self):
        """Exclude the convolutions, and a table of positions, from training."""
        self.front_end.frozen.freeze_convolutions(self.network)

    def train(self, mode=True):
        """Set training mode, except for batch norms, whose statistics stay fixed.

        Convolutions process one recording at a time, so that a batch norm has no batch statistics.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def save(self, folder):
        """Save the encoder and its preprocessing in the format of transformers.

        Parameters
        ----------
        folder : path
            Created if it does not exist.
        """
        with quiet():
            self.network.save_pretrained(folder)
        self.front_end.frozen.extractor.save_pretrained(folder)


def read_speech_student(model, *, n_layers=None, width=None, **where):
    """Load the settings and the initial weights of a student.

    Parameters
    ----------
    model : str or path
        Hub id or folder of a small encoder, or of a large one whose first layers to use.
    n_layers : int, default=None
        Number of blocks to keep. If None, all are kept.
    width : int, default=None
        Size of the hidden states. Weights of a narrower student are slices of the encoder's, with
        as many attention heads as fit; `SpeechStudent.narrow` finds better ones. If None, the size
        is kept.
    **where
        `revision`, `local_files_only` and `parameter` of `find_checkpoint`.

    Returns
    -------
    settings : dict
        Settings of `SpeechStudent`, in plain types.
    weights : dict of str to Tensor
        Weights by their names in `SpeechStudent`.
    """
    backbone = load_speech_backbone(model, device="cpu", **where)
    network = backbone.bare_network()
    config = _plain_config(backbone.config)
    _reduce(config, backbone.size_names, model, n_layers, width)
    settings = {
        "model_type": backbone.config.model_type,
        "config": config,
        "preprocessing": _plain_settings(backbone.extractor),
    }
    student = SpeechStudent(settings)
    whole = network.state_dict()
    weights = {}
    for name, values in student.network.state_dict().items():
        corner = tuple(slice(size) for size in values.shape)
        weights[f"network.{name}"] = whole[name][corner].clone()
    return settings, weights


def count_parameters(module, *, trainable=False):
    """Return the number of parameters of a module, or of the network of a backbone."""
    network = module if isinstance(module, nn.Module) else module.bare_network()
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


class TextStudent(nn.Module):
    """A trainable encoder of text.

    Batches are made of texts of equal length, so that no padding is needed.

    Parameters
    ----------
    settings : dict
        From `read_text_student`.
    """

    def __init__(self, settings):
        super().__init__()
        transformers = import_transformers()

        config = _config(settings)
        self.n_dims = config.hidden_size
        with _without_initialization():
            self.network = getattr(transformers, settings["class_name"])(config)
        if hasattr(self.network, "pooler"):
            self.network.pooler = None  # hidden states do not depend on it

    @property
    def blocks(self):
        """The transformer blocks."""
        return next(
            module
            for module in self.network.modules()
            if isinstance(module, nn.ModuleList)
            and len(module) == self.network.config.num_hidden_layers
        )

    def forward(self, token_ids, n_tokens):
        """Compute the last hidden states.

        Parameters
        ----------
        token_ids : Tensor of int, shape (sum of n_tokens,)
            Tokens, concatenated over texts.
        n_tokens : list of int
            Number of tokens of each text; 0 if it is missing.

        Returns
        -------
        hidden_states : list of Tensor of shape (n_tokens, n_dims)
            Of each text.
        """
        texts = token_ids.split(n_tokens)
        empty = next(self.network.parameters()).new_zeros((0, self.n_dims))
        states = [empty] * len(texts)
        for length in sorted(set(n_tokens) - {0}):
            rows = [row for row, n in enumerate(n_tokens) if n == length]
            input_ids = torch.stack([texts[row] for row in rows])
            found = self.network(
                input_ids=input_ids, attention_mask=torch.ones_like(input_ids), return_dict=True
            ).last_hidden_state
            for row, own in zip(rows, found, strict=True):
                states[row] = own
        return states

    def freeze_word_embeddings(self):
        """Exclude the word embeddings from training."""
        self.network.get_input_embeddings().requires_grad_(False)


def read_text_student(model, **where):
    """Load the settings, the tokenizer and the initial weights of an encoder of text.

    Parameters
    ----------
    model : str or path
        As for `load_text_backbone`.
    **where
        `revision`, `local_files_only` and `parameter` of `find_checkpoint`.

    Returns
    -------
    settings : dict
        Settings of `TextStudent` and `tokenize`, in plain types.
    weights : dict of str to Tensor
        Weights by their names in `TextStudent`.

    Raises
    ------
    ValueError
        If the tokenizer has no tokenizer.json.
    """
    backbone = load_text_backbone(model, device="cpu", dtype="float32", **where)
    tokenizer = getattr(backbone.tokenizer, "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(
            f"The tokenizer of text_model={model!r} has no tokenizer.json, which is needed to "
            "store it in the fitted estimator: choose another model."
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    settings = {
        "model_type": backbone.config.model_type,
        "class_name": backbone.class_name,
        "config": _plain_config(backbone.config),
        "tokenizer": tokenizer.to_str(),
        "max_tokens": backbone.max_tokens,
    }
    whole = backbone.bare_network().state_dict()
    names = TextStudent(settings).network.state_dict()
    return settings, {f"network.{name}": whole[name].clone() for name in names}


def tokenize(settings, texts):
    """Tokenize texts, and truncate those that are too long.

    Parameters
    ----------
    settings : dict
        From `read_text_student`.
    texts : list of str
        Texts.

    Returns
    -------
    token_ids : list of list of int
        Tokens of each text.
    n_tokens : list of int
        Number of tokens of each text before truncation.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(settings["tokenizer"])
    token_ids = [encoded.ids for encoded in tokenizer.encode_batch(texts)]
    n_tokens = list(map(len, token_ids))
    limit = settings["max_tokens"]
    if limit is not None:
        tokenizer.enable_truncation(limit)
        for position, n in enumerate(n_tokens):
            if n > limit:
                token_ids[position] = tokenizer.encode(texts[position]).ids
    return token_ids, n_tokens


def _config(settings):
    return import_transformers().AutoConfig.for_model(**settings["config"])


def _plain_config(config):
    return {name: value for name, value in config.to_dict().items() if name not in _IGNORED}


def _reduce(config, size_names, model, n_layers, width):
    """Change a configuration to one of fewer layers and a smaller width."""
    layers_name, width_name, heads_name, inner_name = size_names
    if n_layers is not None:
        if not 1 <= n_layers <= config[layers_name]:
            raise ValueError(
                f"n_student_layers={n_layers} must be from 1 to the {config[layers_name]} of "
                f"{model!r}."
            )
        config[layers_name] = n_layers
    if width is not None:
        whole, head = config[width_name], config[width_name] // config[heads_name]
        # A multiple of the size of an attention head, and of the groups of the convolutional
        # position embedding.
        step = math.lcm(head, config.get("num_conv_pos_embedding_groups", 1))
        if width % step or not step <= width <= whole:
            raise ValueError(
                f"width={width} must be a multiple of {step}, up to the {whole} of {model!r}."
            )
        config[heads_name] = width // head
        config[inner_name] = round(config[inner_name] * width / whole)
        config[width_name] = width


def _plain_settings(extractor):
    """Return the settings of a feature extractor, without arrays that it computes from them."""
    return {
        name: value
        for name, value in extractor.to_dict().items()
        if isinstance(value, (str, int, float, bool, type(None)))
    }


@contextmanager
def _without_initialization():
    """Skip weight initialisation; weights are loaded afterwards."""
    import_transformers()
    from transformers.initialization import no_init_weights

    # It replaces torch's initialisation for all threads.
    with TrainingContext(0, "cpu").initializing(), no_init_weights():
        yield
