"""nginx with a server for each thing that may be wrong with TLS, each on a port of its own."""

from __future__ import annotations

import datetime
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trustme

from tests.servers.certificates import ELSEWHERE, LOCAL_NAMES
from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KINDS = ("good", "unknown", "elsewhere", "expired", "old", "http2", "asks12", "asks13", "plain")

CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size 0;
  {servers}
}}
"""
SETTINGS = {
    "old": "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;",
    "asks12": "ssl_protocols TLSv1.2; ssl_verify_client on; ssl_client_certificate {directory}/ca.pem;",
    "asks13": "ssl_protocols TLSv1.3; ssl_verify_client on; ssl_client_certificate {directory}/ca.pem;",
}


@contextmanager
def running(ca: trustme.CA) -> Iterator[dict[str, int]]:
    """The port of each of `KINDS`, as long as the block lasts. "asks12" and "asks13" answer with whose certificate they
    were shown."""
    program = require("nginx")
    ports: dict[str, int] = {}

    def configure(directory: Path) -> Sequence[str]:
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        (directory / "ca.pem").write_bytes(ca.cert_pem.bytes())
        leaves = {
            "good": ca.issue_cert(*LOCAL_NAMES),
            "unknown": trustme.CA().issue_cert(*LOCAL_NAMES),
            "elsewhere": ca.issue_cert(ELSEWHERE),
            "expired": ca.issue_cert(*LOCAL_NAMES, not_after=yesterday),
        }
        servers = []
        for name, leaf in leaves.items():
            (directory / f"{name}.pem").write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
        for kind in KINDS:
            ports[kind] = port = free_port()
            pem = directory / f"{kind if kind in leaves else 'good'}.pem"
            how = "" if kind == "plain" else " ssl http2" if kind == "http2" else " ssl"
            keys = "" if kind == "plain" else f"ssl_certificate {pem}; ssl_certificate_key {pem};"
            more = SETTINGS.get(kind, "").format(directory=directory)
            servers.append(
                f"server {{ listen 127.0.0.1:{port}{how}; {keys} {more}"
                ' location / { return 200 "$ssl_client_verify $request_method"; } }'
            )
        text = CONFIGURATION.format(directory=directory, servers="\n  ".join(servers))
        (directory / "nginx.conf").write_text(text)
        return [program, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]

    with Program("strict-tls", configure, lambda: len(ports) == len(KINDS) and all(map(listens, ports.values()))):
        yield ports
