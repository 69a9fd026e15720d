"""The contexts of TLS: whom a client trusts, and who it says that it is."""

from __future__ import annotations

import functools
import os
import ssl
from typing import TYPE_CHECKING, TypeAlias

from ..errors import TLSError
from .tls_transport import TLSTransport
from .tls_trust import add_authorities, platform_context

if TYPE_CHECKING:
    from .tls_certificate import ClientCertificate

__all__ = ["TLS_VARIABLES", "TLSTransport", "ssl_context"]

TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""What the environment may say of TLS: which CAs are trusted instead of the system's, where session keys are logged."""

_Settings: TypeAlias = tuple[str | None, ...]


@functools.lru_cache(maxsize=64)
def _context(verify: bool | str, environment: _Settings | None) -> ssl.SSLContext:
    """`environment` has the values of `TLS_VARIABLES`, which Python and OpenSSL look at themselves; None if they are to
    be passed over."""
    if verify is True and not (environment and any(environment[:2])) and (native := platform_context()) is not None:
        native.set_alpn_protocols(["http/1.1"])
        return native
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
    if verify is True and not (environment and any(environment[:2])):
        add_authorities(context)
    if environment is None:
        context.keylog_filename = None  # type: ignore[assignment]
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def ssl_context(
    verify: bool | str | os.PathLike[str] | ssl.SSLContext = True,
    trust_env: bool = True,
    cert: ClientCertificate | None = None,
    minimum_version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """The context for a way of verifying: True (the system's CAs), False (none), a path of CA certificates, or a
    context of one's own, which is used as it is.

    - `trust_env`: whether SSL_CERT_FILE and SSL_CERT_DIR replace the system's CAs, and SSLKEYLOGFILE is written to.
    - `cert`: the client's certificate, see `ClientCertificate`.
    - `minimum_version`: the oldest version of TLS; None for 1.2.

    Built once per way and shared: building one costs 15 ms. One with a certificate or a version is the caller's alone.
    Raises `TLSError` when CAs or certificates cannot be loaded, TypeError for more to be put into a context of one's
    own.
    """
    if isinstance(verify, ssl.SSLContext):
        if cert is not None or minimum_version is not None:
            what = "minimum_version" if cert is None else "cert"
            how = "minimum_version = …" if cert is None else "load_cert_chain(…)"
            raise TypeError(f"{what} is not put into a context that is given as verify=: do it by context.{how}")
        return verify
    environment = tuple([os.environ.get(name) for name in TLS_VARIABLES]) if trust_env else None
    way = verify if isinstance(verify, bool) else os.fspath(verify)
    if cert is None and minimum_version is None:
        return _context(way, environment)
    context = _context.__wrapped__(way, environment)
    if minimum_version is not None:
        context.minimum_version = minimum_version
    if cert is not None:
        from .tls_certificate import load_certificate  # noqa: PLC0415 - for who has one

        load_certificate(context, cert)
    return context
