"""The lock of an open file (flock(2)), for which nobody waits: it is the system that lifts it when a process ends."""

from __future__ import annotations

from contextlib import suppress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int) -> None:
    """Lock it against all who open the file themselves, until `unlock`, or until the process ends.

    Where the system has no such locks, it is as good as locked. Raises BlockingIOError if somebody else has it, and
    OSError.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock(descriptor: int) -> None:
    """Lift it. To close the descriptor does not, while a process that was forked meanwhile has it too."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
