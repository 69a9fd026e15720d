"""The authorities that are trusted where nobody named any: the platform's, else certifi's list."""

from __future__ import annotations

import os
import ssl
import sys

_PLATFORM: str = sys.platform  # by name: else type checkers take what is not for this one for dead


def platform_context() -> ssl.SSLContext | None:
    """A context that verifies as the platform does, where that is better than what OpenSSL finds; None elsewhere.

    On macOS and Windows authorities are in a store of the system's, with what an administrator has added and
    withdrawn; `truststore`, if it is installed, asks that.
    """
    if _PLATFORM not in ("darwin", "win32"):
        return None
    try:
        from truststore import SSLContext  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def add_authorities(context: ssl.SSLContext) -> None:
    """Give a context that found no store of authorities those of `certifi`, if it is installed.

    That happens to Pythons that were built elsewhere, and in the smallest of containers.
    """
    if context.cert_store_stats()["x509"]:
        return
    folder = ssl.get_default_verify_paths().openssl_capath  # looked into when a name is needed
    try:
        if os.listdir(folder):
            return
    except OSError:
        pass
    try:
        from certifi import where  # noqa: PLC0415 - optional
    except ImportError:
        return
    context.load_verify_locations(where())
