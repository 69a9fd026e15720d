"""`TLSInfo`: what was agreed on in a handshake, and with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .tls_pins import pin_of

if TYPE_CHECKING:
    import ssl


class TLSInfo(NamedTuple):
    """The TLS session that a connection has with its server.

    - `version`: ``"TLSv1.3"``. `cipher`: OpenSSL's name of the cipher suite. `alpn`: ``"http/1.1"``, None if the server
      chose no protocol. `resumed`: whether the handshake went on with an earlier session.
    - `server_hostname`: the name that was verified, and sent by SNI unless it is an address; None where there is none.
    - `peer_certificate`: the server's certificate in DER.
    - `certificate`: the same as `ssl.SSLSocket.getpeercert()` has it; empty where nothing was verified.
    """

    version: str
    cipher: str
    alpn: str | None
    resumed: bool
    server_hostname: str | None
    peer_certificate: bytes | None
    certificate: dict[str, Any]

    @property
    def fingerprint(self) -> str | None:
        """The pin of the server's public key, as `TLSOptions.assert_fingerprint` takes it."""
        return None if self.peer_certificate is None else pin_of(self.peer_certificate)

    @classmethod
    def of(cls, session: ssl.SSLObject) -> TLSInfo:
        """What OpenSSL knows of a session whose handshake is over: 20 µs, most of it for the certificate."""
        cipher = session.cipher()
        certificate: Any = session.getpeercert()
        return cls(
            version=session.version() or "",
            cipher=cipher[0] if cipher is not None else "",
            alpn=session.selected_alpn_protocol(),
            resumed=bool(session.session_reused),
            server_hostname=session.server_hostname,
            peer_certificate=session.getpeercert(True),
            certificate=certificate or {},
        )
