"""Detect whether a file has changed, without reading it."""

import os
import time
from typing import NamedTuple

# A file that is written twice within one tick of the file system's clock has the same time stamps
# after both writes. A version of a file that changed only just before is therefore not stored (git
# calls such a file racy). The resolution of time stamps is at most 16 ms (Windows; 10 ms on Linux),
# which 0.1 s exceeds. Time stamps in whole seconds may come from a file system with a resolution of
# one second (HFS+, ext3) or two (FAT). The only cost of the margin is that files younger than this
# are decoded once more.
_MARGIN_NS = 100_000_000
_COARSE_MARGIN_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_TOO_YOUNG = -1


class FileVersion(NamedTuple):
    """Identity of an unchanged file: its path, decoding options and file status.

    Parameters
    ----------
    path : str
        Absolute path.
    decode_options : str
        Options by which the file is decoded, such as a sampling rate and a channel. Other options
        give other content.
    size : int
        Size of the file, in bytes.
    inode : int
        Inode number, which changes when the file is replaced.
    mtime_ns, ctime_ns : int
        Times of the last change of the content and of the status, in ns. Both are -1 if they are
        too recent to be distinguished from a later change.
    """

    path: str
    decode_options: str
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def from_path(cls, path, decode_options):
        """Return the current version of a file.

        Call it before reading the file, so that a change in between is detected.

        Parameters
        ----------
        path : str or path-like
            Path of the file.
        decode_options : str
            Options by which the file is decoded.

        Returns
        -------
        version : FileVersion
            Version of the file.

        Raises
        ------
        OSError
            If the file does not exist.
        """
        path = os.path.abspath(os.fsdecode(path))
        stat = os.stat(path)
        status = (stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        version = cls(path, decode_options, *status)
        if version.is_settled():
            return version
        # Marked here and not when the content is stored: the file may change from now on.
        return version._replace(mtime_ns=_TOO_YOUNG, ctime_ns=_TOO_YOUNG)

    def is_settled(self):
        """Return whether any later change of the file would change its time stamps."""
        now = time.time_ns()
        return all(
            stamp != _TOO_YOUNG and stamp + _margin(stamp) < now
            for stamp in (self.mtime_ns, self.ctime_ns)
        )

    @property
    def stamp(self):
        """File status as a string: size, inode and time stamps."""
        # A string, since inode numbers may exceed the 63 bits of integers in SQLite.
        return f"{self.size} {self.inode} {self.mtime_ns} {self.ctime_ns}"


def _margin(stamp_ns):
    return _MARGIN_NS if stamp_ns % _SECOND_NS else _COARSE_MARGIN_NS
