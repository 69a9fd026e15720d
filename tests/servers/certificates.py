"""Certificates of a throw-away authority, good and bad ones."""

from __future__ import annotations

import datetime
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
ELSEWHERE = "elsewhere.example"


def server_context(ca: trustme.CA, *names: str, not_after: datetime.datetime | None = None) -> ssl.SSLContext:
    """A server's context with a certificate of `ca` for `names` (loopback's where none are given)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    ca.issue_cert(*(names or LOCAL_NAMES), not_after=not_after).configure_cert(context)
    return context


def expired_context(ca: trustme.CA) -> ssl.SSLContext:
    """A server's context whose certificate ran out yesterday."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return server_context(ca, not_after=yesterday)


def trusting_context(ca: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts `ca` and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context
