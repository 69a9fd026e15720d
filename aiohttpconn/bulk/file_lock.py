"""`FileLock`: a path that is one object's alone, in all processes, for as long as its process lives."""

from __future__ import annotations

import os
import threading

from .. import flock


class FileLock:
    """The lock of what is at `path`, or will be: of an empty file beside it, `path` + ".lock".

    That file is there while it is held, made and removed by this. The file at `path` is not even opened: SQLite's locks
    on it would end with any descriptor that is closed (fcntl(2)), and are in the way of flock(2) where the system has
    one table for both (macOS, the BSDs, NFS).

    That the file is there says nothing: it is the system that knows whether it is locked, and lifts the lock when the
    process ends, however it does. What a killed process leaves, the next to hold the lock removes; who deletes it while
    it is held lets a second one in.

    Raises BlockingIOError at once if it is taken, here or in another process, and OSError if no file can be made there.
    Where there are no such locks (`flock.lock`), only who is in this process is seen.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path) + ".lock"  # one lock, whatever links lead to it
        with _changing:
            while not self._take(path):
                pass  # it was removed just before it was locked, by who had it till then

    def _take(self, path: str) -> bool:
        try:
            # Where there is no flock(), and for NFS, where it ends with any descriptor that is closed.
            if _identity(os.stat(self._path)) in _taken:
                raise BlockingIOError(_TAKEN.format(path))
        except FileNotFoundError:
            pass
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:  # about what was asked for, not about what is beside it
            folder = os.path.dirname(self._path)
            why = error.strerror if os.path.isdir(folder) else f"there is no folder {folder}"
            raise OSError(error.errno, why, path) from error
        held = False
        try:
            flock.lock(descriptor)
            self._identity = _identity(os.fstat(descriptor))
            held = _is_at(self._path, self._identity)
        except BlockingIOError as error:
            raise BlockingIOError(_TAKEN.format(path)) from error
        finally:
            if not held:
                os.close(descriptor)
        if held:
            self._descriptor = descriptor
            _taken.add(self._identity)
        return held

    def lift(self) -> None:
        """Somebody else may have it. To be called once, after the last use of what is at the path."""
        with _changing:
            _taken.discard(self._identity)
            try:
                if _is_at(self._path, self._identity):
                    os.unlink(self._path)  # while it is locked: whoever waits at the door sees that it has gone
            except OSError:
                pass  # Windows removes no open file; one that stays is locked by nobody
            finally:
                flock.unlock(self._descriptor)
                os.close(self._descriptor)


_TAKEN = "{} is in use by another map or frontier, in this process or elsewhere: close that first"
_changing = threading.Lock()
_taken: set[tuple[int, int]] = set()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_at(path: str, identity: tuple[int, int]) -> bool:
    try:
        return _identity(os.stat(path)) == identity
    except FileNotFoundError:
        return False
