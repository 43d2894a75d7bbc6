"""Count the frames of an MP3 file, and correct the number that its header gives.

libsndfile believes the number of frames in the Xing (Info, VBRI) header. Without one it estimates
it from the first frames and the size of the file, and reads no further.
"""

import struct
from typing import NamedTuple

from ._header import PatchedFile

# Bit rates of layer III in kbit/s by their index: MPEG-1, then MPEG-2 and 2.5.
_BIT_RATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_RATES = (44100, 48000, 32000)
# By the two bits of the version: divisor of the rates. 1 is reserved.
_DIVISORS = {3: 1, 2: 2, 0: 4}
_SYNC = 0xFFE0
# The bits of a header that all frames share: version, layer and sampling rate.
_SAME = 0xFFFE0C00
# Of the Xing header: flags with only the number of frames, and the bytes up to there.
_HAS_COUNT, _XING_BYTES = 1, 12


class _Frame(NamedTuple):
    """A frame header."""

    header: int
    length: int
    n_samples: int
    tag_offset: int


def _parse(header):
    """Return the frame that begins with 32 bits, or None if they are no header of layer III."""
    version, index, rate = header >> 19 & 3, header >> 12 & 15, header >> 10 & 3
    is_layer_iii = header >> 17 & 3 == 1
    if header >> 16 & _SYNC != _SYNC or not is_layer_iii or version == 1 or rate == 3:
        return None
    if index in (0, 15):
        return None
    first = version == 3
    bits = 1000 * _BIT_RATES[0 if first else 1][index]
    length = (144 if first else 72) * bits * _DIVISORS[version] // _RATES[rate] + (header >> 9 & 1)
    is_mono = header >> 6 & 3 == 3
    side = (17 if is_mono else 32) if first else (9 if is_mono else 17)
    return _Frame(header, length, 1152 if first else 576, 4 + side)


class _Scan(NamedTuple):
    """The frames of a file: the first and its position, the whole ones, and if one is cut."""

    position: int
    first: _Frame | None
    n_frames: int
    is_cut: bool


class Length(NamedTuple):
    """What the header of an MP3 file says about its length, compared with its frames.

    Parameters
    ----------
    corrected : PatchedFile or None
        The file with another number of frames in the header, without which libsndfile would not
        read all of them.
    is_promised : bool
        Whether a header gives the length. If not, that of libsndfile is an estimate.
    is_cut : bool
        Whether the file ends within a frame, or lacks more than one frame. Encoders count one
        frame more or less.
    """

    corrected: PatchedFile | None
    is_promised: bool
    is_cut: bool


def _scan(content):
    position, n_frames, first = _skip_id3(content), 0, None
    first_position, is_cut = 0, False
    while position + 4 <= len(content):
        frame = _parse(int.from_bytes(content[position : position + 4], "big"))
        if frame and (first is None or not (frame.header ^ first.header) & _SAME):
            if first is None:
                first, first_position = frame, position
            position += frame.length
            is_cut = position > len(content)
            n_frames += not is_cut
            continue
        position = content.find(b"\xff", position + 1)
        if position < 0:
            break
    return _Scan(first_position, first, n_frames, is_cut)


def _skip_id3(content):
    position = 0
    while content[position : position + 3] == b"ID3" and position + 10 <= len(content):
        size = 0
        for byte in content[position + 6 : position + 10]:
            size = size << 7 | byte & 0x7F
        position += 10 + size
    return position


def compare_length(file, n_samples):
    """Compare the length of an MP3 file in its header with its frames.

    Parameters
    ----------
    file : binary file object
        The file.
    n_samples : int
        Number of samples that libsndfile expects.

    Returns
    -------
    length : Length
    """
    file.seek(0)
    content = file.read()
    position, first, n_frames, is_cut = _scan(content)
    if first is None:
        return Length(None, True, False)
    offset = _count_offset(content, position, first)
    if offset is None:
        corrected = None
        if n_samples < n_frames * first.n_samples:
            prefix = _xing_frame(first, n_frames)
            corrected = PatchedFile(file, {}, skip=position, prefix=prefix)
        return Length(corrected, False, is_cut)
    n_frames -= 1  # the first holds the header
    (n_promised,) = struct.unpack_from(">I", content, offset)
    if n_promised >= n_frames:
        return Length(None, True, is_cut or n_promised > n_frames + 1)
    return Length(PatchedFile(file, {offset: struct.pack(">I", n_frames)}), True, is_cut)


def _count_offset(content, position, first):
    """Return where the header gives the number of frames, or None if it does not."""
    xing, vbri = position + first.tag_offset, position + 36
    if content[xing : xing + 4] in (b"Xing", b"Info") and len(content) >= xing + _XING_BYTES:
        return xing + 8 if content[xing + 7] & _HAS_COUNT else None
    is_vbri = content[vbri : vbri + 4] == b"VBRI" and len(content) >= vbri + 18
    return vbri + 14 if is_vbri else None


def _xing_frame(first, n_frames):
    """Return a frame with a Xing header, as short as can be."""
    for index in range(1, 15):
        # Without checksum and padding.
        frame = _parse(first.header & ~0xF200 | index << 12 | 0x10000)
        if frame.length >= frame.tag_offset + _XING_BYTES:
            break
    body = frame.header.to_bytes(4, "big") + bytes(frame.tag_offset - 4)
    body += b"Xing" + struct.pack(">II", _HAS_COUNT, n_frames)
    return body + bytes(frame.length - len(body))
