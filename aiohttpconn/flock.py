"""The lock of an open file (flock(2)), for which nobody waits: it is the system that lifts it when a process ends."""

from __future__ import annotations

import errno
from contextlib import suppress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_WITHOUT = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has no such locks, as Lustre and NFS in some set-ups."""


def lock(descriptor: int) -> None:
    """Lock it against all who open the file themselves, until `unlock`, or until the process ends.

    Where the system or the file system has no such locks, it is as good as locked. Raises BlockingIOError if somebody
    else has it, and OSError.
    """
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise


def unlock(descriptor: int) -> None:
    """Lift it. To close the descriptor does not, while a process that was forked meanwhile has it too."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
