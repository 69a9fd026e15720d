"""nginx as a server of one file: slow, or without ranges, or gzipping; it can be killed and started again, and tells
from its log what it sent.

- ``/f``: the file   - ``/no-ranges``: Range is not heeded   - ``/gzip``: gzipped as it is sent, if the request lets it
- ``/quiet``: nothing, and not logged
"""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AT_ONCE = 3 << 20
"""What it sends of each response while it is slow, before it waits for the next second."""

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr crit;
events {{ worker_connections 256; }}
http {{
  log_format fields escape=none '$uri\t$status\t$body_bytes_sent\t$http_range\t$http_if_range';
  access_log {directory}/log fields;
  default_type application/octet-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    # What the kernel holds was sent, and not received: little enough not to count.
    listen 127.0.0.1:{port} sndbuf=64k;
    set $pace 0;
    if (-f {directory}/slow) {{ set $pace {at_once}; }}
    limit_rate $pace;
    location = /f {{ alias {directory}/f; }}
    location = /no-ranges {{ max_ranges 0; alias {directory}/f; }}
    location = /gzip {{ gzip on; gzip_types *; gzip_comp_level 1; alias {directory}/f; }}
    location = /quiet {{ access_log off; return 204; }}
  }}
}}
"""


class Logged(NamedTuple):
    """A request that is over. `asked` is its Range, `condition` its If-Range, "" if it had none."""

    path: str
    status: int
    sent: int
    """Bytes of the body."""
    asked: str
    condition: str


class FileNginx:
    """A running nginx, and its file."""

    def __init__(self, program: Program, port: int) -> None:
        self._program = program
        self._log = 0
        self._slow = program.directory / "slow"
        self.url = f"http://127.0.0.1:{port}"
        self.path = program.directory / "f"

    def be_slow(self, slow: bool) -> None:
        """With the requests to come."""
        if slow:
            self._slow.touch()
        else:
            self._slow.unlink(missing_ok=True)

    def replace(self, body: bytes) -> None:
        """Put another file in the place of the one it serves, in one step; its ETag is another, too."""
        new = self.path.with_suffix(".new")
        new.write_bytes(body)
        new.chmod(0o644)
        # nginx makes the ETag of the time, in whole seconds, and of the size.
        modified = int(self.path.stat().st_mtime) + 1 if self.path.exists() else 1_600_000_000
        os.utime(new, (modified, modified))
        new.replace(self.path)

    def kill(self) -> None:
        """kill -9 of all of it."""
        process = self._program.process
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def start_again(self) -> None:
        """Start it on the same port."""
        assert self._program.start()

    def kill_worker(self) -> None:
        """kill -9 of the worker, that has all connections; its master starts another."""
        process = self._program.process
        assert process is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)

    def logged(self) -> list[Logged]:
        """The requests since the last call that are over."""
        for _ in range(2):
            # It has one worker, which by the second answer has seen all that happened before the first request.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/quiet"):
                pass
        lines = (self._program.directory / "log").read_text().splitlines()[self._log :]
        self._log += len(lines)
        fields = [line.split("\t") for line in lines]
        return [Logged(path, int(status), int(sent), *rest) for path, status, sent, *rest in fields]


@contextmanager
def serving_file() -> Iterator[FileNginx]:
    """Such an nginx, as long as the block lasts; its file is empty."""
    program = require("nginx")
    port = 0

    def configure(directory: Path) -> Sequence[str]:
        nonlocal port
        if not (directory / "log").exists():  # it never ran: the port may be another's
            port = free_port()
        text = CONFIGURATION.format(directory=directory, port=port, at_once=AT_ONCE)
        (directory / "nginx.conf").write_text(text)
        return [program, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]

    with Program("nginx", configure, lambda: listens(port)) as child:
        server = FileNginx(child, port)
        server.replace(b"")
        yield server
