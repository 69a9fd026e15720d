"""The proxies: squid, danted, and haproxy in front of squid for TLS to the proxy; on the core of the servers."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from .server import find, free_ports, stopping, wait_for_port

PROGRAMS: Final = {"http": ("squid",), "https": ("squid", "haproxy"), "socks5": ("danted",)}
"""What is needed for a proxy whose URL has that scheme."""

SQUID_CONFIGURATION = """
http_port 127.0.0.1:{port}
pid_filename none
visible_hostname localhost
{user}
access_log none
cache_log /dev/null
coredump_dir {root}
cache deny all
cache_mem 8 MB
pinger_enable off
shutdown_lifetime 0 seconds
http_access allow all
"""

# Buffers as large as what it is sent, or every 16 KiB would be a wake-up of its own for everybody behind it.
HAPROXY_CONFIGURATION = """
global
  nbthread 1
  maxconn 64
  tune.bufsize 262144
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen tls
  bind 127.0.0.1:{port} ssl crt {certificate}
  server squid 127.0.0.1:{squid}
"""

DANTED_CONFIGURATION = """
errorlog: /dev/null
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: {privileged}
user.unprivileged: {unprivileged}
client pass {{ from: 127.0.0.0/8 to: 0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0/0 command: connect }}
"""


def missing(scheme: str) -> list[str]:
    """The programs that a proxy of that scheme needs and that are not installed."""
    return [name for name in PROGRAMS[scheme] if find(name) is None]


@contextlib.contextmanager
def serve(schemes: Iterable[str], core: int, certificate: str) -> Iterator[dict[str, str]]:
    """Run proxies of those schemes on `core`, and yield their URLs. `certificate`: path of that of 127.0.0.1."""
    wanted = set(schemes)
    programs = {name for scheme in wanted for name in PROGRAMS[scheme]}
    squid, haproxy, danted = free_ports(3)
    ports = {"http": squid, "https": haproxy, "socks5": danted}
    me = getpass.getuser()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def run(name: str, port: int, configuration: str, *options: str) -> None:
            path = find(name)
            if path is None:
                raise SystemExit(f"{name} is not installed")
            file = root / f"{name}.conf"
            file.write_text(configuration)
            command = ["taskset", "--cpu-list", str(core), path, *options, "-f", str(file)]
            process = subprocess.Popen(command, text=True, cwd=root, stderr=subprocess.DEVNULL)
            wait_for_port(port, stack.enter_context(stopping(process)))

        if "squid" in programs:
            # Started as root it wants to become somebody else.
            user = "cache_effective_user nobody" if os.geteuid() == 0 else ""
            run("squid", squid, SQUID_CONFIGURATION.format(port=squid, user=user, root=root), "-N", "-n", f"b{squid}")
        if "haproxy" in programs:
            run(
                "haproxy",
                haproxy,
                HAPROXY_CONFIGURATION.format(port=haproxy, certificate=certificate, squid=squid),
                "-db",
            )
        if "danted" in programs:
            other = "nobody" if os.geteuid() == 0 else me
            text = DANTED_CONFIGURATION.format(port=danted, privileged=me, unprivileged=other)
            run("danted", danted, text, "-N", "1", "-p", str(root / "danted.pid"))
        yield {scheme: f"{scheme}://127.0.0.1:{ports[scheme]}" for scheme in wanted}
