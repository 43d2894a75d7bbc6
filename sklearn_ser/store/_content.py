"""The name of a content: equal for equal values, whatever file or array they came in."""

import hashlib

import numpy as np

_DIGEST_BYTES = 16  # 128 bits: by chance, no two of 10 ** 15 contents share a name


def content_key(*parts):
    """Return a key that names the values of the parts.

    Parameters
    ----------
    *parts : bytes, str or ndarray
        What the content consists of. Where one part ends matters, and so do the types of the
        parts, and the dtype and shape of arrays; byte order and memory layout do not.

    Returns
    -------
    key : str
        32 hexadecimal digits.

    Raises
    ------
    TypeError
        If a part is of another type, or an array holds no numbers.

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
        # A line that tells how many bytes follow it: nothing else reads as the same bytes.
        described, values = _describe(part)
        digest.update(f"{described} {len(values)}\n".encode())
        digest.update(values)
    return digest.hexdigest()


def encode(text):
    """Return the bytes of a text, also of one that is no valid Unicode, as paths may be."""
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
    raise TypeError(f"A part is {kind}; bytes, str or arrays of numbers have a content key.")
