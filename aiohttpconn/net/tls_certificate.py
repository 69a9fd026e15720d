"""The certificate by which a client says who it is, and its key: from files or from memory (RFC 8446 section 4.4.2)."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

from ..errors import TLSError

PEM: TypeAlias = str | bytes | os.PathLike[str]
"""A path; or what would be in the file: bytes, or text that begins with ``-----BEGIN``."""
Password: TypeAlias = str | bytes | Callable[[], str | bytes]
ClientCertificate: TypeAlias = PEM | tuple[PEM, PEM | None] | tuple[PEM, PEM | None, Password | None]
"""The certificate (with its chain after it) and its key together, or (certificate, key), or (certificate, key,
password of the key). A key that is None is with the certificate."""


def load_certificate(context: ssl.SSLContext, given: ClientCertificate) -> None:
    """Have `context` show a certificate to the servers that ask for one.

    A password that is a function is called only for a key that is encrypted. Raises `TLSError` that says which of the
    files is wrong and how, TypeError for what is none.
    """
    certificate, key, password = _parts(given)
    certificate_pem, which = _read(certificate, "the client certificate")
    key_pem, key_which = (certificate_pem, which) if key is None else _read(key, "the client certificate's key")
    if b"-----BEGIN CERTIFICATE-----" not in certificate_pem and b"-----BEGIN TRUSTED CERT" not in certificate_pem:
        raise TLSError(f"{which} holds no certificate in PEM{_as_der(certificate_pem)}", reason="no certificate")
    if b"PRIVATE KEY-----" not in key_pem:
        raise TLSError(f"{key_which} holds no private key in PEM{_as_der(key_pem)}", reason="no key")
    # Else OpenSSL would ask for the password on the terminal, and wait.
    encrypted = any(mark in key_pem for mark in (b"-----BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"))
    secret: str | bytes | None = None
    if encrypted:
        secret = password() if callable(password) else password
        if secret is None:
            how = "give its password as cert=(certificate, key, password)"
            raise TLSError(f"{key_which} is encrypted: {how}", reason="no password")
    with ExitStack() as stack:
        certfile = stack.enter_context(_file(certificate, certificate_pem))
        keyfile = certfile if key is None else stack.enter_context(_file(key, key_pem))
        try:
            context.load_cert_chain(certfile, keyfile, secret)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: a password that is too long
            reason = getattr(error, "reason", None)
            if reason == "KEY_VALUES_MISMATCH":
                text = f"{key_which} holds the key of another certificate than {which}"
            elif not _is_certificate(certificate_pem):
                text = f"{which} holds a certificate that cannot be read"
            elif encrypted:
                text = f"{key_which} cannot be decrypted: the password is wrong, or the file is damaged"
            else:
                text = f"{key_which} holds a key that cannot be used, or the certificate of {which} cannot"
            raise TLSError(text, reason=reason or str(error)) from error


def _parts(given: ClientCertificate) -> tuple[PEM, PEM | None, Password | None]:
    certificate: object
    key: object = None
    password: object = None
    if isinstance(given, (tuple, list)) and 2 <= len(given) <= 3:
        certificate, key, password = (*given, None)[:3]
    else:
        certificate = given
    good = isinstance(certificate, (str, bytes, os.PathLike)) and (
        key is None or isinstance(key, (str, bytes, os.PathLike))
    )
    if not good or not (password is None or isinstance(password, (str, bytes)) or callable(password)):
        # What was given is not shown: it may hold the key or its password.
        raise TypeError(
            "cert must be the path of a PEM file, its content, (certificate, key) or (certificate, key, password), "
            f"not {type(given).__name__}"
        )
    return certificate, key, password  # type: ignore[return-value]


def _in_memory(pem: PEM) -> bool:
    return isinstance(pem, bytes) or (isinstance(pem, str) and pem.lstrip().startswith("-----BEGIN"))


def _read(pem: PEM, what: str) -> tuple[bytes, str]:
    """What is in it, and what to call it."""
    if isinstance(pem, bytes):
        return pem, f"{what} given in memory"
    if isinstance(pem, str) and _in_memory(pem):
        return pem.encode(), f"{what} given in memory"
    path = os.fspath(pem)
    try:
        with open(path, "rb") as file:
            return file.read(), f"{what} {path!r}"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise TLSError(f"{what} cannot be read from {path!r}: {why}", reason="cannot be read") from error


def _as_der(data: bytes) -> str:
    return ": it looks like DER or PKCS #12, which are to be converted first" if data.startswith(b"\x30") else ""


def _is_certificate(pem: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        return False
    return True


@contextmanager
def _file(pem: PEM, content: bytes) -> Iterator[str]:
    """A path that OpenSSL can read `content` from: it takes keys from files only."""
    if not _in_memory(pem):
        assert not isinstance(pem, bytes)
        yield os.fspath(pem)
        return
    if sys.platform == "linux" and hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("certificate")  # nothing of it comes to a disk
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    import tempfile  # noqa: PLC0415 - elsewhere than on Linux

    descriptor, path = tempfile.mkstemp(suffix=".pem")  # readable by this user only
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)
