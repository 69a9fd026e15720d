"""nginx with what the jobs ask for: a page of 1 KiB at any address of 127.0.0.0/8, and a generated site to crawl."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..contents import PAGE
from ..server import free_ports, nginx_path, stopping, wait_for_port

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {root}/nginx.pid;
error_log {root}/error.log crit;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    open_file_cache max=1024 inactive=3600;
    open_file_cache_valid 3600;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    default_type text/html;
    root {root}/site;
    server {{
        listen 0.0.0.0:{port} backlog=4096;
        location /item/ {{ try_files /page =404; }}
    }}
}}
"""
LINKS = 20


def links_of(number: int, pages: int) -> list[int]:
    """What the page of that number links to: the start, those after it, and some all over the site."""
    near = [(2 * number + step) % pages for step in (1, 2)]
    far = [(number * 7919 + step * 104_729 + 1) % pages for step in range(LINKS - 3)]
    return [0, *near, *far]


def html(number: int, pages: int) -> str:
    """A page of 20 links and some text, 3 KiB."""
    items = "\n".join(f'<li><a href="/p/{link}.html">page {link}</a></li>' for link in links_of(number, pages))
    text = "\n".join(f"<p>{'Lorem ipsum dolor sit amet, ' * 3}{number}.</p>" for _ in range(15))
    return (
        f"<!doctype html><html><head><title>Page {number}</title></head>"
        f"<body><h1>Page {number}</h1><ul>{items}</ul>{text}</body></html>"
    )


@contextlib.contextmanager
def serve(core: int, files: int, pages: int) -> Iterator[int]:
    """Run nginx on `core`, with a site of so many pages from ``/p/0.html`` on; its port."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "site" / "p").mkdir(parents=True)
        (root / "site" / "page").write_bytes(PAGE)
        for number in range(pages):
            (root / "site" / "p" / f"{number}.html").write_text(html(number, pages))
        [port] = free_ports(1)
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        configuration = root / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(user=user, files=files, root=root, port=port))
        command = ["taskset", "--cpu-list", str(core), nginx_path(), "-e", str(root / "error.log")]
        with stopping(subprocess.Popen([*command, "-c", str(configuration)], text=True)) as process:
            wait_for_port(port, process)
            yield port
