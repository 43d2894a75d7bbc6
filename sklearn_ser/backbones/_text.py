"""Text encoders with their tokenizers: BERT, DistilBERT, RoBERTa and all of their kind."""

from functools import cached_property, lru_cache
from operator import attrgetter
from threading import get_ident

import numpy as np
import torch

from ._base import Backbone
from ._checkpoint import load_network
from ._transformers import import_transformers

# Networks whose blocks follow each other without more ado, and where the blocks are: of these, no
# more are run than are asked for. Others run whole.
_BLOCKS = {
    "bert": attrgetter("encoder.layer"),
    "camembert": attrgetter("encoder.layer"),
    "distilbert": attrgetter("transformer.layer"),
    "roberta": attrgetter("encoder.layer"),
    "xlm-roberta": attrgetter("encoder.layer"),
}
# Networks that count positions from the number of the padding token on, so that their tables of
# positions hold fewer tokens than they have rows.
_POSITIONS_AFTER_PADDING = {
    *("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
}
# Trained on masked tokens as well, but unfit: BigBird attends otherwise for good once it has seen a
# short text, Reformer hashes at random, and Perceiver keeps no state for each token.
_UNFIT = {"big_bird", "perceiver", "reformer"}
# Tokenizers without a limit have a number with thirty digits.
_NO_LIMIT = 10**9
# Texts tokenized at once, since what a tokenizer tells of each token takes much memory.
_TEXTS_AT_ONCE = 1024


class TextBackbone(Backbone):
    """A frozen text encoder and its tokenizer.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where they are; weights are loaded at the first `encode`.
    device : str
        Where to run the network.
    dtype : torch.dtype
        Its precision.
    max_length : int, default=None
        Most tokens of a text; None for as many as the network takes.

    Attributes
    ----------
    name : str
        The family, as columns are called after it.
    n_layers : int
        Number of hidden states: the input of the first block, and the output of each block.
    n_dims : int
        Width of a hidden state.

    Raises
    ------
    ValueError
        If the checkpoint is not of an encoder of text.
    """

    def __init__(self, checkpoint, *, device, dtype, max_length=None):
        AutoConfig = import_transformers().AutoConfig

        super().__init__(checkpoint, device=device, dtype=dtype)
        self.max_length = max_length
        model_type = checkpoint.model_type
        self.class_name = _class_name(model_type)
        if self.class_name is None:
            raise _no_text_encoder(checkpoint, f"{model_type!r}")
        self.config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
        for role in ("is_encoder_decoder", "is_decoder"):
            if getattr(self.config, role, False):
                raise _no_text_encoder(checkpoint, f"{model_type!r} with {role}=True")
        self.name = "".join(filter(str.isalnum, model_type))
        self.n_layers = self.config.num_hidden_layers + 1
        self.n_dims = self.config.hidden_size

    @property
    def tokenizer(self):
        """The checkpoint's own tokenizer; it is told how to cut, so that each thread has one."""
        return _load_tokenizer(self.checkpoint.folder, self.checkpoint.version, get_ident())

    @cached_property
    def max_tokens(self):
        """Most tokens of a text, those included that the tokenizer adds; None for no limit."""
        n_positions = getattr(self.config, "max_position_embeddings", None)
        if n_positions is not None and self.config.model_type in _POSITIONS_AFTER_PADDING:
            n_positions -= self.config.pad_token_id + 1
        if self.max_length is None:
            limits = [self.tokenizer.model_max_length, n_positions or _NO_LIMIT]
            return min(limits) if min(limits) < _NO_LIMIT else None
        n_added = self.tokenizer.num_special_tokens_to_add()
        if not n_added < self.max_length <= (n_positions or _NO_LIMIT):
            raise ValueError(
                f"max_length={self.max_length} is not possible with {self.checkpoint.model!r}, "
                f"which adds {n_added} tokens to each text and takes at most {n_positions}."
            )
        return self.max_length

    def tokenize(self, texts):
        """Turn texts into tokens, and cut those that are too long.

        Parameters
        ----------
        texts : list of str
            Valid Unicode.

        Returns
        -------
        token_ids : list of tuple of int
            At most `max_tokens` for each text, with those that the tokenizer adds.
        n_tokens : list of int
            How many tokens each text has, uncut.
        """
        token_ids = self._tokenize(texts, truncation=False)
        n_tokens = list(map(len, token_ids))
        limit = self.max_tokens
        if limit is not None:
            too_long = [index for index, length in enumerate(n_tokens) if length > limit]
            cut = self._tokenize(
                [texts[index] for index in too_long], truncation=True, max_length=limit
            )
            for index, ids in zip(too_long, cut, strict=True):
                token_ids[index] = ids
        self._check_vocabulary(token_ids)
        return token_ids, n_tokens

    def _tokenize(self, texts, **settings):
        token_ids: list[tuple[int, ...]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            tokenized = self.tokenizer(
                texts[start : start + _TEXTS_AT_ONCE],
                padding=False,
                verbose=False,  # of texts that are too long the embedder tells
                **settings,
            )
            token_ids += map(tuple, tokenized["input_ids"])
        return token_ids

    def _check_vocabulary(self, token_ids):
        highest = max((max(ids, default=0) for ids in token_ids), default=0)
        if highest >= self.config.vocab_size:
            raise ValueError(
                f"The tokenizer of {self.checkpoint.label} gives the token {highest}, and "
                f"the network knows {self.config.vocab_size}: the two are not of the same model."
            )

    @torch.inference_mode()
    def encode(self, token_ids, last_layer):
        """Yield the hidden states of layers 0 to `last_layer`, one after the other.

        Parameters
        ----------
        token_ids : list of tuple of int
            Of equal length, so that nothing is padded: what a network makes of padding, and
            whether it counts its positions, mixes over it or has a mask for it, is no matter.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        hidden_states : Tensor of shape (n_texts, n_tokens, n_dims)
        """
        network = self._network()
        input_ids = torch.from_numpy(np.array(token_ids, dtype=np.int64)).to(self.device)
        if self.config.model_type not in _BLOCKS:
            yield from self._encode_whole(network, input_ids)[: last_layer + 1]
            return
        hidden_states = network.embeddings(input_ids=input_ids)
        yield hidden_states
        for block in _BLOCKS[self.config.model_type](network)[:last_layer]:
            hidden_states = block(hidden_states)
            yield hidden_states

    def _encode_whole(self, network, input_ids):
        output = network(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            output_hidden_states=True,
            return_dict=True,
        )
        expected = (*input_ids.shape, self.n_dims)
        found = [tuple(hidden_states.shape) for hidden_states in output.hidden_states]
        if found != [expected] * self.n_layers:
            raise ValueError(
                f"{self.checkpoint.label} has hidden states of shapes {sorted(set(found))} "
                f"in {len(found)} layers, where {expected} in {self.n_layers} are expected, a row "
                "for each token: choose another model."
            )
        return output.hidden_states

    def bare_network(self):
        """Return the frozen network, with its weights and without a head upon it."""
        return self._network().base_model

    def _network(self):
        transformers = import_transformers()

        return load_network(
            self.checkpoint,
            getattr(transformers, self.class_name),
            device=self.device,
            dtype=self.dtype,
            attention=None,
        )


@lru_cache(maxsize=4)
def _load_tokenizer(folder, version, thread):
    AutoTokenizer = import_transformers().AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _class_name(model_type):
    """Return transformers' class of a text encoder; None if it is none.

    Encoders are the networks that are trained to fill in masked tokens, so that each token sees
    those before and after it.
    """
    modeling_auto = import_transformers().models.auto.modeling_auto

    known = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if model_type not in known or model_type in _UNFIT:
        return None
    name = modeling_auto.MODEL_MAPPING_NAMES[model_type]
    return name if isinstance(name, str) else name[0]


def _no_text_encoder(checkpoint, kind):
    return ValueError(
        f"{checkpoint.label} is of type {kind}, and this embedder runs encoders of text, "
        "in which each token sees those before and after it, such as BERT, DistilBERT, RoBERTa or "
        "DeBERTa: choose one of them."
    )
