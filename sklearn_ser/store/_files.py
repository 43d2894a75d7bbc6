"""What tells that a file is the one that was read before, without reading it again."""

import os
import time
from typing import NamedTuple

# A file that is written twice within one tick of its file system's clock shows the same times
# after both. So one that had only just changed when it was looked at may change once more and
# look the same ever after; such a version is never remembered (git calls it racy). Kernels
# stamp files by the last tick of their clock, which is at most 16 ms back (Windows; 10 ms on
# Linux): 0.1 s is past that. Times in whole seconds may come from a file system that counts
# in seconds (HFS+, ext3), or in pairs of them (FAT). All that the margin costs is that a file
# younger than this is decoded once more.
_MARGIN_NS = 100_000_000
_MARGIN_OF_WHOLE_SECONDS_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_TOO_YOUNG = -1


class FileVersion(NamedTuple):
    """What tells an unchanged file: where it is, how it is read, and what the system says of it.

    Parameters
    ----------
    path : str
        Absolute path.
    reading : str
        How it is read, such as a sampling rate and a channel: another reading gives another
        content.
    size : int
        Size, in bytes.
    inode : int
        Number of the file in its file system, which changes when it is replaced.
    mtime_ns, ctime_ns : int
        When its content, and its content or status, last changed, in ns. Both are -1 where
        that was too short a time ago to tell it from a later change.
    """

    path: str
    reading: str
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path, reading):
        """Return the version that a file has now.

        Take it before the file is read: a change in between is then noticed.

        Parameters
        ----------
        path : str or path-like
            Of the file.
        reading : str
            How it is read.

        Returns
        -------
        version : FileVersion

        Raises
        ------
        OSError
            If the file can't be found.
        """
        path = os.path.abspath(os.fsdecode(path))
        stat = os.stat(path)
        version = cls(path, reading, stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        if version.is_settled():
            return version
        # Told here, since it is what the file may do from now on that matters, not from when
        # its content is known.
        return version._replace(mtime_ns=_TOO_YOUNG, ctime_ns=_TOO_YOUNG)

    def is_settled(self):
        """Tell whether any change of the file from now on would show in its times."""
        now = time.time_ns()
        return all(
            stamp != _TOO_YOUNG and stamp + _margin_of(stamp) < now
            for stamp in (self.mtime_ns, self.ctime_ns)
        )

    @property
    def stamp(self):
        """What a change of the file changes, as a text."""
        # Numbers of files may exceed the 63 bits of a database's integers.
        return f"{self.size} {self.inode} {self.mtime_ns} {self.ctime_ns}"


def _margin_of(stamp_ns):
    return _MARGIN_NS if stamp_ns % _SECOND_NS else _MARGIN_OF_WHOLE_SECONDS_NS
