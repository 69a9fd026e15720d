"""nginx over HTTP, HTTPS and a Unix domain socket.

- ``/1k`` 1 KiB, ``/big`` 32 MiB, ``/json`` 119 kB: static files     - ``/gzip``: the JSON, gzipped as it is sent
- ``/chunked``: 64 KiB, chunked                                       - ``/slow``: the big file at 64 kB/s
- ``/echo-status/NNN``: that status                                   - ``/redirect/NNN``: NNN and Location: /1k
- ``/redirect/absolute`` (302, a whole URL), ``/redirect/loop``       - ``/upload``: how many bytes of body it got
- ``/tls``: "TLSv1.3 r", "." instead of "r" if it was not resumed
- ``/413``: the same, but at most 1 KiB                               - ``/close``: ``/1k`` and Connection: close
- ``/connection``: "serial requests" of the connection it came on     - ``/target``: the request target as received
- ``/keep-alive``: the same, with Keep-Alive: timeout=3600 (kept 65 s)  - ``/brief``: the same, closed when idle for 1 s
- ``/three``: the same, a connection ends with its third request
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.certificates import LOCAL_NAMES
from tests.servers.origin import pattern
from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import trustme

BIG = 32 * 1024 * 1024
STATUSES = (200, 201, 204, 304, 400, 401, 403, 404, 405, 410, 418, 429, 500, 502, 503)
REDIRECTS = (301, 302, 303, 307, 308)


def document() -> bytes:
    """What ``/json`` and ``/gzip`` hold: about 119 kB of JSON."""
    rows = [
        {"id": n, "name": f"item {n}", "price": n * 7 % 1000 / 10, "tags": ["a", "b", str(n % 13)]} for n in range(1690)
    ]
    return json.dumps(rows).encode()


@dataclass(frozen=True)
class Nginx:
    """Where it listens."""

    http: str
    """``http://127.0.0.1:port``"""
    https: str
    """``https://localhost:port``, with a certificate of the `ca` fixture."""
    uds: str
    """Path of its Unix domain socket (plain HTTP)."""
    http_port: int
    https_port: int
    big: int = BIG


CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type application/octet-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_timeout 65s;
  keepalive_requests 1000000;
  client_max_body_size 0;
  absolute_redirect off;
  tcp_nodelay on;
  server {{ listen unix:{directory}/count; location / {{ return 200 $http_content_length; }} }}
  server {{
    listen 127.0.0.1:{http};
    listen 127.0.0.1:{https} ssl;
    listen unix:{directory}/s;
    server_name localhost;
    ssl_certificate {directory}/chain.pem;
    ssl_certificate_key {directory}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
    root {directory}/www;
    location = /json {{ default_type application/json; }}
    location = /gzip {{
      gzip on; gzip_types application/json; default_type application/json; alias {directory}/www/json;
    }}
    location = /chunked {{ ssi on; ssi_types *; alias {directory}/www/64k; }}
    location = /slow {{ limit_rate 64k; alias {directory}/www/big; }}
    location = /close {{ keepalive_timeout 0; alias {directory}/www/1k; }}
    location = /connection {{ return 200 "$connection $connection_requests"; }}
    location = /keep-alive {{ keepalive_timeout 65s 3600s; return 200 "$connection $connection_requests"; }}
    location = /brief {{ keepalive_timeout 1s 1s; return 200 "$connection $connection_requests"; }}
    location = /three {{ keepalive_requests 3; return 200 "$connection $connection_requests"; }}
    location = /tls {{ return 200 "$ssl_protocol $ssl_session_reused"; }}
    location = /target {{ return 200 $request_uri; }}
    location = /upload {{ proxy_pass http://unix:{directory}/count:/; }}
    location = /413 {{ client_max_body_size 1k; proxy_pass http://unix:{directory}/count:/; }}
    location = /redirect/absolute {{ return 302 $scheme://$http_host/1k; }}
    location = /redirect/loop {{ return 302 /redirect/loop; }}
    {generated}
  }}
}}
"""


@contextmanager
def running(ca: trustme.CA) -> Iterator[Nginx]:
    """nginx, as long as the block lasts."""
    program = require("nginx")
    ports = {"http": 0, "https": 0}

    def configure(directory: Path) -> Sequence[str]:
        ports.update(http=free_port(), https=free_port())
        www = directory / "www"
        www.mkdir(exist_ok=True)
        for name, body in (("1k", pattern(1024)), ("64k", b"x" * 65536), ("big", pattern(BIG)), ("json", document())):
            (www / name).write_bytes(body)
        leaf = ca.issue_cert(*LOCAL_NAMES)
        (directory / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        (directory / "key.pem").write_bytes(leaf.private_key_pem.bytes())
        generated = [
            f"location = /echo-status/{n} {{ return {n}{'' if n in (204, 304) else f' {n}'}; }}" for n in STATUSES
        ]
        generated += [f"location = /redirect/{n} {{ return {n} /1k; }}" for n in REDIRECTS]
        text = CONFIGURATION.format(directory=directory, generated="\n    ".join(generated), **ports)
        (directory / "nginx.conf").write_text(text)
        return [program, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]

    def ready() -> bool:
        return listens(ports["http"]) and listens(ports["https"])

    with Program("nginx", configure, ready) as child:
        http, https = ports["http"], ports["https"]
        yield Nginx(f"http://127.0.0.1:{http}", f"https://localhost:{https}", str(child.directory / "s"), http, https)
