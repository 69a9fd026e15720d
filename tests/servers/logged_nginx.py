"""nginx with locations of a test's own, over HTTP and HTTPS, that tells from its log what it was asked.

- ``/f``: a file   - ``/quiet``: nothing, and not logged
"""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.servers.certificates import LOCAL_NAMES
from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import trustme

CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr crit;
events {{ worker_connections 256; }}
http {{
  log_format fields escape=none '$msec\t$request_uri\t$status';
  access_log {directory}/log fields;
  default_type text/plain;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {zones}
  server {{
    # What the kernel holds was sent, and is no more under way: little enough not to count.
    listen 127.0.0.1:{http} sndbuf=64k;
    listen 127.0.0.1:{https} ssl;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    root {directory}/www;
    location = /quiet {{ access_log off; return 204; }}
    {locations}
  }}
}}
"""


class Logged(NamedTuple):
    """A request that is over."""

    at: float
    """When, by nginx's clock: seconds, to the millisecond."""
    target: str
    status: int


class LoggedNginx:
    """A running nginx, and its file."""

    def __init__(self, program: Program, http: int, https: int) -> None:
        self._program = program
        self._read = 0
        self.url = f"http://127.0.0.1:{http}"
        self.https = f"https://localhost:{https}"

    def put(self, body: bytes, modified: int) -> None:
        """Have it serve that file, modified at that time (in seconds, of which nginx makes the ETag)."""
        path = self._program.directory / "www" / "f"
        path.write_bytes(body)
        os.utime(path, (modified, modified))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It does nothing, as long as the block lasts."""
        process = self._program.process
        assert process is not None
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGCONT)

    def logged(self) -> list[Logged]:
        """The requests since the last call that are over."""
        # It is one process: with this answer, it has logged all that it had answered.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/quiet"):
            pass
        lines = (self._program.directory / "log").read_text().splitlines()[self._read :]
        self._read += len(lines)
        fields = [line.split("\t") for line in lines]
        return [Logged(float(at), target, int(status)) for at, target, status in fields]


@contextmanager
def serving(ca: trustme.CA, locations: str, zones: str = "") -> Iterator[LoggedNginx]:
    """Such an nginx, as long as the block lasts: `locations` go into its server, `zones` before it."""
    program = require("nginx")
    ports = {"http": 0, "https": 0}

    def configure(directory: Path) -> Sequence[str]:
        ports.update(http=free_port(), https=free_port())
        (directory / "www").mkdir(exist_ok=True)
        ca.issue_cert(*LOCAL_NAMES).private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
        text = CONFIGURATION.format(directory=directory, locations=locations, zones=zones, **ports)
        (directory / "nginx.conf").write_text(text)
        return [program, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]

    def ready() -> bool:
        return listens(ports["http"]) and listens(ports["https"])

    with Program("nginx", configure, ready) as child:
        yield LoggedNginx(child, **ports)
