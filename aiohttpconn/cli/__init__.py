"""The command ``aiohttpconn``: fetch URLs from a shell; save large files (``download``), fetch lists (``map``), measure
a server (``bench``), and show the library at work (``demo``).

What a run does not need is not loaded: uvloop, rich, aiofiles and trustme come in when they are used.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .arguments import parse_arguments
from .exits import Exit, Interrupted, StandardOutputError, UsageError
from .fetch import fetch
from .progress import complain

__all__ = ["Exit", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (None: the process's own arguments); the exit code.

    Every failure is one line on standard error, never a traceback (``python -X dev`` shows those of bugs).
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        return _main(argv)
    except UsageError as error:
        command = f"{argv[0]} " if argv and argv[0] in _COMMANDS else ""
        complain(f"{error} (see aiohttpconn {command}--help)")
        return Exit.USAGE
    except Interrupted as interruption:
        complain(f"interrupted: {interruption}")
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except StandardOutputError as error:
        cause = error.__cause__
        if isinstance(cause, BrokenPipeError):
            return _broken_pipe()
        complain(f"standard output: {getattr(cause, 'strerror', None) or cause}")
        return Exit.FAILED
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        complain(f"unexpected {type(error).__name__}: {error} (a bug; python -X dev -m aiohttpconn … shows where)")
        return Exit.FAILED


def _main(argv: Sequence[str]) -> int:
    _occupy_standard_descriptors()
    try:
        command = _COMMANDS.get(argv[0]) if argv else None
        work = fetch(parse_arguments(argv)) if command is None else command(argv[1:])
    except SystemExit:  # --help and --version have printed
        if sys.stdout is not None:
            sys.stdout.flush()
        return Exit.OK
    return run(work)


def _occupy_standard_descriptors() -> None:
    """Open what the shell closed (``>&-``): a socket that got number 1 would be taken for standard output."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)


def run(work: Coroutine[Any, Any, Exit]) -> Exit:
    """Run to its end on uvloop, or on asyncio's own loop where there is no uvloop.

    Ctrl-C cancels `work` and raises KeyboardInterrupt.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not installed everywhere (Windows)
    except ImportError:
        return None
    return uvloop.new_event_loop


def _demo(argv: Sequence[str]) -> Coroutine[Any, Any, Exit]:
    try:
        from .demo import demo  # noqa: PLC0415 - it loads rich and trustme, and needs the extra "cli"
    except ModuleNotFoundError as error:
        raise UsageError(f"the demo needs {error.name}: pip install 'aiohttpconn[cli]'") from error
    return demo(argv)


def _download(argv: Sequence[str]) -> Coroutine[Any, Any, Exit]:
    from .download import download, parse_arguments  # noqa: PLC0415 - each command loads what is its own

    return download(parse_arguments(argv))


def _map(argv: Sequence[str]) -> Coroutine[Any, Any, Exit]:
    from .map import map_list, parse_arguments  # noqa: PLC0415 - the same

    return map_list(parse_arguments(argv))


def _bench(argv: Sequence[str]) -> Coroutine[Any, Any, Exit]:
    from .bench import bench, parse_arguments  # noqa: PLC0415 - the same

    return bench(parse_arguments(argv))


_COMMANDS: dict[str, Callable[[Sequence[str]], Coroutine[Any, Any, Exit]]] = {
    "demo": _demo,
    "download": _download,
    "map": _map,
    "bench": _bench,
}


def _broken_pipe() -> Exit:
    """Whoever read our output has seen enough (``| head``). Like any program that SIGPIPE ends, say nothing."""
    if sys.stdout is not None:
        # What is still buffered would fail once more, with a message, when the interpreter ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return Exit.BROKEN_PIPE
