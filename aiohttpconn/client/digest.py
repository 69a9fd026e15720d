"""Digest authentication (RFC 7616; RFC 2617 and RFC 2069 servers included)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import BodyNotReplayable, InvalidURL
from ..headers import check_field_value
from ..upload import body_pieces
from ..url import join
from .auth import AUTHORIZATION, Auth, octets, with_authorization
from .challenges import parse_challenges, parse_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from ..messages import Request
    from ..url import URL, Origin
    from .response import Response

_HASHES = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}
_ORIGINS = 256
_SPACES = 8
"""Bounds of what is remembered: so many origins, and of each so many protection spaces, the latest used."""
_ROUNDS = 4
"""Challenges that one request answers at most: a server that always calls its nonce stale would have it go on."""
_BLOCK = 65_536
_BODIES = 64
# What a quoted-string does not hold as it is (RFC 9110 section 5.6.4), or has no charset for.
_CONTROL = re.compile(r"[\0-\x08\n-\x1f\x7f]")
_NEEDS_STAR = re.compile(r"[^ -~]")


class DigestChallenge:
    """A challenge that can be answered: its algorithm and one of its qop values are known."""

    __slots__ = (
        "algorithm",
        "charset",
        "domain",
        "hash",
        "nonce",
        "opaque",
        "qop",
        "realm",
        "session",
        "stale",
        "userhash",
    )

    def __init__(self, parameters: Mapping[str, str], algorithm: str | None, hash_name: str, qop: str | None) -> None:
        self.realm = parameters["realm"]
        self.nonce = parameters["nonce"]
        self.opaque = parameters.get("opaque")
        self.algorithm = algorithm
        """As the server spelled it; None for MD5 unsaid."""
        self.hash = hash_name
        self.session = (algorithm or "").lower().endswith("-sess")
        self.qop = qop
        """"auth", "auth-int", or None for the form of RFC 2069."""
        self.charset = "utf-8" if parameters.get("charset", "").lower() == "utf-8" else None
        self.userhash = parameters.get("userhash", "").lower() == "true"
        """Whether the user's name is to be sent as a hash."""
        self.stale = parameters.get("stale", "").lower() == "true"
        self.domain = parameters.get("domain", "")

    def digest(self, *parts: bytes) -> str:
        """H of the parts with colons between, in hex (RFC 7616 section 3.3)."""
        hashed: str = new_hash(self.hash, b":".join(parts)).hexdigest()
        return hashed


def new_hash(name: str, data: bytes = b"") -> Any:
    """A hash by hashlib's name for it."""
    return hashlib.new(name, data, usedforsecurity=False)  # MD5 is there then where a policy has it out


def answerable(values: Iterable[str]) -> DigestChallenge | None:
    """The first challenge of the WWW-Authenticate values that can be answered: the server lists them by preference (RFC
    7616 section 3.7). Of its qop values "auth" is taken before "auth-int"."""
    for challenge in parse_challenges(values):
        parameters = challenge.parameters
        if _CONTROL.search("".join(parameters.values())):
            continue  # it could not be sent back
        if challenge.scheme != "digest" or "realm" not in parameters or not parameters.get("nonce"):
            continue
        algorithm = parameters.get("algorithm")
        name = _HASHES.get((algorithm or "MD5").lower().removesuffix("-sess"))
        if name is None or name not in hashlib.algorithms_available:
            continue
        offered = [value.strip() for value in parameters.get("qop", "").lower().split(",") if value.strip()]
        qop = next((known for known in ("auth", "auth-int") if known in offered), None)
        if qop is not None or not offered:
            return DigestChallenge(parameters, algorithm, name, qop)
    return None


def secret_hash(challenge: DigestChallenge, user: bytes, password: bytes, cnonce: str) -> str:
    """H(A1) (RFC 7616 section 3.4.2); `cnonce` is the session's first."""
    secret = challenge.digest(user, _received(challenge.realm), password)
    if challenge.session:
        return challenge.digest(secret.encode(), _received(challenge.nonce), cnonce.encode())
    return secret


def response_hash(
    challenge: DigestChallenge, secret: str, method: str, uri: str, *, nonce: str, nc: str, cnonce: str, body: str = ""
) -> str:
    """The response parameter (RFC 7616 section 3.4.1); `body` is H of the body, for auth-int. With an empty `method`
    it is rspauth."""
    request = [method.encode(), uri.encode()] + ([body.encode()] if challenge.qop == "auth-int" else [])
    between = [] if challenge.qop is None else [nc.encode(), cnonce.encode(), challenge.qop.encode()]
    return challenge.digest(secret.encode(), _received(nonce), *between, challenge.digest(*request).encode())


def _received(text: str) -> bytes:
    """The octets of what a field held."""
    return text.encode("latin-1")


class DigestSession:
    """A challenge and the answers to it: counts them, and knows where they may be sent without being asked."""

    def __init__(self, challenge: DigestChallenge, user: str | bytes, password: str | bytes, encoding: str) -> None:
        self.challenge = challenge
        self.nonce = challenge.nonce
        self.count = 0
        """How often the nonce has been used."""
        # One for the whole session: some servers make H(A1) of -sess anew with each.
        self.cnonce = new_cnonce()
        encoding = challenge.charset or encoding
        name = octets(user, "user name", encoding)
        self._secret = secret_hash(challenge, name, octets(password, "password", encoding), self.cnonce)
        self._user = _user_parameter(challenge, user, name)
        self.bodies: dict[str, str] = {}
        """H of the bodies that were sent last, by nonce count: one that is sent again is not hashed again."""
        self.prefixes: tuple[str, ...] = ("",)
        """What the targets of its protection space begin with."""

    def authorization(self, method: str, uri: str, body: str = "") -> str:
        """The next Authorization value; nobody else gets the same nonce count."""
        challenge = self.challenge
        self.count += 1
        nc = f"{self.count:08x}"
        response = response_hash(
            challenge, self._secret, method, uri, nonce=self.nonce, nc=nc, cnonce=self.cnonce, body=body
        )
        parts = [
            self._user,
            f"realm={_quoted(challenge.realm)}",
            f"nonce={_quoted(self.nonce)}",
            f"uri={_quoted(uri)}",
            f'response="{response}"',
        ]
        if challenge.algorithm is not None:
            parts.append(f"algorithm={challenge.algorithm}")
        if challenge.opaque is not None:
            parts.append(f"opaque={_quoted(challenge.opaque)}")
        if challenge.qop is not None:
            parts += [f"qop={challenge.qop}", f"nc={nc}", f'cnonce="{self.cnonce}"']
        elif challenge.session:
            parts.append(f'cnonce="{self.cnonce}"')  # without it nobody could check
        if challenge.userhash:
            parts.append("userhash=true")
        return check_field_value("Authorization", "Digest " + ", ".join(parts))

    def remember(self, body: str) -> None:
        """Keep H of the body that the last nonce count went with."""
        self.bodies[f"{self.count:08x}"] = body
        if len(self.bodies) > _BODIES:
            del self.bodies[next(iter(self.bodies))]

    def learn(self, values: Iterable[str]) -> None:
        """Take the next nonce from Authentication-Info (RFC 7616 section 3.5), if it has one."""
        for value in values:
            following = parse_parameters(value).get("nextnonce")
            if following and following != self.nonce:
                self.nonce, self.count = following, 0

    def covers(self, url: URL) -> int:
        """How much of the URL's target names the protection space; -1 if it is outside."""
        return max([len(prefix) for prefix in self.prefixes if url.target.startswith(prefix)], default=-1)

    def __repr__(self) -> str:
        return f"<DigestSession {self.challenge.realm!r}, nonce used {self.count} times>"


def new_cnonce() -> str:
    """A nonce of the client's: 128 bits."""
    import secrets  # noqa: PLC0415 - 5 ms of import, for those who are challenged

    return secrets.token_hex(16)


def _user_parameter(challenge: DigestChallenge, user: str | bytes, name: bytes) -> str:
    if challenge.userhash:
        return f'username="{challenge.digest(name, _received(challenge.realm))}"'
    if challenge.charset is not None and isinstance(user, str) and _NEEDS_STAR.search(user):
        return f"username*=UTF-8''{quote(name, safe='')}"
    return f"username={_quoted(name.decode('latin-1'))}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _prefixes(challenge: DigestChallenge, url: URL) -> tuple[str, ...]:
    """The protection space as beginnings of targets on the origin that asked; RFC 7616 section 3.3 allows `domain` to
    name other servers too, which get nothing unasked here."""
    if not challenge.domain.split():
        return ("",)
    found = []
    for text in challenge.domain.split():
        try:
            named = join(url.without_userinfo(), text)
        except InvalidURL:
            continue
        if named.origin == url.origin:
            found.append(named.target)
    return tuple(found)


class DigestAuth(Auth):
    """Digest authentication (RFC 7616): MD5, SHA-256 and SHA-512-256, their -sess variants, auth and auth-int.

    The first request to a protection space goes unsigned, is refused, and is sent again with the answer to the
    challenge; the next ones are signed at once. Sending again needs a body that can be sent twice: else
    `BodyNotReplayable`. One object serves any number of clients and concurrent requests.

    - `user`, `password`: text, or bytes that are taken as they are.
    - `encoding`: of text, for servers that name no charset. ValueError for text that does not fit into it.
    """

    def __init__(self, user: str | bytes, password: str | bytes, *, encoding: str = "utf-8") -> None:
        octets(user, "user name", encoding)
        octets(password, "password", encoding)
        self._user, self._password, self._encoding = user, password, encoding
        self._sessions: dict[Origin, list[DigestSession]] = {}
        self._proxies: dict[Origin, DigestSession] = {}

    async def async_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        session = self._session_for(request.url)
        signed = request
        if session is not None:
            request, body = await _body_hash(request, session.challenge)
            signed = self._signed(request, session, body)
        for answered in range(_ROUNDS + 1):
            response = yield signed
            if session is not None:
                session.learn(response.headers.getall("Authentication-Info", ()))
            if response.status != 401:
                return
            challenge = answerable(response.headers.getall("WWW-Authenticate", ()))
            if challenge is None or answered == _ROUNDS or (answered and not challenge.stale):
                self._forget(request.url.origin, session)  # it was right, and was refused: the credentials are wrong
                return
            session = self._adopted(challenge, request.url)
            self._check_replayable(request)
            if challenge.qop == "auth-int":
                request.rewind()
            request, body = await _body_hash(request, challenge)
            signed = self._signed(request, session, body)

    def sign_again(self, request: Request) -> Request:
        """The same with the next nonce count: a server takes each but once (RFC 7616 section 3.4)."""
        fields = parse_parameters(request.headers.get(AUTHORIZATION, "").partition(" ")[2])
        for session in self._sessions.get(request.url.origin, ()):
            if session.nonce == fields.get("nonce"):
                return self._signed(request, session, session.bodies.get(fields.get("nc", ""), ""))
        return request  # another nonce has come: the server will say so

    def sign_for_proxy(self, proxy: Origin, method: str, target: str) -> str | None:
        """See `ProxyAuth`."""
        session = self._proxies.get(proxy)
        return None if session is None else session.authorization(method, target)

    def answer_proxy(
        self, proxy: Origin, method: str, target: str, challenges: Iterable[str], answered: int
    ) -> str | None:
        """See `ProxyAuth`. The challenge is remembered: what comes next is signed at once."""
        challenge = answerable(challenges)
        known = self._proxies.pop(proxy, None)
        if (
            challenge is None
            or challenge.qop == "auth-int"
            or answered == _ROUNDS
            or (answered and not challenge.stale)
        ):
            return None  # it was right, and was refused: the credentials are wrong
        if known is None or known.nonce != challenge.nonce or not _alike(known.challenge, challenge):
            known = DigestSession(challenge, self._user, self._password, self._encoding)
        self._proxies[proxy] = known
        if len(self._proxies) > _ORIGINS:
            del self._proxies[next(iter(self._proxies))]
        return known.authorization(method, target)

    def _signed(self, request: Request, session: DigestSession, body: str) -> Request:
        signed = session.authorization(request.method, request.url.target, body)
        if body:
            session.remember(body)
        return with_authorization(request, signed)

    def _check_replayable(self, request: Request) -> None:
        if request.replayable:
            return
        error = BodyNotReplayable(
            "the server asks for digest authentication, so the body has to be sent again, and it can be read only "
            "once; give it as bytes or as a seekable file, or send the request anew: it will be signed at once",
            doing=f"{request.method} {request.url.shown}",
        )
        error.request = request
        raise error

    # --- what is remembered ---

    def _session_for(self, url: URL) -> DigestSession | None:
        """The session whose protection space a URL is in: the most exact one, of those the latest."""
        best, most = None, -1
        for session in self._sessions.get(url.origin, ()):
            if (covered := session.covers(url)) >= max(most, 0):
                best, most = session, covered
        return best

    def _adopted(self, challenge: DigestChallenge, url: URL) -> DigestSession:
        """The session of a challenge: a new one, in place of that realm's, unless its nonce is in use already."""
        sessions = self._sessions.pop(url.origin, [])
        self._sessions[url.origin] = sessions  # the latest origin is last
        if len(self._sessions) > _ORIGINS:
            del self._sessions[next(iter(self._sessions))]
        session = next((known for known in sessions if known.challenge.realm == challenge.realm), None)
        if session is not None:
            sessions.remove(session)
        if session is None or session.nonce != challenge.nonce or not _alike(session.challenge, challenge):
            session = DigestSession(challenge, self._user, self._password, self._encoding)
        session.prefixes = _prefixes(challenge, url)
        sessions.append(session)
        del sessions[:-_SPACES]
        return session

    def _forget(self, origin: Origin, session: DigestSession | None) -> None:
        sessions = self._sessions.get(origin, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._sessions.pop(origin, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._user, self._password, self._encoding)


def _restore(kind: type[DigestAuth], user: str | bytes, password: str | bytes, encoding: str) -> DigestAuth:
    return kind(user, password, encoding=encoding)


def _alike(one: DigestChallenge, other: DigestChallenge) -> bool:
    """Whether two challenges are answered in the same way."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("algorithm", "qop", "opaque", "charset", "userhash", "realm")
    )


async def _body_hash(request: Request, challenge: DigestChallenge) -> tuple[Request, str]:
    """H of the body for auth-int, else "", and the request to send: a body that can be read once becomes bytes."""
    if challenge.qop != "auth-int":
        return request, ""
    body = request.body
    if body is None or isinstance(body, bytes):
        return request, challenge.digest(body or b"")
    hashed = new_hash(challenge.hash)
    kept = None if request.replayable else bytearray()
    pieces = body_pieces(body, _BLOCK)
    try:
        async for piece in pieces:
            hashed.update(piece)
            if kept is not None:
                kept += piece
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
    if kept is None:
        request.rewind()
    else:
        framed = request.without_fields("Transfer-Encoding").with_fields({"Content-Length": str(len(kept))})
        request = framed.replace(body=bytes(kept))
    return request, hashed.hexdigest()
