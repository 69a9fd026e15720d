"""Real programs as child processes: found or skipped visibly, started, awaited, and ended by their pid."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

SYSTEM_PATHS = "/usr/sbin:/usr/local/sbin:/sbin:/opt/homebrew/sbin"


def in_ci() -> bool:
    """Whether this is the continuous integration, where nothing may be missing."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def require(name: str) -> str:
    """The path of the program `name`. Where it is missing the test is skipped; in CI it fails."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATHS}")
    if found is None:
        missing(f"{name} is not installed")
    return found


def missing(why: str) -> None:
    """Skip the test for want of something; in CI, fail it."""
    if in_ci():
        pytest.fail(f"{why}, and CI must not skip", pytrace=False)
    pytest.skip(why)


_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, and that no system gives away by itself: those begin at 32768.

    No two calls have the same, not even those of another worker of pytest-xdist: until a program listens there, a
    port looks free."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.SystemRandom().randrange(12_000 + worker, 32_000, workers)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A child process with a directory of its own, both gone at the end of the block.

    Args:
        name: for messages, and part of the directory's name.
        configure: writes what is needed into the directory and returns the command line. It is called anew for each
            attempt, since a port that was free may be taken by the time the program binds it.
        ready: whether the program serves.
        seconds: how long it may take to be ready.
        attempts: how often it is tried.
    """

    def __init__(
        self,
        name: str,
        configure: Callable[[Path], Sequence[str]],
        ready: Callable[[], bool],
        *,
        seconds: float = 20,
        attempts: int = 3,
    ) -> None:
        self.name, self.configure, self.ready = name, configure, ready
        self.seconds, self.attempts = seconds, attempts
        self.process: subprocess.Popen[bytes] | None = None
        # Not pytest's directory: programs that give up root must be able to enter it, and a socket's path is short.
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.directory.chmod(0o777)

    @property
    def output(self) -> str:
        """What it has printed."""
        path = self.directory / "output"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def __enter__(self) -> Program:
        try:
            for _ in range(self.attempts):
                if self.start():
                    return self
                self._stop()
            raise RuntimeError(f"{self.name} does not start:\n{self.output}")
        except BaseException:
            self._remove()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._remove()

    def start(self) -> bool:
        """Start it; whether it serves. (Again, too, once it has ended.)"""
        command = self.configure(self.directory)
        with open(self.directory / "output", "wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own group: helpers and workers end with it
            )
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and self.process.poll() is None:
            if self.ready():
                return self.process.poll() is None
            time.sleep(0.02)
        return False

    def _stop(self) -> None:
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()
        self.process = None

    def _remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
