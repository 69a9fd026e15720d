"""Digest authentication: the published vectors, and a server that checks what it gets."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import pickle
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BodyNotReplayable, Client, DigestAuth, Hedge, Limits, Request, Retry
from aiohttpconn.client.challenges import parse_challenges
from aiohttpconn.client.digest import DigestSession, answerable, response_hash, secret_hash
from aiohttpconn.url import parse
from tests import corpus
from tests.auditing import audit_quiet, settle
from tests.bodies import CountedBody
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.raw import Connection, Received

CORPUS = corpus.load("digest_auth.json")


def names(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


# --- vectors ----------------------------------------------------------------------------------------------------------


def in_parameters(authorization: str, encoding: str) -> dict[str, str]:
    """The parameters of an Authorization value, and their text in the charset that was agreed on."""
    ((scheme, parameters, _),) = parse_challenges([authorization])
    assert scheme == "digest"
    return {name: value.encode("latin-1").decode(encoding) for name, value in parameters.items()}


@pytest.mark.corpus
@pytest.mark.parametrize("vector", names(CORPUS["vectors"]))
def test_vectors(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    challenge = answerable([vector["challenge"]])
    assert challenge is not None
    challenge.qop = vector["qop"]  # some vectors take the second choice of a challenge
    user, password = (vector[name].encode(vector["encoding"]) for name in ("username", "password"))
    cnonce = vector["cnonce"] or ""
    secret = secret_hash(challenge, user, password, vector["cnonce_prime"] or cnonce)
    body = challenge.digest(b64decode(vector["body_b64"] or ""))
    known = {"nonce": challenge.nonce, "nc": vector["nc"] or "", "cnonce": cnonce}
    assert secret == vector["ha1"]
    made = response_hash(challenge, secret, vector["method"], vector["uri"], body=body, **known)
    assert made == vector["response"]
    if vector["rspauth"] is not None:
        answer = body
        if "'ok'" in (vector["note"] or ""):
            answer = challenge.digest(b"ok")
        elif challenge.qop == "auth-int":
            answer = challenge.digest(b"")
        mutual = {response_hash(challenge, secret, "", vector["uri"], body=text, **known) for text in (answer, body)}
        assert vector["rspauth"] in mutual

    # The whole field value.
    cnonces = iter([vector["cnonce_prime"] or cnonce])
    monkeypatch.setattr("aiohttpconn.client.digest.new_cnonce", lambda: next(cnonces))
    session = DigestSession(challenge, vector["username"], vector["password"], vector["encoding"])
    session.cnonce = cnonce
    session.count = int(vector["nc"] or "1", 16) - 1
    value = session.authorization(vector["method"], vector["uri"], body)
    expected = {name: given["value"] for name, given in vector["authorization"].items()}
    assert in_parameters(value, vector["encoding"]) == expected
    for name, given in vector["authorization"].items():
        assert (f'{name}="' in value) is given["quoted"]


@pytest.mark.corpus
@pytest.mark.parametrize("case", names(CORPUS["challenges"]))
def test_which_challenge_is_answered(case: dict[str, Any]) -> None:
    challenge = answerable(case["challenges"])
    if case["picks"] is None:
        assert challenge is None
        return
    assert challenge is not None
    picked = parse_challenges([case["challenges"][case["picks"]]])[-1].parameters
    assert challenge.qop == case["qop"]
    assert challenge.nonce == case.get("nonce", picked["nonce"])
    assert challenge.realm == case.get("realm", picked["realm"])
    assert challenge.stale == (picked.get("stale", "").lower() == "true")


@pytest.mark.parametrize("user", ["a\r\nX: y", "\x00", 'q"uo\\te'])
def test_a_user_name_never_breaks_the_field(user: str) -> None:
    challenge = answerable(['Digest realm="r", nonce="n", qop="auth", charset=UTF-8'])
    assert challenge is not None
    value = DigestSession(challenge, user, "p", "utf-8").authorization("GET", "/")
    assert value.isprintable()
    plain = answerable(['Digest realm="r", nonce="n", qop="auth"'])
    assert plain is not None
    if not user.isprintable():
        with pytest.raises(ValueError, match="control character"):
            DigestSession(plain, user, "p", "utf-8").authorization("GET", "/")


def test_text_that_does_not_fit_is_refused_at_once_and_not_shown() -> None:
    with pytest.raises(ValueError, match=r"password .* latin-1") as caught:
        DigestAuth("user", "s3cret€", encoding="latin-1")
    assert "€" not in str(caught.value)


# --- a server that checks ---------------------------------------------------------------------------------------------


class DigestServer(OriginServer):
    """Everything below ``/`` wants a digest; what it answers then is the body it got, or "in"."""

    def __init__(self, **challenge: str) -> None:
        super().__init__()
        self.parameters = {"realm": "test realm", "qop": "auth", "algorithm": "MD5"} | challenge
        self.user, self.password = "user", "pass"
        self.numbers = itertools.count(1)
        self.nonce = f"nonce{next(self.numbers)}"
        self.used: dict[str, set[int]] = {}
        self.uses = 1 << 30
        """How often a nonce may be used; then it is stale."""
        self.next_nonces = False
        self.closes = False
        self.challenge_body = b"who are you?"
        self.fallback = self.guard

    def challenge(self, stale: bool = False) -> Reply:
        parameters = self.parameters | {"nonce": self.nonce} | ({"stale": "true"} if stale else {})
        value = "Digest " + ", ".join(f'{name}="{text}"' for name, text in parameters.items() if text)
        return Reply(self.challenge_body, status=401, fields=[("WWW-Authenticate", value)], close=self.closes)

    async def _answer(self, request: Received, conn: Connection) -> Reply | None:
        return self.guard(request)

    def guard(self, request: Received) -> Reply:
        given = request.get("Authorization")
        if given is None or not given.startswith("Digest "):
            return self.challenge()
        parameters = parse_challenges([given])[0].parameters
        nonce = parameters["nonce"]
        if nonce != self.nonce:
            return self.challenge(stale=True)
        if parameters["response"] != self.expected(request, parameters):
            return self.challenge()
        if self.parameters["qop"]:
            realm = self.parameters["realm"]
            used = self.used.setdefault(nonce if realm == "test realm" else f"{realm}'s {nonce}", set())
            count = int(parameters["nc"], 16)
            assert count not in used, "a nonce count was used twice"
            used.add(count)
            if len(used) > self.uses:
                self.renew()
                return self.challenge(stale=True)
        fields = []
        if self.next_nonces:
            self.renew()
            fields.append(("Authentication-Info", f'nextnonce="{self.nonce}"'))
        if request.path.startswith("/moved"):
            return Reply(status=307, fields=[*fields, ("Location", request.target.partition("?")[2])])
        return Reply(request.body or b"in", fields=fields, close=self.closes)

    def renew(self) -> None:
        self.nonce = f"nonce{next(self.numbers)}"

    def expected(self, request: Received, parameters: dict[str, str]) -> str:
        """Written from RFC 7616 section 3.4 anew, not with what is tested."""
        algorithm = self.parameters["algorithm"].lower()
        kind = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}[algorithm.removesuffix("-sess")]

        def h(text: str) -> str:
            return hashlib.new(kind, text.encode("latin-1")).hexdigest()

        assert parameters["uri"] == request.target
        a1 = h(f"{self.user}:{self.parameters['realm']}:{self.password}")
        if algorithm.endswith("-sess"):
            a1 = h(f"{a1}:{parameters['nonce']}:{parameters['cnonce']}")
        a2 = f"{request.method}:{request.target}"
        qop = parameters.get("qop")
        if qop is None:
            return h(f"{a1}:{parameters['nonce']}:{h(a2)}")
        if qop == "auth-int":
            a2 += ":" + h(request.body.decode("latin-1"))
        return h(f"{a1}:{parameters['nonce']}:{parameters['nc']}:{parameters['cnonce']}:{qop}:{h(a2)}")

    def statuses(self) -> list[bool]:
        """Of each request, whether it was signed."""
        return [request.get("Authorization") is not None for request in self.requests]


@pytest.fixture
async def server() -> AsyncIterator[DigestServer]:
    async with DigestServer() as server:
        yield server


@pytest.fixture
def auth() -> DigestAuth:
    return DigestAuth("user", "pass")


@pytest.mark.parametrize("qop", ["auth", "auth-int", "auth-int, auth", ""])
@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"])
async def test_the_next_request_is_signed_at_once(algorithm: str, qop: str, auth: DigestAuth, client: Client) -> None:
    async with DigestServer(algorithm=algorithm, qop=qop) as server:
        first = await client.get(f"{server.url}/a?b=c%20d", auth=auth)
        assert (first.status, first.text, [r.status for r in first.history]) == (200, "in", [401])
        assert (await client.post(f"{server.url}/x", content=b"body", auth=auth)).text == "body"
        assert (await client.get(f"{server.url}/c", auth=auth)).text == "in"
        assert server.statuses() == [False, True, True, True]
        if qop:
            assert server.used == {"nonce1": {1, 2, 3}}
        assert len({request.connection for request in server.requests}) == 1


@pytest.mark.parametrize("big", [False, True])
async def test_across_a_close(big: bool, server: DigestServer, auth: DigestAuth, client: Client) -> None:
    server.closes = not big
    server.challenge_body = b"x" * (200_000 if big else 10)
    for _ in range(2):
        assert (await client.put(server.url, content=b"body", auth=auth)).text == "body"
    assert server.statuses() == [False, True, True]


async def test_head_and_options(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    assert (await client.head(server.url, auth=auth)).status == 200
    assert (await client.options(f"{server.url}/x", auth=auth)).status == 200
    assert server.statuses() == [False, True, True]


@pytest.mark.parametrize("password", ["wrong", ""])
async def test_a_second_refusal_is_final(password: str, server: DigestServer, client: Client) -> None:
    auth = DigestAuth("user", password)
    for count in (1, 2):
        response = await client.get(server.url, auth=auth)
        assert (response.status, response.text) == (401, "who are you?")
        assert server.statuses() == [False, True] * count


async def test_a_challenge_that_cannot_be_answered_is_the_response(auth: DigestAuth, client: Client) -> None:
    async with DigestServer(algorithm="SHA-384") as server:
        assert (await client.get(server.url, auth=auth)).status == 401
        assert server.statuses() == [False]


async def test_a_stale_nonce_is_renewed(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    server.uses = 2
    for _ in range(4):
        assert (await client.get(server.url, auth=auth)).status == 200
    assert server.statuses() == [False, True, True, True, True, True]
    assert list(server.used) == ["nonce1", "nonce2"]


async def test_a_server_that_always_says_stale_is_left(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    server.uses = 0
    assert (await client.get(server.url, auth=auth)).status == 401
    assert 3 <= len(server.requests) <= 6


async def test_a_server_that_forgot_its_nonce_is_answered_anew(
    server: DigestServer, auth: DigestAuth, client: Client
) -> None:
    await client.get(server.url, auth=auth)
    server.renew()
    assert (await client.get(server.url, auth=auth)).status == 200
    server.password = "changed"
    assert (await client.get(server.url, auth=auth)).status == 401


async def test_the_next_nonce_of_an_answer_is_used(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    server.next_nonces = True
    for _ in range(4):
        assert (await client.get(server.url, auth=auth)).status == 200
    assert server.statuses() == [False, True, True, True, True]
    assert [list(used) for used in server.used.values()] == [[1]] * 4


async def test_concurrent_requests_never_share_a_count(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    responses = await asyncio.gather(*[client.get(f"{server.url}/{n}", auth=auth) for n in range(30)])
    responses += await asyncio.gather(*[client.get(f"{server.url}/{n}", auth=auth) for n in range(30)])
    assert {response.status for response in responses} == {200}
    assert server.used == {"nonce1": set(range(1, 61))}
    assert server.statuses().count(False) <= 30


async def test_other_realms_and_domains(auth: DigestAuth, client: Client) -> None:
    async with DigestServer(domain="/private /also?x http://elsewhere.example/ ftp://x") as server:
        for path, unsigned in [("/private/a", 1), ("/private/b", 0), ("/also?xy", 0), ("/public", 1), ("/public", 1)]:
            before = server.statuses().count(False)
            assert (await client.get(server.url + path, auth=auth)).status == 200
            assert server.statuses().count(False) - before == unsigned, path
        # The realm and its nonce are the same all the while, and so is the count.
        assert server.used == {"nonce1": {1, 2, 3, 4, 5}}
        server.parameters |= {"realm": "other", "domain": "/other"}
        assert (await client.get(f"{server.url}/other", auth=auth)).status == 200
        server.parameters |= {"realm": "test realm"}
        count = len(server.requests)
        assert (await client.get(f"{server.url}/private/c", auth=auth)).status == 200
        assert len(server.requests) == count + 1


async def test_each_origin_has_its_own(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    async with DigestServer() as other:
        for _ in range(2):
            for origin in (server, other):
                assert (await client.get(origin.url, auth=auth)).status == 200
        assert server.statuses() == other.statuses() == [False, True, True]


async def test_what_is_remembered_is_bounded(auth: DigestAuth) -> None:
    for number in range(600):
        challenge = answerable([f'Digest realm="r{number}", nonce="n"'])
        assert challenge is not None
        auth._adopted(challenge, parse(f"http://h{number}.example/"))
        auth._adopted(challenge, parse("http://same.example/"))
    assert len(auth._sessions) <= 256
    assert max(map(len, auth._sessions.values())) <= 8
    assert pickle.loads(pickle.dumps(auth))._sessions == {}


async def test_redirects_within_the_origin_are_signed_at_once(
    server: DigestServer, auth: DigestAuth, client: Client
) -> None:
    response = await client.post(f"{server.url}/moved?/there", content=b"body", auth=auth)
    assert (response.text, str(response.url)) == ("body", f"{server.url}/there")
    assert server.statuses() == [False, True, True]
    assert server.used == {"nonce1": {1, 2}}


async def test_elsewhere_a_challenge_is_not_answered(server: DigestServer, auth: DigestAuth, client: Client) -> None:
    async with OriginServer() as start:
        response = await client.get(f"{start.url}/redirect/302?{server.url}/", auth=auth)
        assert response.status == 401
        assert server.statuses() == [False]


# --- bodies -----------------------------------------------------------------------------------------------------------

BODY = bytes(range(256)) * 400


async def pieces_of(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 10_000):
        yield body[at : at + 10_000]


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
async def test_a_body_that_can_be_read_once(qop: str, auth: DigestAuth, client: Client) -> None:
    async with DigestServer(qop=qop) as server:
        with pytest.raises(BodyNotReplayable, match="digest") as caught:
            await client.post(server.url, content=pieces_of(BODY), auth=auth)
        assert isinstance(caught.value.request, Request)
        assert server.statuses() == [False]
        # Now the challenge is known.
        assert (await client.post(server.url, content=pieces_of(BODY), auth=auth)).content == BODY
        assert server.statuses() == [False, True]


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_a_file_is_rewound_to_where_it_stood(
    where: str, qop: str, tmp_path: Any, auth: DigestAuth, client: Client
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"skipped" + BODY)
    async with DigestServer(qop=qop) as server:
        for _ in range(2):
            with io.BytesIO(path.read_bytes()) if where == "memory" else open(path, "rb") as file:
                file.seek(7)
                assert (await client.put(server.url, content=file, auth=auth)).content == BODY
        assert server.statuses() == [False, True, True]
        assert {request.get("Content-Length") for request in server.requests} == {str(len(BODY))}


class Tape:
    """A body that goes on where it stands, until it is rewound."""

    def __init__(self) -> None:
        self.left = [b"one", b"two"]

    def rewind(self) -> None:
        self.left = [b"one", b"two"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.left:
            yield self.left.pop(0)


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
async def test_a_body_is_rewound_before_it_is_hashed_and_sent(qop: str, auth: DigestAuth, client: Client) -> None:
    async with DigestServer(qop=qop) as server:
        for _ in range(2):
            request = client.build_request("POST", server.url, content=b"onetwo").replace(body=Tape())
            assert (await client.send(request, auth=auth)).content == b"onetwo"
        assert server.statuses() == [False, True, True]


# --- cancelled at every await -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("closes", [False, True])
async def test_cancelled_at_every_await(closes: bool, qop: str) -> None:
    async with DigestServer(qop=qop) as server, Client(trust_env=False, limits=Limits(max_connections=1)) as client:
        server.closes = closes
        pool = client.pool
        assert pool is not None
        server.uses = 1

        async def fetch() -> None:
            server.renew()
            auth = DigestAuth("user", "pass")
            for _ in range(2):
                response = await client.post(f"{server.url}/moved?/x", content=b"body", auth=auth)
                assert response.text == "body"

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)

        assert await cancel_everywhere(fetch, check) > 0
        await fetch()


async def test_cancelled_while_a_body_is_hashed() -> None:
    pieces = CountedBody(b"x" * 1000, times=3)
    async with DigestServer(qop="auth-int") as server, Client(trust_env=False) as client:
        pool = client.pool
        assert pool is not None
        auth = DigestAuth("user", "pass")
        await client.get(server.url, auth=auth)

        async def post() -> None:
            assert (await client.post(server.url, content=pieces(), auth=auth)).content == b"x" * 3000

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)
            assert pieces.running == 0, "the body's iterator was not ended"

        assert await cancel_everywhere(post, check) > 0


# --- sent more than once ----------------------------------------------------------------------------------------------


class Unsure(DigestServer):
    """Answers 503 to every other request that it lets in, or late."""

    late = 0.0

    async def _answer(self, request: Received, conn: Connection) -> Reply | None:
        reply = self.guard(request)
        if reply.status == 401:
            return reply
        if self.late:
            late, self.late = self.late, 0.0
            await asyncio.sleep(late)
        elif len(self.used.get(self.nonce, ())) % 2:
            return Reply(b"", status=503)
        return reply


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
async def test_each_attempt_has_a_nonce_count_of_its_own(qop: str) -> None:
    retries = Retry(attempts=4, backoff=0.001, budget=None)
    async with Unsure(qop=qop) as server, Client(trust_env=False, retries=retries) as client:
        auth = DigestAuth("user", "pass")
        for number, content in enumerate((b"body", [b"bo", b"dy"]), 1):
            response = await client.put(server.url, content=content, auth=auth)
            assert (response.status, response.content) == (200, b"body")
            assert len(response.attempts) == 1
            assert len(server.used[server.nonce]) == 2 * number


async def test_both_attempts_of_a_hedge_have_nonce_counts_of_their_own() -> None:
    async with Unsure() as server, Client(trust_env=False) as client:
        auth = DigestAuth("user", "pass")
        server.late = 0.3
        response = await client.get(server.url, auth=auth, hedge=Hedge(0.05, budget=None))
        assert response.hedged is not None
        assert len(server.used[server.nonce]) == 2


async def test_a_challenge_that_cannot_be_answered_is_the_answer(client: Client) -> None:
    async with DigestServer(opaque="a\x7fb") as server:
        response = await client.get(server.url, auth=DigestAuth("user", "pass"))
        assert response.status == 401
