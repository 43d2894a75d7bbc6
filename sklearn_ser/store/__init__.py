"""Cache embeddings on disk by content. Does not import torch."""

from ._content import content_key
from ._files import FileVersion
from ._store import EmbeddingStore, as_store

__all__ = ["EmbeddingStore", "FileVersion", "as_store", "content_key"]
