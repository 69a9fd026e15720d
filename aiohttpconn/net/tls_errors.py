"""What a failed handshake is called: which name was asked for, what is wrong, and what can be done about it."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ..errors import TLSError
from .tls_pins import pin_text

_Certificate: TypeAlias = dict[str, Any]


class Advice(NamedTuple):
    """What can be done about a peer: how it is trusted, asked for by another name, shown a certificate."""

    trust: str
    name: str
    certificate: str
    plain: str


FOR_SERVER = Advice(
    "pass verify= {} to trust",
    "pass that as server_hostname=",
    "pass cert= one",
    "if it is one for plain HTTP, ask for http://",
)
FOR_PROXY = Advice(
    "pass Proxy(url, context=ssl.create_default_context(cafile=…)) with {} to trust, or its file as verify=",
    "give Proxy(url, context=…) one with check_hostname = False",
    "give Proxy(url, context=…) one that has it loaded",
    "if it is one for plain HTTP, give the proxy as http://",
)

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
_TOO_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION", "UNKNOWN_SSL_VERSION"})
# As texts, which `re` compiles when the first handshake fails, and keeps.
_ALERT = r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(.+)"
_TEXT = r"\[SSL[^\]]*\] ([\w ]+?)(?: \(_ssl\.c:\d+\))?"
_SHOWN_NAMES = 5

# RFC 8446 section 6.2, RFC 5246 section 7.2.2, by the names that OpenSSL gives them.
_ALERTS = {
    "HANDSHAKE_FAILURE": "it takes none of the ciphers offered, or wants a client certificate; {certificate}",
    "INSUFFICIENT_SECURITY": "it wants stronger ciphers than were offered",
    "NO_APPLICATION_PROTOCOL": "it speaks none of the protocols offered by ALPN",
    "UNRECOGNIZED_NAME": "it serves no host of that name",
    "CERTIFICATE_REQUIRED": "it wants a certificate of the client's; {certificate}",
    "UNKNOWN_CA": "it does not trust the CA of the client's certificate",
    "BAD_CERTIFICATE": "it does not accept the client's certificate, or wants one and got none; {certificate}",
    "UNSUPPORTED_CERTIFICATE": "it cannot use a client's certificate of that kind",
    "CERTIFICATE_EXPIRED": "the client's certificate has expired",
    "CERTIFICATE_REVOKED": "the client's certificate was revoked",
    "CERTIFICATE_UNKNOWN": "it does not accept the client's certificate",
    "ACCESS_DENIED": "the client's certificate is valid, and not allowed in",
    "DECRYPT_ERROR": "a signature did not verify there",
    "INTERNAL_ERROR": "something failed on its side",
    "UNEXPECTED_MESSAGE": "it did not expect that at this point",
    "ILLEGAL_PARAMETER": "it takes what it was sent for wrong",
    "DECODE_ERROR": "it could not read what it was sent",
    "PROTOCOL_VERSION": "it speaks none of the TLS versions offered",
}


def handshake_error(host: str, error: Exception, session: ssl.SSLObject, advice: Advice = FOR_SERVER) -> TLSError:
    """The `TLSError` for what OpenSSL raised in a handshake with `host`, which is its cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        failure = _refused(host, error, session, advice)
    else:
        failure = _failed(host, error, session.context, advice)
    failure.__cause__ = error
    return failure


def alert_error(
    host: str, error: ssl.SSLError, context: ssl.SSLContext, advice: Advice = FOR_SERVER
) -> TLSError | None:
    """The `TLSError` for an alert by which the server refuses the client's certificate; None if it is none.

    In TLS 1.3 the client's handshake is over by then (RFC 8446 section 4.4.2.4): it hears of it when it reads.
    """
    found = re.fullmatch(_ALERT, _word(error))
    if found is None or not ("CERTIFICATE" in found[1] or found[1] in ("UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")):
        return None
    failure = _failed(host, error, context, advice)
    failure.__cause__ = error
    return failure


def pin_error(host: str, digest: bytes | None) -> TLSError:
    """The `TLSError` for a certificate whose key, of that digest, is none of those pinned."""
    shown = "none" if digest is None else pin_text(digest)
    return TLSError(
        f"the public key of {host} is {shown}, which is not pinned (if the server has changed its key on purpose, pin "
        "the new one; else somebody is in between)",
        reason="not pinned",
    )


def _word(error: Exception) -> str:
    """OpenSSL's word for what went wrong. Python does not know all: then it is in the text, in small letters."""
    known: str | None = getattr(error, "reason", None)
    if known is not None:
        return known
    text = re.fullmatch(_TEXT, str(error))
    return str(error) if text is None else text[1].upper().replace(" ", "_")


def _failed(host: str, error: Exception, context: ssl.SSLContext, advice: Advice) -> TLSError:
    word = _word(error)
    if word in _NOT_TLS:
        return TLSError(
            f"{host} does not speak TLS on this port ({word}); {advice.plain}",
            reason=word,
        )
    if word in _TOO_OLD:
        return TLSError(
            f"the TLS handshake with {host} failed: it speaks only a version of TLS older than "
            f"{_version(context.minimum_version, 'TLSv1.2')}, the oldest allowed ({word})",
            reason=word,
        )
    found = re.fullmatch(_ALERT, word)
    if found is None:
        return TLSError(f"the TLS handshake with {host} failed: {word}", reason=word)
    said = found[1].lower().replace("_", " ")
    why = _ALERTS.get(found[1], "").format(certificate=advice.certificate)
    if found[1] == "PROTOCOL_VERSION":
        why += f", {_version(context.minimum_version, 'TLSv1.2')} to {_version(context.maximum_version, 'TLSv1.3')}"
    return TLSError(
        f"{host} refused the TLS handshake: {said}" + (f" ({why})" if why else "") + f" [{word}]", reason=said
    )


def _version(version: ssl.TLSVersion, default: str) -> str:
    name = getattr(version, "name", "")
    return name.replace("_", ".") if name.startswith("TLSv") else default


# --- certificates that are refused ------------------------------------------------------------------------------------


def _refused(host: str, error: ssl.SSLCertVerificationError, session: ssl.SSLObject, advice: Advice) -> TLSError:
    chain = _chain(session)
    certificate = chain[0] if chain else None
    reason = error.verify_message
    remark = _REMARKS.get(error.verify_code, _nothing)(certificate or {}, chain, advice)
    issuer = _name(certificate.get("issuer", ()))[:200] if certificate else ""
    remarks = "; ".join([remark for remark in (f"issued by {issuer!r}" if issuer else "", remark) if remark])
    text = f"the certificate of {host} was refused: {reason.rstrip('.')}" + (f" ({remarks})" if remarks else "")
    return TLSError(text, reason=reason, certificate=certificate)


def _chain(session: ssl.SSLObject) -> list[_Certificate]:
    """The certificates that the peer sent, its own first; empty where that cannot be known.

    What is public of `ssl` tells nothing of a certificate before it was found good (and before Python 3.13 nothing of a
    chain at all). OpenSSL before 3.0 has forgotten it by now.
    """
    try:
        sent: Any = session._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        return [certificate.get_info() for certificate in sent or ()]
    except (AttributeError, ssl.SSLError, ValueError):
        return []


def _name(name: Sequence[Sequence[tuple[str, str]]]) -> str:
    """What a distinguished name is known by."""
    parts = {key: value for group in name for key, value in group}
    if "commonName" in parts:
        return parts["commonName"]
    return ", ".join([parts[key] for key in ("organizationName", "organizationalUnitName") if key in parts])


def _names(certificate: _Certificate) -> str:
    # Whatever the peer put there: escaped, and in bounds.
    names = [repr(value[:100])[1:-1] for _, value in certificate.get("subjectAltName", ())]
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")


def _nothing(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    return ""


def _unknown_issuer(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    return (
        f"its issuer is not known here; {advice.trust.format('the CA')}. Or the server does not send its intermediate "
        "certificates: it sent " + (f"{len(chain)} in all" if chain else "too few")
    )


def _self_signed(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    return f"it is self-signed; {advice.trust.format('the certificate')}"


def _self_signed_chain(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    root = _name(chain[-1].get("subject", ())) if chain else ""
    who = f", {root!r}," if root else ""
    return f"a self-signed certificate{who} is in its chain; {advice.trust.format('the CA')}"


def _expired(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    now = time.time()
    for each in chain:
        if ssl.cert_time_to_seconds(each["notAfter"]) < now:
            whose = "it" if each is certificate else f"the one of its issuer {_name(each.get('subject', ()))!r}"
            return f"{whose} was valid until {each['notAfter']}, {_clock(now)}; renew it on the server"
    return "renew it on the server"


def _not_yet_valid(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    now = time.time()
    for each in chain:
        if ssl.cert_time_to_seconds(each["notBefore"]) > now:
            return f"it is valid from {each['notBefore']}, {_clock(now)}; look at the clocks of both"
    return "look at the clocks of both"


def _clock(now: float) -> str:
    return f"and here it is {time.strftime('%b %d %H:%M:%S %Y', time.gmtime(now))} GMT"


def _wrong_name(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    names = _names(certificate)
    which = f"it is for {names}" if names else "it names no host" if certificate else "it is for others"
    return f"{which}; ask for a name that it has, or {advice.name}"


def _weak(certificate: _Certificate, chain: list[_Certificate], advice: Advice) -> str:
    return "a key or digest in its chain is too weak for the security level of the context"


# By OpenSSL's X509_V_ERR codes.
_REMARKS = {
    2: _unknown_issuer,
    9: _not_yet_valid,
    10: _expired,
    18: _self_signed,
    19: _self_signed_chain,
    20: _unknown_issuer,
    21: _unknown_issuer,
    62: _wrong_name,
    64: _wrong_name,
    66: _weak,
    67: _weak,
    68: _weak,
}
