"""Lengths in the headers of audio files, compared with what the files hold.

The functions take an open binary file. They read headers only, except for MP3, whose frames have
to be counted.
"""

import io
import struct
from typing import NamedTuple

# Formats of WAV whose samples are coded one by one: PCM, float, A-law, mu-law, extensible.
_SAMPLE_FORMATS = (1, 3, 6, 7, 0xFFFE)
# Sizes from here on are placeholders of programs that write to a pipe and can't go back.
_PLACEHOLDER = 0x7FFF_F000


class Body(NamedTuple):
    """The samples of a file, as its header describes them.

    Parameters
    ----------
    n_promised : int or None
        Size in the header, in bytes. None if the header has no size.
    n_available : int
        Number of bytes from the first sample to the end of the file.
    patches : dict of int to bytes
        Bytes of the header, by their position, that libsndfile needs to read all samples.
    """

    n_promised: int | None
    n_available: int
    patches: dict[int, bytes] = {}


def find_body(file):
    """Return where the samples of an uncompressed file are, or None for other formats.

    Parameters
    ----------
    file : binary file object
        The file.

    Returns
    -------
    body : Body or None
        None if the format is not WAV, RF64, W64, AIFF, AU or CAF, or has no samples.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    for magic, find in _FORMATS.items():
        if head.startswith(magic):
            try:
                return find(file, size, head)
            except struct.error:  # the file ends in its header
                return None
    return None


def _find_in_wav(file, size, head):
    order = ">" if head.startswith(b"RIFX") else "<"
    large, block = None, 1
    for name, start, length in _chunks(file, size, 12, order):
        if name == b"fmt ":
            tag, block = struct.unpack(f"{order}H10xH", _read_at(file, start, 14))
            block = 1 if tag in _SAMPLE_FORMATS else max(1, block)
        if name == b"ds64":
            _, large = struct.unpack("<QQ", _read_at(file, start, 16))
        if name == b"data":
            if large is not None and length == 0xFFFFFFFF:
                length = large
            available = size - start
            if length == 0 and available and not _is_chunk(file, start, size, order):
                return Body(None, available, {start - 4: struct.pack(f"{order}I", available)})
            is_known = length < _PLACEHOLDER or large is not None
            whole = available - available % block
            # libsndfile would decode half a block of ADPCM with what was in memory before.
            is_cut = whole < available < length
            patches = {start - 4: struct.pack(f"{order}I", whole)} if is_cut else {}
            return Body(length if is_known else None, whole if is_cut else available, patches)
    return None


def _find_in_aiff(file, size, head):
    for name, start, length in _chunks(file, size, 12, ">"):
        if name == b"SSND":
            return Body(length - 8, size - start - 8)
    return None


def _find_in_au(file, size, head):
    order = ">" if head.startswith(b".snd") else "<"
    start, length = struct.unpack(f"{order}II", head[4:12])
    return Body(length if length < _PLACEHOLDER else None, size - start)


def _find_in_w64(file, size, head):
    position = 40
    while position + 24 <= size:
        name, length = struct.unpack("<16sQ", _read_at(file, position, 24))
        if name.startswith(b"data"):
            return Body(length - 24, size - position - 24)
        position += max(24, length + -length % 8)
    return None


def _find_in_caf(file, size, head):
    position = 8
    is_pcm = _read_at(file, 28, 4) == b"lpcm"  # of others, the table of packets is at the end
    while position + 12 <= size:
        name, length = struct.unpack(">4sq", _read_at(file, position, 12))
        start = position + 12
        if name == b"data":
            available = size - start
            is_cut = is_pcm and length > available
            patches = {start - 8: struct.pack(">q", available)} if is_cut else {}
            # The first 4 bytes are the number of edits.
            return Body(length - 4 if length >= 4 else None, available - 4, patches)
        position = start + max(0, length)
    return None


_FORMATS = {
    b"RIFF": _find_in_wav,
    b"RIFX": _find_in_wav,
    b"RF64": _find_in_wav,
    b"FORM": _find_in_aiff,
    b".snd": _find_in_au,
    b"dns.": _find_in_au,
    b"riff": _find_in_w64,
    b"caff": _find_in_caf,
}


def _chunks(file, size, position, order):
    """Yield the name, the start and the length of each chunk of an IFF file."""
    while position + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", _read_at(file, position, 8))
        yield name, position + 8, length
        position += 8 + length + length % 2


def _is_chunk(file, position, size, order):
    """Return whether a chunk begins at a position, and not a sample."""
    if position + 8 > size:
        return False
    name, length = struct.unpack(f"{order}4sI", _read_at(file, position, 8))
    return all(32 <= byte < 127 for byte in name) and position + 8 + length <= size


def _read_at(file, position, n_bytes):
    file.seek(position)
    return file.read(n_bytes)


def is_ogg_without_end(file):
    """Return whether a file is OGG and its last page does not end the stream."""
    if _read_at(file, 0, 4) != b"OggS":
        return False
    size = file.seek(0, io.SEEK_END)
    tail = _read_at(file, max(0, size - 2 * 65536), 2 * 65536)  # a page is smaller than 64 KiB
    last = tail.rfind(b"OggS")
    return last < 0 or len(tail) < last + 6 or not tail[last + 5] & 4


class PatchedFile(io.RawIOBase):
    """A file with other bytes at some positions, and others in front, for libsndfile.

    Where libsndfile moves to a position before the start, it moves to the start: an error could
    not be passed on.

    Parameters
    ----------
    file : binary file object
        The file.
    patches : dict of int to bytes
        Bytes by their position in the file.
    skip : int, default=0
        Number of bytes at the start of the file to leave out.
    prefix : bytes, default=b""
        Bytes in their place.
    """

    def __init__(self, file, patches, *, skip=0, prefix=b""):
        super().__init__()
        self._file, self._patches = file, patches
        self._skip, self._prefix = skip, prefix
        self._size = len(prefix) + file.seek(0, io.SEEK_END) - skip
        self._position = 0

    def seekable(self):
        """Return True."""
        return True

    def readable(self):
        """Return True."""
        return True

    def tell(self):
        """Return the position."""
        return self._position

    def seek(self, offset, whence=io.SEEK_SET):
        """Move to a position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer):
        """Read bytes at the position, and return their number."""
        wanted = len(buffer)
        content = bytearray(self._prefix[self._position : self._position + wanted])
        start = max(0, self._position - len(self._prefix)) + self._skip
        read = bytearray(_read_at(self._file, start, wanted - len(content)))
        for position, value in self._patches.items():
            for index, byte in enumerate(value, position - start):
                if 0 <= index < len(read):
                    read[index] = byte
        content += read
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
