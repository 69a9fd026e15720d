"""How the command ends."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit codes. With several URLs the command ends with the highest of theirs."""

    OK = 0
    HTTP_ERROR = 1
    """The server answered 4xx or 5xx: to a download, or with ``--fail``."""
    USAGE = 2
    """The command line cannot be acted on; nothing was sent."""
    FAILED = 3
    """No whole answer came, or it could not be saved."""
    INTERRUPTED = 130
    """Ctrl-C: what a shell reports of a program that SIGINT ended."""
    BROKEN_PIPE = 141
    """Whoever read standard output has gone: what a shell reports of a program that SIGPIPE ended."""


class UsageError(Exception):
    """The command line cannot be acted on. Its text says why."""


class StandardOutputError(Exception):
    """Standard output cannot be written to; its cause is the OSError."""


class Interrupted(Exception):
    """Ctrl-C. Its text says what is kept, and how to go on."""
