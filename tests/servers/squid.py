"""squid: a real forward proxy, open to all or with basic or digest authentication."""

from __future__ import annotations

import hashlib
import os
import pwd
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

USER, PASSWORD = "ada", "s3cret-lace"


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and whom it lets in."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    scheme: str = "http"

    @property
    def url(self) -> str:
        """``scheme://[user:password@]host:port``"""
        userinfo = f"{self.user}:{self.password}@" if self.user else ""
        return f"{self.scheme}://{userinfo}{self.host}:{self.port}"

    @property
    def bare_url(self) -> str:
        """The same without credentials."""
        return f"{self.scheme}://{self.host}:{self.port}"


# Helpers of the shell's: what a distribution calls its helpers, and where it puts them, differs.
BASIC_HELPER = """#!/bin/sh
while read -r user password; do
  if [ "$user" = "{user}" ] && [ "$password" = "{password}" ]; then echo OK; else echo ERR; fi
done
"""
# It is asked for H(user:realm:password) (RFC 7616 section 3.4.2; squid knows MD5 only).
DIGEST_HELPER = """#!/bin/sh
while read -r asked; do
  if [ "$asked" = '"{user}":"test"' ]; then echo 'OK ha1="{ha1}"'; else echo ERR; fi
done
"""

CONFIGURATION = """
http_port 127.0.0.1:{port}
pid_filename none
visible_hostname localhost
{effective_user}
access_log none
cache_log {directory}/cache.log
coredump_dir {directory}
cache deny all
cache_mem 8 MB
memory_pools off
max_filedescriptors 1024
pinger_enable off
shutdown_lifetime 0 seconds
{authentication}
http_access deny all
"""

AUTHENTICATION = """
auth_param {scheme} program /bin/sh {directory}/helper
auth_param {scheme} children 1 startup=1
auth_param {scheme} realm test
acl known proxy_auth REQUIRED
http_access allow known
"""


@contextmanager
def running(*, authenticate: bool, digest: bool = False) -> Iterator[Proxy]:
    """squid, as long as the block lasts. It lets everything on loopback through, CONNECT to any port too.

    With `authenticate` to `USER` with `PASSWORD` only, by basic, or by `digest`.
    """
    program = require("squid")
    port = 0

    def configure(directory: Path) -> Sequence[str]:
        nonlocal port
        port = free_port()
        ha1 = hashlib.md5(f"{USER}:test:{PASSWORD}".encode()).hexdigest()
        helper = DIGEST_HELPER if digest else BASIC_HELPER
        (directory / "helper").write_text(helper.format(user=USER, password=PASSWORD, ha1=ha1))
        # Started as root it gives root up, for a user who may be missing from a small system.
        user = ""
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = "cache_effective_user " + next(name for name in ("proxy", "squid", "nobody") if name in names)
        authentication = "http_access allow all"
        if authenticate:
            authentication = AUTHENTICATION.format(directory=directory, scheme="digest" if digest else "basic")
        text = CONFIGURATION.format(directory=directory, port=port, effective_user=user, authentication=authentication)
        (directory / "squid.conf").write_text(text)
        return [program, "-N", "-n", f"t{port}", "-f", str(directory / "squid.conf")]

    with Program("squid", configure, lambda: listens(port)):
        yield Proxy("127.0.0.1", port, *((USER, PASSWORD) if authenticate else ()))
