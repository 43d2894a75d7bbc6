"""Content keys: hashes of values that do not depend on the file or array that held them."""

import hashlib

import numpy as np

_DIGEST_BYTES = 16  # 128 bits: collisions are improbable among 10 ** 15 contents


def content_key(*parts):
    """Return a hash of the values of the parts.

    Parameters
    ----------
    *parts : bytes, str or ndarray
        Content to hash. The key depends on the boundaries and types of the parts, and on the
        dtype and shape of arrays; it does not depend on byte order and memory layout.

    Returns
    -------
    key : str
        32 hexadecimal digits.

    Raises
    ------
    TypeError
        If a part is of another type, or an array is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ser.store import content_key
    >>> waveform = np.zeros(16000, dtype=np.float32)
    >>> content_key(waveform) == content_key(waveform.copy())
    True
    >>> content_key(waveform) == content_key(waveform[:-1])
    False
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        # The length in the header separates the parts, so that the encoding is unambiguous.
        header, values = _describe(part)
        digest.update(f"{header} {len(values)}\n".encode())
        digest.update(values)
    return digest.hexdigest()


def encode(text):
    """Encode a string to UTF-8, also one that is not valid Unicode, such as a path."""
    return text.encode("utf-8", "surrogatepass")


def _describe(part):
    if isinstance(part, bytes):
        return "bytes", part
    if isinstance(part, str):
        return "str", encode(part)
    if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
        values = part.astype(part.dtype.newbyteorder("<"), order="C", copy=False)
        return f"array {values.dtype.str} {part.shape}", values.reshape(-1).view(np.uint8)
    kind = f"an array of {part.dtype}" if isinstance(part, np.ndarray) else type(part).__name__
    raise TypeError(f"A part is {kind}; bytes, str or arrays of numbers are expected.")
