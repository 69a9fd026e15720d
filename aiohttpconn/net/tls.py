"""The contexts of TLS: whom a client trusts, and who it says that it is."""

from __future__ import annotations

import functools
import os
import re
import ssl
import sys
from typing import TYPE_CHECKING, TypeAlias

from ..errors import TLSError
from .tls_transport import TLSTransport
from .tls_trust import add_authorities, platform_context

if TYPE_CHECKING:
    from .tls_certificate import ClientCertificate

__all__ = ["TLS_VARIABLES", "TLSTransport", "ssl_context"]

TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""What the environment may say of TLS: which CAs are trusted instead of the system's, where session keys are logged."""

_HASHED = r"[0-9a-f]{8}\.[0-9]+"
_NO_HASHES = "it holds none under the hash of its name (`openssl rehash` makes these links)"
_Settings: TypeAlias = tuple[str | None, ...]
_Stamp: TypeAlias = tuple[int, int, int] | None


@functools.lru_cache(maxsize=16)
def _context(verify: bool | str, environment: _Settings | None, stamps: tuple[_Stamp, ...]) -> ssl.SSLContext:
    """`environment` has the values of `TLS_VARIABLES`; None if they are to be passed over. `stamps` are those of the CA
    files and folders, so that one that was replaced is read anew."""
    if verify is True and not (environment and any(environment[:2])) and (native := platform_context()) is not None:
        native.set_alpn_protocols(["http/1.1"])
        _log_keys(native, environment)
        return native
    # ssl.create_default_context() by hand: that opens SSLKEYLOGFILE whether the environment is to be trusted or not.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_authorities(context, None if verify is True else verify, environment)
    _log_keys(context, environment)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _log_keys(context: ssl.SSLContext, environment: _Settings | None) -> None:
    """Have the keys of sessions written to SSLKEYLOGFILE, if there is one."""
    keys = None if environment is None else environment[2]
    if keys and not sys.flags.ignore_environment:
        try:
            context.keylog_filename = keys
        except (OSError, ssl.SSLError) as error:
            raise TLSError(
                f"SSLKEYLOGFILE names a file that cannot be written, {keys!r}: {error.strerror or error}: "
                "correct or unset it, or pass trust_env=False"
            ) from error


def _load_authorities(context: ssl.SSLContext, path: str | None, environment: _Settings | None) -> None:
    """Trust the CAs of a file or folder; None for the system's, or what the environment has in their place."""
    cafile = capath = None
    if path is not None:
        source = repr(path)
        cafile, capath = (None, path) if os.path.isdir(path) else (path, None)
    elif environment is None:
        source = "the system's default paths"
        paths = ssl.get_default_verify_paths()
        cafile = paths.openssl_cafile if os.path.isfile(paths.openssl_cafile) else None
        capath = paths.openssl_capath if os.path.isdir(paths.openssl_capath) else None
    else:
        source = "SSL_CERT_FILE, SSL_CERT_DIR or the system's default paths"
        if environment[0] and not os.path.isfile(environment[0]):
            raise TLSError(f"SSL_CERT_FILE names no file: {environment[0]!r}")  # OpenSSL would trust nobody, in silence
    try:
        if cafile or capath:
            context.load_verify_locations(cafile, capath)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise TLSError(f"no CA certificates could be loaded from {source}: {error}") from error
    if path is not None:
        if capath is not None and not _has_authorities(capath):
            raise TLSError(f"no CA certificates could be loaded from the folder {path!r}: {_NO_HASHES}")
    elif not (environment and any(environment[:2])):
        add_authorities(context)
    elif not context.cert_store_stats()["x509"]:
        # Of a file without certificates OpenSSL says nothing, and of a folder neither: it would trust nobody.
        file, folders = environment[:2]
        if file and not _holds_certificate(file):
            raise TLSError(f"SSL_CERT_FILE names a file that holds no certificate in PEM: {file!r}")
        if not file and folders and not any(map(_has_authorities, folders.split(os.pathsep))):
            raise TLSError(f"SSL_CERT_DIR names no folder of CA certificates: {folders!r}: {_NO_HASHES}")


def _holds_certificate(path: str) -> bool:
    with open(path, "rb") as file:
        return b"CERTIFICATE-----" in file.read()


def _has_authorities(folder: str) -> bool:
    """Whether OpenSSL would find any certificate there: it looks for the hash of a name."""
    try:
        return any(re.fullmatch(_HASHED, name) for name in os.listdir(folder))
    except OSError:
        return False


def _stamp(path: str) -> _Stamp:
    """What changes when a file is replaced, or a folder's entries are; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


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

    Built once per way and shared: building one costs 15 ms; with a certificate or a version it is the caller's alone. A
    file of CAs that was replaced is read anew, and so is a folder to which files were added, or from which they were
    removed. Raises `TLSError` when CAs or certificates cannot be loaded, and when SSLKEYLOGFILE cannot be written,
    TypeError for more to be put into a context of one's own.
    """
    if isinstance(verify, ssl.SSLContext):
        if verify.protocol is ssl.PROTOCOL_TLS_SERVER:
            raise TypeError(f"verify: {verify!r} is a server's; a client's is made by ssl.create_default_context()")
        if cert is not None or minimum_version is not None:
            what = "minimum_version" if cert is None else "cert"
            how = "minimum_version = …" if cert is None else "load_cert_chain(…)"
            raise TypeError(f"{what} is not put into a context that is given as verify=: do it by context.{how}")
        return verify
    if not isinstance(verify, (bool, str, bytes, os.PathLike)):
        raise TypeError(
            "verify must be True, False, the path of a file or folder of CA certificates, or an ssl.SSLContext, "
            f"not {verify!r}"
        )
    if not isinstance(verify, bool) and not os.fspath(verify):
        raise ValueError("verify is an empty path: pass True for the system's CAs, False for no verification")
    environment = tuple([os.environ.get(name) for name in TLS_VARIABLES]) if trust_env else None
    way = verify if isinstance(verify, bool) else os.fsdecode(verify)
    sources = () if environment is None or not verify else environment[:2]
    if isinstance(way, str):
        if "-----BEGIN" in way:
            raise ValueError("verify is a path: of a text, ssl.create_default_context(cadata=text) makes a context")
        sources = (way,)
    stamps = tuple([_stamp(source) for source in sources if source])
    if cert is None and minimum_version is None:
        return _context(way, environment, stamps)
    context = _context.__wrapped__(way, environment, stamps)
    if minimum_version is not None:
        context.minimum_version = minimum_version
    if cert is not None:
        from .tls_certificate import load_certificate  # noqa: PLC0415 - for who has one

        load_certificate(context, cert)
    return context
