"""Transcripts to rows of embeddings: each passes through the network once, and is kept."""

from collections import defaultdict

import numpy as np

from sklearn_ser.store import content_key

from ._encoding import encode_or_halve
from ._stored_layers import open_stored_layers
from ._transcripts import find_problems, tell_cut, tell_problems

# A batch of n holds at most n texts, and at most n times so many tokens: more than most utterances
# have, so that the first limit is the usual one.
_TOKENS_PER_TEXT = 64

# From hidden states of shape (n_texts, n_tokens, n_dims) to one row for each text.
TOKEN_POOLINGS = {
    "mean": lambda hidden_states: hidden_states.mean(1),
    "max": lambda hidden_states: hidden_states.amax(1),
    "cls": lambda hidden_states: hidden_states[:, 0],
}


class TokenPooler:
    """Runs a network on batches of texts, and pools their tokens layer by layer.

    Parameters
    ----------
    backbone : TextBackbone
        The network and its tokenizer.
    pooling : {"mean", "max", "cls"}
        What is kept of the tokens of a text.
    batch_size : int
        Most texts in a batch.
    """

    window = hop = None

    def __init__(self, backbone, *, pooling, batch_size):
        self.backbone = backbone
        self.pooling = pooling
        self.batch_size = batch_size

    @property
    def n_columns(self):
        """How many numbers are kept of each layer."""
        return self.backbone.n_dims

    def column_names(self):
        """Name the numbers that are kept of each layer."""
        prefix = "" if self.pooling == "mean" else f"{self.pooling}_"
        return [f"{prefix}dim{dim:04d}" for dim in range(self.n_columns)]

    def encode(self, token_ids, last_layer):
        """Yield the pooled layers of texts, a batch at a time.

        Parameters
        ----------
        token_ids : list of tuple of int
            As the backbone's `tokenize` returns them.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        pooled : dict of int to ndarray of shape (last_layer + 1, n_columns), float32
            The texts of the batch, by index.
        """
        for batch in self._batches(token_ids):
            pooled = encode_or_halve(
                lambda indices: self._encode_at_once([token_ids[i] for i in indices], last_layer),
                batch,
                lambda index: self._explain_too_large(token_ids[index]),
            )
            yield dict(zip(batch, pooled, strict=True))

    def _batches(self, token_ids):
        """Group texts of equal length, the longest first, so that memory fails early or never."""
        by_length = defaultdict(list)
        for index, ids in enumerate(token_ids):
            by_length[len(ids)].append(index)
        for length in sorted(by_length, reverse=True):
            indices = by_length[length]
            size = min(self.batch_size, self.batch_size * _TOKENS_PER_TEXT // length) or 1
            for start in range(0, len(indices), size):
                yield indices[start : start + size]

    def _encode_at_once(self, token_ids, last_layer):
        pool = TOKEN_POOLINGS[self.pooling]
        layers = [
            pool(hidden_states.float()).cpu().numpy()
            for hidden_states in self.backbone.encode(token_ids, last_layer)
        ]
        return list(np.stack(layers, axis=1))

    def _explain_too_large(self, ids):
        return (
            f"A transcript of {len(ids)} tokens does not fit into the memory of "
            f"{self.backbone.device!r}. Choose a lower max_length=, a smaller model, or "
            "device='cpu'."
        )


def embed_transcripts(transcripts, pooler, *, layers, last_layer, store, on_error, progress):
    """Embed transcripts, those that a store holds without the network.

    Parameters
    ----------
    transcripts : list
        As `as_transcripts` returns them.
    pooler : TokenPooler
        The network and its pooling.
    layers : list of int
        The layers wanted, counted from 0.
    last_layer : int
        The layer down to which to compute and keep.
    store : EmbeddingStore or None
        Where embeddings are kept.
    on_error : {"raise", "nan"}
        As the embedder has it.
    progress : callable
        Is told how many transcripts are done.

    Returns
    -------
    rows : ndarray of shape (n_transcripts, n_layers, n_columns), float32
    """
    shape = (len(transcripts), len(layers), pooler.n_columns)
    rows = np.full(shape, np.nan, dtype=np.float32)
    problems = find_problems(transcripts)
    tell_problems(problems if on_error == "raise" else {}, on_error)
    positions = _tokenize(
        pooler.backbone, {p: str(text) for p, text in enumerate(transcripts) if p not in problems}
    )
    # The network would be given nothing at all, if its tokenizer adds no tokens.
    reason = "it has no tokens, and the tokenizer adds none"
    problems |= dict.fromkeys(positions.pop((), []), reason)
    stored = open_stored_layers(store, pooler, last_layer)
    for token_ids, pooled in _pooled(pooler, list(positions), last_layer, stored):
        found = positions[token_ids]
        if np.isfinite(pooled).all():
            rows[found] = pooled[layers]
        else:
            dtype = str(pooler.backbone.dtype).removeprefix("torch.")
            reason = f"the network's output for it is not finite in {dtype}; choose another dtype"
            problems |= dict.fromkeys(found, reason)
        progress(len(found))
    tell_problems(problems, on_error)
    return rows


def _tokenize(backbone, texts):
    """Return the positions of each row of tokens; all that the network sees of a text."""
    same = defaultdict(list)
    for position, text in texts.items():
        same[text].append(position)
    positions: dict[tuple[int, ...], list[int]] = defaultdict(list)
    cut: dict[int, int] = {}
    for text, token_ids, n_tokens in zip(same, *backbone.tokenize(list(same)), strict=True):
        positions[token_ids] += same[text]
        if n_tokens > len(token_ids):
            cut |= dict.fromkeys(same[text], n_tokens)
    tell_cut(cut, backbone.max_tokens)
    return positions


def _pooled(pooler, token_ids, last_layer, stored):
    """Yield tokens with their pooled layers, from the store or by the network."""
    contents = {content_key(np.array(ids, dtype=np.int64)): ids for ids in token_ids}
    if stored is not None:
        for content, pooled in stored.load(list(contents)):
            yield contents.pop(content), pooled
    keys, unknown = list(contents), list(contents.values())
    for batch in pooler.encode(unknown, last_layer):
        if stored is not None:
            stored.save({keys[index]: pooled for index, pooled in batch.items()})
        yield from ((unknown[index], pooled) for index, pooled in batch.items())
