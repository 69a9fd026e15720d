"""`FileLock`: a file that is one object's alone, in all processes, for as long as its process lives."""

from __future__ import annotations

import os
import threading

try:
    import fcntl
except ImportError:  # a system without it: held within the process only
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """The lock of the file at `path`, which is made if it is not there, its owner's alone (mode 0600).

    Nothing of it is written down: the system lifts it when the process ends, however it does. Others may open and read
    the file.

    Raises BlockingIOError at once if it is taken, here or in another process, and OSError for what is no such file.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        with _taking:
            # One that is taken here is not even opened: to close it would end the locks that SQLite has on it, which
            # are the process's (POSIX), and not the descriptor's as this one is.
            try:
                taken = _identity(os.stat(path)) in _taken
            except FileNotFoundError:
                taken = False
            if taken:
                raise BlockingIOError(_TAKEN.format(path))
            descriptor = os.open(path, flags, 0o600)
            try:
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._identity = _identity(os.fstat(descriptor))
            except BlockingIOError as error:
                os.close(descriptor)
                raise BlockingIOError(_TAKEN.format(path)) from error
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            _taken.add(self._identity)

    def lift(self) -> None:
        """Somebody else may have it. To be called once, after the last use of the file."""
        os.close(self._descriptor)
        _taken.discard(self._identity)


_TAKEN = "{} is in use by another map or frontier, in this process or elsewhere: close that first"
_taking = threading.Lock()
_taken: set[tuple[int, int]] = set()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
