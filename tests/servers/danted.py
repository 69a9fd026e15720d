"""Dante (`danted`): a real SOCKS proxy, versions 4 and 5, open to all or by user and password.

It knows users and names that the machine does not: nss_wrapper (https://cwrap.org/nss_wrapper.html), preloaded into it
alone, has it look into files of its own. So nothing of the machine is changed, and a name that only the proxy can
resolve proves that it was left to the proxy. (pam_exec is no way: Dante reaps its child before PAM can.)
"""

from __future__ import annotations

import getpass
import os
import pwd
from contextlib import contextmanager
from glob import glob
from typing import TYPE_CHECKING

from tests.servers.program import Program, free_port, listens, missing, require
from tests.servers.squid import PASSWORD, USER, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NAME = "known-to-the-proxy-only.example"
"""A name for 127.0.0.1 that only the proxy can resolve."""
NAME6 = "six.known-to-the-proxy-only.example"
"""The same for ::1."""
FORBIDDEN = "127.0.0.66"
"""An address that its rules forbid."""

# SHA-512 (glibc's crypt) of PASSWORD: Python 3.13 has no crypt of its own.
CRYPTED = "$6$aiohttpconn$.tg4Ytox4tP9kg8zBG34B2hN16Ke1dD6tSC22pa3yFZmGADRRJ.IWIfeGxNoRe6QPeN65n173wFXTFtY3jCoC."

CONFIGURATION = """
errorlog: stderr
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: {method}
user.privileged: {privileged}
user.unprivileged: {unprivileged}
timeout.connect: 5
client pass {{ from: 127.0.0.0/8 to: 0/0 }}
socks block {{ from: 0/0 to: {forbidden}/32 }}
socks pass {{ from: 127.0.0.0/8 to: 0/0 command: connect }}
"""


def nss_wrapper() -> str:
    """The path of the library; the test is skipped without it, and fails in CI."""
    found = [path for place in ("lib/*-linux-gnu", "lib64", "lib") for path in glob(f"/usr/{place}/libnss_wrapper.so")]
    if not found:
        missing("libnss_wrapper.so (Debian: libnss-wrapper) is not installed")
    return found[0]


@contextmanager
def running(*, authenticate: bool) -> Iterator[Proxy]:
    """danted, as long as the block lasts. It connects to everything on loopback but `FORBIDDEN`."""
    program, library = require("danted"), nss_wrapper()
    port = 0

    def configure(directory: Path) -> Sequence[str]:
        nonlocal port
        port = free_port()
        me = getpass.getuser() if os.geteuid() else "root"
        other = me if os.geteuid() else "nobody"
        users = {name: pwd.getpwnam(name) for name in (me, other)}
        known = [f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::/:/bin/sh" for user in users.values()]
        files = {
            "NSS_WRAPPER_PASSWD": "\n".join([*known, f"{USER}:x:65534:65534::/:/bin/sh", ""]),
            "NSS_WRAPPER_GROUP": "".join(f"g{gid}:x:{gid}:\n" for gid in {u.pw_gid for u in users.values()} | {65534}),
            "NSS_WRAPPER_SHADOW": f"{USER}:{CRYPTED}:19000:0:99999:7:::\n",
            "NSS_WRAPPER_HOSTS": f"127.0.0.1 localhost {NAME}\n::1 {NAME6}\n",
        }
        for variable, text in files.items():
            (directory / variable).write_text(text)
        environment = [f"{variable}={directory / variable}" for variable in files]
        text = CONFIGURATION.format(
            port=port,
            method="username" if authenticate else "none",
            privileged=me,
            unprivileged=other,
            forbidden=FORBIDDEN,
        )
        (directory / "danted.conf").write_text(text)
        command = [program, "-f", str(directory / "danted.conf"), "-p", str(directory / "pid"), "-N", "1"]
        return ["env", f"LD_PRELOAD={library}", *environment, *command]

    with Program("danted", configure, lambda: listens(port)):
        yield Proxy("127.0.0.1", port, *((USER, PASSWORD) if authenticate else (None, None)), scheme="socks5")
