"""Embed transcripts by a frozen network, with a cache."""

from collections import defaultdict

import numpy as np

from sklearn_ser.store import content_key

from ._encoding import encode_or_halve
from ._stored_layers import open_stored_layers
from ._transcripts import find_problems, report_problems, warn_truncated

# A batch has at most `batch_size` texts and `batch_size` times this many tokens. Most utterances
# are shorter, so the first limit usually applies.
_TOKENS_PER_TEXT = 64

# Functions from hidden states of shape (n_texts, n_tokens, n_dims) to (n_texts, n_dims).
TOKEN_POOLINGS = {
    "mean": lambda hidden_states: hidden_states.mean(1),
    "max": lambda hidden_states: hidden_states.amax(1),
    "cls": lambda hidden_states: hidden_states[:, 0],
}


class TokenPooler:
    """Run a network on batches of texts, and pool the tokens of each layer.

    Parameters
    ----------
    backbone : TextBackbone
        The network and its tokenizer.
    pooling : {"mean", "max", "cls"}
        Statistic of each layer over the tokens.
    batch_size : int
        Maximum number of texts in a batch.
    """

    window = hop = None

    def __init__(self, backbone, *, pooling, batch_size):
        self.backbone = backbone
        self.pooling = pooling
        self.batch_size = batch_size

    @property
    def n_columns(self):
        """Number of pooled values of each layer."""
        return self.backbone.n_dims

    def column_names(self):
        """Return the names of the pooled values of each layer."""
        prefix = "" if self.pooling == "mean" else f"{self.pooling}_"
        return [f"{prefix}dim{dim:04d}" for dim in range(self.n_columns)]

    def encode(self, token_ids, last_layer):
        """Yield the pooled layers of texts, batch by batch.

        Parameters
        ----------
        token_ids : list of tuple of int
            Token ids returned by `backbone.tokenize`.
        last_layer : int
            The last layer to compute.

        Yields
        ------
        pooled : dict of int to ndarray of shape (last_layer + 1, n_columns), float32
            Pooled layers of the texts in the batch, by index.
        """
        for batch in self._batches(token_ids):
            pooled = encode_or_halve(
                lambda indices: self._encode_at_once([token_ids[i] for i in indices], last_layer),
                batch,
                lambda index: self._explain_too_large(token_ids[index]),
            )
            yield dict(zip(batch, pooled, strict=True))

    def _batches(self, token_ids):
        """Group texts of equal length, longest first so that memory runs out early."""
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
    """Embed transcripts, and load those that are cached.

    Parameters
    ----------
    transcripts : list
        Transcripts returned by `as_transcripts`.
    pooler : TokenPooler
        The network and its pooling.
    layers : list of int
        Layers to return, numbered from 0.
    last_layer : int
        The last layer to compute and cache.
    store : EmbeddingStore or None
        Cache of embeddings.
    on_error : {"raise", "nan"}
        What to do with unusable transcripts.
    progress : Progress
        Counts the transcripts.

    Returns
    -------
    rows : ndarray of shape (n_transcripts, n_layers, n_columns), float32
    """
    shape = (len(transcripts), len(layers), pooler.n_columns)
    rows = np.full(shape, np.nan, dtype=np.float32)
    problems = find_problems(transcripts)
    report_problems(problems if on_error == "raise" else {}, on_error)
    positions = _group_by_tokens(
        pooler.backbone, {p: str(text) for p, text in enumerate(transcripts) if p not in problems}
    )
    # An empty text without special tokens has no input for the network.
    reason = "it has no tokens, and the tokenizer adds none"
    problems |= dict.fromkeys(positions.pop((), []), reason)
    stored = open_stored_layers(store, pooler, last_layer)
    progress.total = sum(map(len, positions.values()))
    encoded = _load_or_encode(pooler, list(positions), last_layer, stored, progress)
    for token_ids, pooled in encoded:
        same = positions[token_ids]
        if np.isfinite(pooled).all():
            rows[same] = pooled[layers]
        else:
            dtype = str(pooler.backbone.dtype).removeprefix("torch.")
            remedy = "the network is damaged" if dtype == "float32" else "choose dtype='float32'"
            reason = f"the network's output for it is not finite in {dtype}: {remedy}"
            problems |= dict.fromkeys(same, reason)
        progress.update(len(same))
    report_problems(problems, on_error)
    return rows


def _group_by_tokens(backbone, texts):
    """Return the positions of the texts that have the same token ids, by token ids."""
    by_text = defaultdict(list)
    for position, text in texts.items():
        by_text[text].append(position)
    by_tokens: dict[tuple[int, ...], list[int]] = defaultdict(list)
    truncated: dict[int, int] = {}
    for text, token_ids, n_tokens in zip(by_text, *backbone.tokenize(list(by_text)), strict=True):
        by_tokens[token_ids] += by_text[text]
        if n_tokens > len(token_ids):
            truncated |= dict.fromkeys(by_text[text], n_tokens)
    warn_truncated(truncated, backbone.max_tokens)
    return by_tokens


def _load_or_encode(pooler, token_ids, last_layer, stored, progress):
    """Yield token ids with their pooled layers, from the store or by the network."""
    by_key = {content_key(np.array(ids, dtype=np.int64)): ids for ids in token_ids}
    if stored is not None:
        for key, pooled in stored.load(list(by_key)):
            yield by_key.pop(key), pooled
    keys, unknown = list(by_key), list(by_key.values())
    if unknown:
        progress.show()
    for batch in pooler.encode(unknown, last_layer):
        if stored is not None:
            stored.save({keys[index]: pooled for index, pooled in batch.items()})
        yield from ((unknown[index], pooled) for index, pooled in batch.items())
