"""Runs the command as a user does: in a process of its own, in pipes or on a terminal.

It runs on the kind of loop that the test runs on, so that every test sees it on uvloop and without. A warning is an
error in it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SECONDS = 60
"""After which a command that hangs is ended."""

_LAUNCH = """\
import runpy, sys
for name in {missing!r}:
    sys.modules[name] = None
runpy.run_module("aiohttpconn", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said. On a terminal all that it said is in `stdout`."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line on standard error, without the program's name. Fails if there is none, or more."""
        (line,) = self.stderr.splitlines()
        assert line.startswith("aiohttpconn: "), self.stderr
        return line.removeprefix("aiohttpconn: ")


def command(*arguments: object, missing: tuple[str, ...] = ()) -> list[str]:
    """The process's arguments; the modules `missing` cannot be imported in it."""
    if not _on_uvloop():
        missing = (*missing, "uvloop")
    return [
        sys.executable,
        "-W",
        "error",
        "-X",
        "faulthandler",
        "-c",
        _LAUNCH.format(missing=missing),
        *map(str, arguments),
    ]


def _on_uvloop() -> bool:
    try:
        return type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    except RuntimeError:
        return True


def environment(**extra: str) -> dict[str, str]:
    """The test's environment without what would lead the command elsewhere, and with the package to be found."""
    other = {name for name in os.environ if name.lower().endswith("_proxy")} | {"PYTHONUNBUFFERED", "REQUEST_METHOD"}
    kept = {name: value for name, value in os.environ.items() if name not in other}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm-256color"} | extra


def start(*arguments: object, missing: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[bytes]:
    """Start the command, standard output and error in pipes unless said otherwise."""
    defaults: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options.setdefault("env", environment())
    return subprocess.Popen(command(*arguments, missing=missing), **(defaults | options))


async def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Outcome:
    """Wait for the end; servers in the test's loop go on meanwhile."""

    def wait() -> Outcome:
        with process:
            try:
                out, err = process.communicate(stdin, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # faulthandler says where it hangs
                out, err = process.communicate()
            except BaseException:
                process.kill()
                raise
        return Outcome(process.returncode, out or b"", (err or b"").decode())

    outcome = await asyncio.to_thread(wait)
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.code != -signal.SIGABRT, f"it hung, or aborted:\n{outcome.stderr}"
    return outcome


async def run(*arguments: object, stdin: bytes | IO[bytes] | None = None, **options: Any) -> Outcome:
    """Start the command and wait for its end. `stdin`: what is on it, or the open file that it is."""
    if stdin is not None:
        options["stdin"] = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    return await finish(start(*arguments, **options), stdin if isinstance(stdin, bytes) else None)


async def run_on_terminal(*arguments: object, missing: tuple[str, ...] = (), **options: Any) -> Outcome:
    """The command with standard output and error on a terminal of 100 columns."""
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        process = start(*arguments, missing=missing, stdout=slave, stderr=slave, **options)
    finally:
        os.close(slave)

    def read() -> bytes:
        said = bytearray()
        with contextlib.suppress(OSError):  # Linux says the end of a terminal so
            while some := os.read(master, 65536):
                said += some
        os.close(master)
        return bytes(said)

    reading = asyncio.create_task(asyncio.to_thread(read))
    outcome = await finish(process)
    said = await reading
    assert b"Traceback" not in said, said.decode()
    return Outcome(outcome.code, said, "")
