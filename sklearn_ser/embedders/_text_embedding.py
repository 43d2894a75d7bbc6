"""Transcripts to rows of embeddings: each passes through the network once, and is kept."""

from collections import defaultdict

import numpy as np

from sklearn_ser.store import content_key

from ._embedding import load_deep_enough, network_key
from ._encoding import encode_or_halve
from ._transcripts import find_problems, tell_cut, tell_problems

# A batch of n holds at most n texts, and at most n times so many tokens: more than most utterances
# have, so that the first limit is the usual one.
_TOKENS_PER_TEXT = 64
# Entries fetched from the store at once.
_ENTRIES_AT_ONCE = 256

# From hidden states of shape (n_texts, n_tokens, n_dims) to one row for each text.
TOKEN_POOLINGS = {
    "mean": lambda hidden_states: hidden_states.mean(1),
    "max": lambda hidden_states: hidden_states.amax(1),
    "cls": lambda hidden_states: hidden_states[:, 0],
}


class TextEncoder:
    """A text backbone with what shapes its output, as `Encoder` is for recordings.

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

    def encode(self, token_ids, depth):
        """Yield the pooled layers of texts, a batch at a time.

        Parameters
        ----------
        token_ids : list of tuple of int
            As the backbone's `tokenize` returns them.
        depth : int
            The last layer to compute.

        Yields
        ------
        pooled : dict of int to ndarray of shape (depth + 1, n_columns), float32
            The texts of the batch, by index.
        """
        for batch in self._batches(token_ids):
            pooled = encode_or_halve(
                lambda indices: self._encode_at_once([token_ids[i] for i in indices], depth),
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

    def _encode_at_once(self, token_ids, depth):
        pool = TOKEN_POOLINGS[self.pooling]
        layers = [
            pool(hidden_states.float()).cpu().numpy()
            for hidden_states in self.backbone.encode(token_ids, depth)
        ]
        return list(np.stack(layers, axis=1))

    def _explain_too_large(self, ids):
        return (
            f"A transcript of {len(ids)} tokens does not fit into the memory of "
            f"{self.backbone.device!r}. Choose a lower max_length=, a smaller model, or "
            "device='cpu'."
        )


class TextEmbedding:
    """One run of transcripts through a network.

    Parameters
    ----------
    encoder : TextEncoder
        The network and its pooling.
    layers : list of int
        The layers wanted, counted from 0.
    depth : int
        The layer down to which to compute and keep.
    store : EmbeddingStore or None
        Where embeddings are kept.
    on_error : {"raise", "nan"}
        As the embedder has it.
    progress : callable
        Is told how many transcripts are done.
    """

    def __init__(self, encoder, *, layers, depth, store, on_error, progress):
        self.encoder = encoder
        self.layers = layers
        self.depth = depth
        self.store = store
        self.on_error = on_error
        self.progress = progress

    def embed(self, transcripts):
        """Return an array of shape (n_transcripts, n_layers, n_columns), float32."""
        rows = np.full(
            (len(transcripts), len(self.layers), self.encoder.n_columns), np.nan, dtype=np.float32
        )
        problems = find_problems(transcripts)
        tell_problems(problems if self.on_error == "raise" else {}, self.on_error)
        positions = self._tokenize(
            {p: str(text) for p, text in enumerate(transcripts) if p not in problems}
        )
        # The network would be given nothing at all, if its tokenizer adds no tokens.
        reason = "it has no tokens, and the tokenizer adds none"
        problems |= dict.fromkeys(positions.pop((), []), reason)
        for token_ids, pooled in self._pooled(list(positions)):
            found = positions[token_ids]
            if np.isfinite(pooled).all():
                rows[found] = pooled[self.layers]
            else:
                dtype = str(self.encoder.backbone.dtype).removeprefix("torch.")
                reason = f"the network's output for it is not finite in {dtype}; choose another"
                problems |= dict.fromkeys(found, f"{reason} dtype")
            self.progress(len(found))
        tell_problems(problems, self.on_error)
        return rows

    def _tokenize(self, texts):
        """Return the positions of each row of tokens; all that the network sees of a text."""
        backbone = self.encoder.backbone
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

    def _pooled(self, token_ids):
        """Yield tokens with their pooled layers, from the store or by the network."""
        if self.store is None:
            for batch in self.encoder.encode(token_ids, self.depth):
                yield from ((token_ids[index], pooled) for index, pooled in batch.items())
            return
        network = network_key(self.encoder, self.store)
        contents = {content_key(np.array(ids, dtype=np.int64)): ids for ids in token_ids}
        keys = list(contents)
        for start in range(0, len(keys), _ENTRIES_AT_ONCE):
            found = load_deep_enough(
                self.store,
                network,
                keys[start : start + _ENTRIES_AT_ONCE],
                depth=self.depth,
                n_columns=self.encoder.n_columns,
            )
            yield from ((contents.pop(content), pooled) for content, pooled in found.items())
        keys, unknown = list(contents), list(contents.values())
        for batch in self.encoder.encode(unknown, self.depth):
            finite = {keys[i]: pooled for i, pooled in batch.items() if np.isfinite(pooled).all()}
            self.store.save(network, finite)
            yield from ((unknown[index], pooled) for index, pooled in batch.items())
