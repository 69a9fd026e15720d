"""The contexts of TLS: whom a client trusts, and who it says that it is."""

from __future__ import annotations

import functools
import os
import ssl
from typing import TypeAlias

from ..errors import TLSError
from .tls_transport import TLSTransport

__all__ = ["TLS_VARIABLES", "TLSTransport", "ssl_context"]

TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""What the environment may say of TLS: which CAs are trusted instead of the system's, where session keys are logged."""

_Settings: TypeAlias = tuple[str | None, ...]


@functools.lru_cache(maxsize=64)
def _context(verify: bool | str, environment: _Settings | None) -> ssl.SSLContext:
    """`environment` has the values of `TLS_VARIABLES`, which Python and OpenSSL look at themselves; None if they are to
    be passed over."""
    cafile = capath = None
    if isinstance(verify, str):
        source = verify
        cafile, capath = (None, verify) if os.path.isdir(verify) else (verify, None)
    elif environment is None:
        source = "the system's default paths"
        paths = ssl.get_default_verify_paths()
        cafile = paths.openssl_cafile if os.path.isfile(paths.openssl_cafile) else None
        capath = paths.openssl_capath if os.path.isdir(paths.openssl_capath) else None
    else:
        source = "SSL_CERT_FILE"
        if verify and environment[0] and not os.path.isfile(environment[0]):
            raise TLSError(f"SSL_CERT_FILE names no file: {environment[0]!r}")  # OpenSSL would trust nobody, in silence
    try:
        context = ssl.create_default_context(cafile=cafile, capath=capath)
    except (OSError, ssl.SSLError) as error:
        raise TLSError(f"no CA certificates could be loaded from {source!r}: {error}") from error
    if environment is None:
        context.keylog_filename = None  # type: ignore[assignment]
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def ssl_context(
    verify: bool | str | os.PathLike[str] | ssl.SSLContext = True, trust_env: bool = True
) -> ssl.SSLContext:
    """The context for a way of verifying: True (the system's CAs), False (none), a path of CA certificates, or a
    context of one's own, which is used as it is.

    With `trust_env` SSL_CERT_FILE and SSL_CERT_DIR replace the system's CAs, and SSLKEYLOGFILE is written to.

    Built once per way and shared: building one costs 15 ms. Raises `TLSError` when the CAs cannot be loaded.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    environment = tuple([os.environ.get(name) for name in TLS_VARIABLES]) if trust_env else None
    return _context(verify if isinstance(verify, bool) else os.fspath(verify), environment)
