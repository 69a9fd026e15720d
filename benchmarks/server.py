"""The servers: nginx and the raw server, pinned to one core, on free ports of loopback, in a temporary directory."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import trustme

from .contents import PAGE, SAMPLE_MIB, Targets, document, sample_crc, write_site

NGINX_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {root}/nginx.pid;
error_log {root}/error.log crit;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    open_file_cache max=16 inactive=3600;
    open_file_cache_valid 3600;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    default_type application/octet-stream;
    root {root}/site;
    server {{
        # All of 127.0.0.0/8 is this machine, so every address there is an origin of its own.
        listen 0.0.0.0:{port} backlog=4096;
        listen 0.0.0.0:{tls_port} ssl backlog=4096;
        ssl_certificate {root}/server.pem;
        ssl_certificate_key {root}/server.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
        ssl_session_tickets on;
        location /page {{ default_type text/plain; }}
        location /cookies {{
            default_type text/plain; try_files /page =404;
            add_header Set-Cookie "session=0123456789abcdef0123456789abcdef; Path=/; HttpOnly; SameSite=Lax";
        }}
        location /cached {{ default_type text/plain; try_files /page =404; expires 1h; }}
        location /distinct/ {{ default_type text/plain; try_files /page =404; }}
        location /document {{ default_type application/json; add_header Content-Encoding gzip; }}
    }}
    server {{
        # Nothing can be resumed here.
        listen 0.0.0.0:{full_port} ssl backlog=4096;
        ssl_certificate {root}/server.pem;
        ssl_certificate_key {root}/server.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        location /page {{ default_type text/plain; }}
    }}
}}
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("0.0.0.0", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def directory_for(size: int) -> str | None:
    """A directory in memory if there is one with room for `size` bytes, else the system's choice."""
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).free > 2 * size:
        return str(shared)
    return None


@contextlib.contextmanager
def stopping(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End `process` on the way out."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server does not listen")


def find(program: str) -> str | None:
    """The path of a program; daemons are not in everybody's PATH."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def nginx_path() -> str:
    path = find("nginx")
    if path is None:
        raise SystemExit("the benchmark needs nginx")
    return path


def nginx_version() -> str:
    run = subprocess.run([nginx_path(), "-v"], capture_output=True, text=True, check=True)
    return run.stderr.strip().removeprefix("nginx version: nginx/")


@contextlib.contextmanager
def serve(
    core: int, files: int, stream_size: int, chunked_size: int, upload_size: int, tunnel_size: int
) -> Iterator[Targets]:
    """Run the servers on `core` and yield where they are. `files` bounds open files, sizes are in bytes."""
    pin = ["taskset", "--cpu-list", str(core)]
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory_for(stream_size + tunnel_size))))
        (root / "site").mkdir()
        write_site(root / "site", stream_size, tunnel_size)

        authority = trustme.CA()
        authority.cert_pem.write_to_path(root / "authority.pem")
        authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(root / "server.pem")

        port, tls_port, full_port = free_ports(3)
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""  # else its worker could not read `root`
        configuration = root / "nginx.conf"
        configuration.write_text(
            NGINX_CONFIGURATION.format(
                user=user, files=files, root=root, port=port, tls_port=tls_port, full_port=full_port
            )
        )
        command = [*pin, nginx_path(), "-e", str(root / "error.log"), "-c", str(configuration)]
        wait_for_port(port, stack.enter_context(stopping(subprocess.Popen(command, text=True))))

        command = [sys.executable, "-m", "benchmarks.rawserver", str(core)]
        raw = stack.enter_context(stopping(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
        assert raw.stdout is not None
        raw_port = int(raw.stdout.readline())

        yield Targets(
            http=f"http://127.0.0.1:{port}",
            https=f"https://127.0.0.1:{tls_port}",
            https_full=f"https://127.0.0.1:{full_port}",
            raw=f"http://127.0.0.1:{raw_port}",
            port=port,
            raw_port=raw_port,
            certificate=str(root / "server.pem"),
            authority=str(root / "authority.pem"),
            stream_size=stream_size,
            chunked_size=chunked_size,
            upload_size=upload_size,
            tunnel_size=tunnel_size,
            page_crc=zlib.crc32(PAGE),
            document_crc=zlib.crc32(document()),
            sample_size=SAMPLE_MIB << 20,
            sample_crc=sample_crc(),
        )
