"""HAProxy in front of a server, without its PROXY protocol: it passes bytes on (TCP), or HTTP messages."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Haproxy:
    """The ports of 127.0.0.1 where it listens."""

    tcp_port: int
    """To the server's plain port, byte for byte."""
    tls_port: int
    """To the server's TLS port, byte for byte: the TLS is the server's."""
    http_port: int
    """To the server's plain port, message for message: HAProxy speaks HTTP to both sides."""

    @property
    def tcp(self) -> str:
        """URL of the plain server behind TCP."""
        return f"http://127.0.0.1:{self.tcp_port}"

    @property
    def tls(self) -> str:
        """URL of the TLS server behind TCP."""
        return f"https://localhost:{self.tls_port}"

    @property
    def http(self) -> str:
        """URL of the plain server behind HTTP."""
        return f"http://127.0.0.1:{self.http_port}"


CONFIGURATION = """
global
  maxconn 512
  nbthread 1
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tcp
  mode tcp
  bind 127.0.0.1:{tcp}
  default_backend plain
frontend tls
  mode tcp
  bind 127.0.0.1:{tls}
  default_backend secure
frontend http
  mode http
  bind 127.0.0.1:{http}
  http-response set-header Via "1.1 haproxy"
  default_backend messages
backend plain
  mode tcp
  server origin 127.0.0.1:{origin}
backend secure
  mode tcp
  server origin 127.0.0.1:{tls_origin}
backend messages
  mode http
  server origin 127.0.0.1:{origin}
"""


@contextmanager
def running(origin_port: int, tls_origin_port: int) -> Iterator[Haproxy]:
    """HAProxy, as long as the block lasts, in front of a server on those ports of 127.0.0.1."""
    program = require("haproxy")
    ports = {"tcp": 0, "tls": 0, "http": 0}

    def configure(directory: Path) -> Sequence[str]:
        for name in ports:
            ports[name] = free_port()
        text = CONFIGURATION.format(origin=origin_port, tls_origin=tls_origin_port, **ports)
        (directory / "haproxy.cfg").write_text(text)
        return [program, "-db", "-f", str(directory / "haproxy.cfg")]

    with Program("haproxy", configure, lambda: all(map(listens, ports.values()))):
        yield Haproxy(ports["tcp"], ports["tls"], ports["http"])
