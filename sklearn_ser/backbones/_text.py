"""Text encoders with their tokenizers: BERT, DistilBERT, RoBERTa and similar networks."""

from functools import cached_property, lru_cache
from numbers import Real
from operator import attrgetter
from threading import get_ident

import numpy as np
import torch

from ._base import Backbone
from ._checkpoint import CheckpointError
from ._config import make_config
from ._loading import load_network
from ._transformers import import_transformers

# Networks that are a plain sequence of blocks, and the location of the blocks. Only the requested
# layers of these are computed; other networks are run completely.
_BLOCKS = {
    "bert": attrgetter("encoder.layer"),
    "camembert": attrgetter("encoder.layer"),
    "distilbert": attrgetter("transformer.layer"),
    "roberta": attrgetter("encoder.layer"),
    "xlm-roberta": attrgetter("encoder.layer"),
}
# Networks whose positions start after the id of the padding token, so that the positional embedding
# has more rows than there can be tokens.
_POSITIONS_AFTER_PADDING = {
    *("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
}
# Masked language models that are not supported: BigBird switches to full attention permanently
# after a short text, Reformer hashes randomly, and Perceiver has no hidden state per token.
_UNSUPPORTED = {"big_bird", "perceiver", "reformer"}
# Tokenizers without a limit have a maximum length with thirty digits.
_NO_LIMIT = 10**9
# Number of texts to tokenize at once; the tokenizer's output for each token needs much memory.
_TEXTS_AT_ONCE = 1024


class TextBackbone(Backbone):
    """A frozen text encoder and its tokenizer.

    Parameters
    ----------
    checkpoint : Checkpoint
        Files of network and tokenizer.
    device : str
        Device of the network.
    dtype : torch.dtype
        Precision of weights and arithmetic.
    max_length : int, default=None
        Maximum number of tokens of a text. If None, the limit of the model is used.

    Attributes
    ----------
    name : str
        Name of the family, the first part of column names.
    n_layers : int
        Number of hidden states: the input of the first block, and the output of each block.
    n_dims : int
        Dimension of the hidden states.

    Raises
    ------
    ValueError
        If the checkpoint is not a text encoder.
    """

    def __init__(self, checkpoint, *, device, dtype, max_length=None):
        super().__init__(checkpoint, device=device, dtype=dtype)
        self.max_length = max_length
        model_type = checkpoint.model_type
        self.class_name = _class_name(model_type)
        if self.class_name is None:
            raise _unsupported_error(checkpoint, f"{model_type!r}")
        self.config = make_config(checkpoint)
        for role in ("is_encoder_decoder", "is_decoder"):
            if getattr(self.config, role, False):
                raise _unsupported_error(checkpoint, f"{model_type!r} with {role}=True")
        if model_type in _POSITIONS_AFTER_PADDING and type(self.config.pad_token_id) is not int:
            raise CheckpointError(
                f"The config.json of {checkpoint.label} has no pad_token_id, which {model_type!r} "
                "needs for its positions. Download the model again."
            )
        self.name = "".join(filter(str.isalnum, model_type))
        self.n_layers = self.config.num_hidden_layers + 1
        self.n_dims = self.config.hidden_size

    @property
    def tokenizer(self):
        """The checkpoint's tokenizer, one per thread because truncation is part of its state."""
        try:
            return _load_tokenizer(self.checkpoint.folder, self.checkpoint.version, get_ident())
        except ImportError:
            raise
        except Exception as error:  # of the libraries, for files that they do not expect
            raise self.checkpoint.unreadable("tokenizer", error) from error

    @cached_property
    def max_tokens(self):
        """Maximum number of tokens of a text, including special tokens; None for no limit."""
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
        """Tokenize texts, and truncate those that are too long.

        Parameters
        ----------
        texts : list of str
            Texts, valid Unicode.

        Returns
        -------
        token_ids : list of tuple of int
            Token ids of each text, at most `max_tokens` including special tokens.
        n_tokens : list of int
            Number of tokens of each text before truncation.
        """
        token_ids = self._tokenize(texts, truncation=False)
        n_tokens = list(map(len, token_ids))
        limit = self.max_tokens
        if limit is not None:
            too_long = [index for index, length in enumerate(n_tokens) if length > limit]
            truncated = self._tokenize(
                [texts[index] for index in too_long], truncation=True, max_length=limit
            )
            for index, ids in zip(too_long, truncated, strict=True):
                token_ids[index] = ids
        self._check_vocabulary(token_ids)
        return token_ids, n_tokens

    def _tokenize(self, texts, **settings):
        token_ids: list[tuple[int, ...]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            tokenized = self.tokenizer(
                texts[start : start + _TEXTS_AT_ONCE],
                padding=False,
                verbose=False,  # the embedder warns about long texts
                **settings,
            )
            token_ids += map(tuple, tokenized["input_ids"])
        return token_ids

    def _check_vocabulary(self, token_ids):
        highest = max((max(ids, default=0) for ids in token_ids), default=0)
        if highest >= self.config.vocab_size:
            raise ValueError(
                f"The tokenizer of {self.checkpoint.label} returned the token id {highest}, and "
                f"the network's vocabulary has {self.config.vocab_size} tokens: they do not belong "
                "to the same model."
            )

    @torch.inference_mode()
    def encode(self, token_ids, last_layer):
        """Yield the hidden states of layers 0 to `last_layer`.

        Parameters
        ----------
        token_ids : list of tuple of int
            Token ids, of equal length for all texts. Without padding, results do not depend on
            how a network treats it.
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
                f"in {len(found)} layers; expected {expected} in {self.n_layers} layers, a row for "
                "each token: choose another model."
            )
        return output.hidden_states

    def bare_network(self):
        """Return the frozen pretrained network, without a head."""
        return self._network().base_model

    def _network(self):
        transformers = import_transformers()

        return load_network(
            self.checkpoint,
            getattr(transformers, self.class_name),
            device=self.device,
            dtype=self.dtype,
        )


@lru_cache(maxsize=4)
def _load_tokenizer(folder, version, thread):
    AutoTokenizer = import_transformers().AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if not isinstance(tokenizer.model_max_length, Real):
        raise CheckpointError(f"model_max_length is {tokenizer.model_max_length!r}, not a number")
    return tokenizer


def _class_name(model_type):
    """Return the name of the model class in transformers, or None if it is not a text encoder.

    Text encoders are the networks with a masked language modelling head, in which attention is
    bidirectional.
    """
    modeling_auto = import_transformers().models.auto.modeling_auto

    known = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if model_type not in known or model_type in _UNSUPPORTED:
        return None
    name = modeling_auto.MODEL_MAPPING_NAMES[model_type]
    return name if isinstance(name, str) else name[0]


def _unsupported_error(checkpoint, kind):
    return CheckpointError(
        f"{checkpoint.label} is of type {kind}, and this embedder supports text encoders with "
        "bidirectional attention, such as BERT, DistilBERT, RoBERTa or DeBERTa: choose one of "
        "them."
    )
