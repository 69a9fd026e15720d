"""Proxies that want to know who asks: basic and digest, for tunnels and for forwarded requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    BasicAuth,
    BodyNotReplayable,
    Client,
    ConnectTimeout,
    DigestAuth,
    Hooks,
    Proxy,
    ProxyError,
    ProxyPool,
    ReadTimeout,
    RemoteDisconnected,
    Timeout,
)
from aiohttpconn.client.challenges import parse_parameters
from tests.auditing import audit_quiet
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, pattern
from tests.servers.raw import Close, Connection, Hold, RawServer, Reset, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from tests.servers.nginx import Nginx
    from tests.servers.squid import Proxy as Program

StartRaw = Any
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
FAREWELLS = ["Connection: close\r\n", "Proxy-Connection: Close\r\n", ""]
"""What a proxy says that closes after its challenge: so, as older ones do, nothing."""


def challenge(nonce: str, *, stale: bool = False, fields: str = "", body: bytes = b"who?") -> bytes:
    more = ", stale=true" if stale else ""
    head = (
        "HTTP/1.1 407 Proxy Authentication Required\r\n"
        f'Proxy-Authenticate: Digest realm="r", nonce="{nonce}", qop="auth", algorithm=SHA-256{more}\r\n'
        f"Content-Length: {len(body)}\r\n{fields}\r\n"
    )
    return head.encode() + body


def said(request: Any) -> dict[str, str]:
    value = request.get("Proxy-Authorization")
    return {} if value is None else parse_parameters(value.removeprefix("Digest "))


def client_of(proxy: Any, context: ssl.SSLContext, **options: Any) -> Client:
    return Client(proxy=proxy, verify=context, trust_env=False, timeout=10, **options)


# --- squid and proxy.py -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["userinfo", "pair", "BasicAuth"])
async def test_basic_with_real_proxies(
    kind: str, squid_auth: Program, proxypy_auth: Program, nginx: Nginx, client_ctx: ssl.SSLContext
) -> None:
    for program in (squid_auth, proxypy_auth):
        who = (program.user or "", program.password or "")
        proxy = {
            "userinfo": Proxy(program.url),
            "pair": Proxy(program.bare_url, auth=who),
            "BasicAuth": Proxy(program.bare_url, auth=BasicAuth(*who)),
        }[kind]
        async with client_of(proxy, client_ctx) as client:
            for origin in (nginx.http, nginx.https):
                assert (await client.get(f"{origin}/1k")).content == pattern(1024)
        async with client_of(Proxy(program.bare_url, auth=(who[0], "wrong")), client_ctx) as client:
            assert (await client.get(nginx.http)).status == 407
            with pytest.raises(ProxyError) as caught:
                await client.get(nginx.https)
            assert caught.value.status == 407
            assert f"the proxy 127.0.0.1:{program.port} refused CONNECT localhost:{nginx.https_port}: 407" in str(
                caught.value
            )


async def test_squid_without_credentials(squid: Program, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    async with client_of(squid.url, client_ctx) as client:
        for origin in (nginx.http, nginx.https):
            assert (await client.get(f"{origin}/1k")).content == pattern(1024)


async def test_digest_with_squid(squid_digest: Program, nginx: Nginx, client_ctx: ssl.SSLContext) -> None:
    proxy = Proxy(squid_digest.bare_url, auth=DigestAuth(squid_digest.user or "", squid_digest.password or ""))
    async with client_of(proxy, client_ctx) as client:
        for _ in range(2):
            for origin in (nginx.http, nginx.https):
                response = await client.get(f"{origin}/1k")
                assert response.content == pattern(1024)
                assert not response.history  # the proxy's challenge is between the proxy and the pool
                ledger = client.pool._ledger  # type: ignore[union-attr]
                ledger.remove(next(iter(ledger.idle)))
        body = pattern(200_000)
        assert (await client.post(f"{nginx.http}/1k", content=body)).status in (200, 405)
    wrong = Proxy(squid_digest.bare_url, auth=DigestAuth(squid_digest.user or "", "wrong"))
    async with client_of(wrong, client_ctx) as client:
        with pytest.raises(ProxyError, match="407"):
            await client.get(nginx.https)
        assert (await client.get(nginx.http)).status == 407
        audit_quiet(client.pool)  # type: ignore[arg-type]


# --- tunnels ----------------------------------------------------------------------------------------------------------


class DigestProxy(RawServer):
    """Challenges each CONNECT that is not signed with its nonce, and then passes bytes on to `target`."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self.target = target
        self.farewell: str | None = None
        """What it says of closing after a challenge, None if it does not."""
        self.nonce = "n1"

    async def play(self, conn: Connection) -> None:
        import asyncio

        from tests.servers.proxy import _pump

        while True:
            try:
                request = await conn.read_head()
            except asyncio.IncompleteReadError:
                return
            given = said(request).get("nonce")
            if given == self.nonce:
                break
            await conn.send(challenge(self.nonce, stale=given is not None, fields=self.farewell or ""))
            if self.farewell is not None:
                return
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(conn.reader, writer))
                pumps.create_task(_pump(reader, conn.writer))
        finally:
            writer.transport.abort()


@pytest.fixture
async def digest_proxy(https_server: OriginServer) -> AsyncIterator[DigestProxy]:
    async with DigestProxy(https_server.port) as server:
        yield server


@pytest.mark.parametrize("farewell", [None, *FAREWELLS])
async def test_a_challenge_is_answered_and_remembered(
    farewell: str | None, digest_proxy: DigestProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    digest_proxy.farewell = farewell
    proxy = Proxy(digest_proxy.url, auth=DigestAuth("ada", "x"), headers={"X-Session": "1"})
    async with client_of(proxy, client_ctx) as client:
        assert (await client.get(f"{https_server.url}/close")).text == "goodbye"
        # Asked once more on the same connection, or on a new one where that ended.
        assert [asked.connection for asked in digest_proxy.requests] == [0, int(farewell is not None)]
        assert (await client.get(f"{https_server.url}/close")).text == "goodbye"
        digest_proxy.nonce = "n2"
        assert (await client.get(f"{https_server.url}/close")).text == "goodbye"
    asked = [said(request) for request in digest_proxy.requests]
    assert [(one.get("nonce"), one.get("nc")) for one in asked] == [
        (None, None),
        ("n1", "00000001"),
        ("n1", "00000002"),
        ("n1", "00000003"),
        ("n2", "00000001"),
    ]
    assert all(one["uri"] == https_server.authority for one in asked[1:])
    assert all(request.get_all("X-Session") == ["1"] for request in digest_proxy.requests)
    assert all(request.get("Proxy-Authorization") is None for request in https_server.requests)


@pytest.mark.parametrize("end", [Close(), Reset()])
async def test_a_connection_that_ends_when_the_answer_comes(
    end: Any, raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    cut = [ReadRequest(), Send(challenge("n")), ReadRequest(), end]
    refusing = [ReadRequest(), Send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), Hold()]
    server = await raw_server(cut, refusing)
    pool = ProxyPool([Proxy(server.url, auth=DigestAuth("ada", "x"))])
    async with client_of(pool, client_ctx) as client:
        with pytest.raises(ProxyError) as caught:
            await client.get("https://one.example/")
        assert caught.value.status == 403
    assert [asked.connection for asked in server.requests] == [0, 0, 1]
    assert said(server.requests[1])["nc"] == "00000001"
    assert server.requests[1].head == server.requests[2].head
    assert pool.states()[0].failures == 0


async def test_an_answer_that_always_ends_the_connection_is_given_up(
    raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([ReadRequest(), Send(challenge("n")), ReadRequest()], *[[ReadRequest()]] * 5)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        with pytest.raises(ProxyError, match="closed the connection"):
            await client.get("https://one.example/")
        with pytest.raises(ProxyError, match="closed the connection"):  # signed at once: nothing was asked
            await client.get("https://one.example/")
    assert [asked.connection for asked in server.requests] == [0, 0, 1, 2]


async def test_a_target_that_takes_long_after_a_challenge_is_not_the_proxys_fault(
    raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    for url in ("https://one.example/", "http://one.example/"):
        server = await raw_server([ReadRequest(), Send(challenge("n", fields=FAREWELLS[1]))], [ReadRequest(), Hold()])
        pool = ProxyPool([Proxy(server.url, auth=DigestAuth("ada", "x"))])
        async with Client(proxy=pool, verify=client_ctx, timeout=Timeout(connect=0.3, read=0.3)) as client:
            with pytest.raises((ConnectTimeout, ReadTimeout)):
                await client.get(url)
        assert pool.states()[0].failures == 0


async def test_credentials_that_are_wrong_are_sent_once(raw_server: StartRaw, client_ctx: ssl.SSLContext) -> None:
    script = [ReadRequest(), Send(challenge("a")), ReadRequest(), Send(challenge("b", body=b"no")), Hold()]
    server = await raw_server(script)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        with pytest.raises(ProxyError, match="407") as caught:
            await client.get("https://one.example/")
        assert caught.value.body == b"no"
        assert client.stats().open == 0
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="r"\r\nContent-Length: 0\r\n\r\n',
        b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
        challenge("n").replace(b'"auth"', b'"auth-int"'),
        challenge("n").replace(b"SHA-256", b"ROT13"),
    ],
)
async def test_what_digest_cannot_answer(answer: bytes, raw_server: StartRaw, client_ctx: ssl.SSLContext) -> None:
    server = await raw_server([ReadRequest(), Send(answer), Hold()], [ReadRequest(), Send(answer), Hold()])
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        with pytest.raises(ProxyError) as caught:
            await client.get("https://one.example/")
        assert caught.value.status == 407
        assert (await client.get("http://one.example/")).status == 407
    assert len(server.requests) == 2


async def test_a_proxy_that_always_closes_ends_it(raw_server: StartRaw, client_ctx: ssl.SSLContext) -> None:
    """Each challenge says that the last nonce was stale: it is not asked for ever."""
    closing = [ReadRequest(), Send(challenge("n", stale=True, fields="Connection: close\r\n")), Close()]
    server = await raw_server(*[closing] * 10)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        with pytest.raises(ProxyError, match="407"):
            await client.get("https://one.example/")
    assert len(server.requests) == 2
    keeping = [step for _ in range(10) for step in (ReadRequest(), Send(challenge("n", stale=True)))]
    server = await raw_server(keeping)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        with pytest.raises(ProxyError, match="407"):
            await client.get("https://one.example/")
    assert len(server.requests) == 5


async def test_every_await_of_an_answer_under_cancellation(
    digest_proxy: DigestProxy, https_server: OriginServer, client_ctx: ssl.SSLContext
) -> None:
    async with client_of(None, client_ctx) as client:

        async def scenario() -> None:
            proxy = Proxy(digest_proxy.url, auth=DigestAuth("ada", "x"))
            assert (await client.get(f"{https_server.url}/close", proxy=proxy)).text == "goodbye"

        await cancel_everywhere(scenario, lambda: audit_quiet(client.pool))  # type: ignore[arg-type]


# --- forwarded requests -----------------------------------------------------------------------------------------------


async def test_exclusive_use_is_signed_once_the_challenge_is_known(
    raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    script = [ReadRequest(), Send(challenge("n")), *[ReadRequest(), Send(OK)] * 2, Hold()]
    server = await raw_server(script)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        assert (await client.get("http://one.example/")).text == "ok"
        async with client.pool.connection("http://one.example") as conn:  # type: ignore[union-attr]
            await conn.request("GET", "/exclusive")
            assert await (await conn.getresponse()).read() == b"ok"
    last = said(server.requests[2])
    assert (last["uri"], last["nc"]) == ("http://one.example/exclusive", "00000002")


@pytest.mark.parametrize("farewell", [None, *FAREWELLS[:2]])
async def test_a_forwarded_request_is_sent_again(
    farewell: str | None, raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    first = [ReadRequest(), Send(challenge("n", fields=farewell or ""))]
    answers = [ReadRequest(), Send(OK), ReadRequest(), Send(OK), Hold()]
    scripts = [first, answers] if farewell is not None else [[*first, *answers]]
    server = await raw_server(*scripts)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        response = await client.post("http://one.example/a?b", content=b"body")
        assert (response.text, response.history) == ("ok", ())
        assert (await client.get("http://one.example/")).text == "ok"
        audit_quiet(client.pool)  # type: ignore[arg-type]
    one, two, three = server.requests
    assert [asked.body for asked in server.requests] == [b"body", b"body", b""]
    assert said(one) == {}
    assert (said(two)["uri"], said(two)["nc"]) == ("http://one.example/a?b", "00000001")
    assert (said(three)["uri"], said(three)["nc"]) == ("http://one.example/", "00000002")
    assert re.fullmatch("[0-9a-f]{64}", said(two)["response"])


@pytest.mark.parametrize("last", [[], [ReadRequest()], [ReadRequest(), Reset()]])
@pytest.mark.parametrize("body", [b"", b"body", b"x" * 300_000])
async def test_an_answer_that_finds_the_connection_closed_goes_out_on_another(
    last: list[Any], body: bytes, raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    server = await raw_server([ReadRequest(), Send(challenge("n")), *last], [ReadRequest(), Send(OK), Hold()])
    pool = ProxyPool([Proxy(server.url, auth=DigestAuth("ada", "x"))])
    async with client_of(pool, client_ctx) as client:
        assert (await client.put("http://one.example/", content=body)).text == "ok"
        audit_quiet(client.pool)  # type: ignore[arg-type]
    assert [asked.connection for asked in server.requests] == [0, *[0 for _ in last[:1]], 1]
    assert {asked.body for asked in server.requests} == {body}
    assert {said(asked)["nc"] for asked in server.requests[1:]} == {"00000001"}
    assert pool.states()[0].failures == 0


async def test_what_must_not_be_sent_twice_is_not(raw_server: StartRaw, client_ctx: ssl.SSLContext) -> None:
    """The proxy had the request with the answer: nobody knows whether it has passed it on."""
    server = await raw_server([ReadRequest(), Send(challenge("n")), ReadRequest()], [ReadRequest(), Send(OK)])
    pool = ProxyPool([Proxy(server.url, auth=DigestAuth("ada", "x"))])
    async with client_of(pool, client_ctx) as client:
        with pytest.raises(RemoteDisconnected):
            await client.post("http://one.example/", content=b"body")
        audit_quiet(client.pool)  # type: ignore[arg-type]
    assert [asked.body for asked in server.requests] == [b"body"] * 2
    assert pool.states()[0].failures == 0


@pytest.mark.parametrize("used", [False, True])
async def test_what_always_ends_the_connection_is_given_up(
    used: bool, raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    before = [ReadRequest(), Send(OK)] if used else []
    server = await raw_server([*before, ReadRequest(), Send(challenge("n")), ReadRequest()], *[[ReadRequest()]] * 5)
    pool = ProxyPool([Proxy(server.url, auth=DigestAuth("ada", "x"))])
    async with client_of(pool, client_ctx) as client:
        if used:
            await client.get("http://one.example/")
        with pytest.raises(RemoteDisconnected):
            await client.get("http://one.example/")
        audit_quiet(client.pool)  # type: ignore[arg-type]
    assert [asked.connection for asked in server.requests][int(used) :] == [0, 0, 1]
    # Each challenge says that the last nonce was stale.
    asking = [ReadRequest(), Send(challenge("n", stale=True)), ReadRequest()]
    server = await raw_server(*[asking] * 10)
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        assert (await client.get("http://one.example/")).status == 407
    assert len(server.requests) == 9


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("end", [*FAREWELLS[:2], "cut"])
async def test_hooks_are_told_of_the_connection_that_the_answer_goes_out_on(
    end: str, used: bool, raw_server: StartRaw, client_ctx: ssl.SSLContext
) -> None:
    asked = [Send(challenge("n")), ReadRequest()] if end == "cut" else [Send(challenge("n", fields=end))]
    before = [ReadRequest(), Send(OK)] if used else []
    server = await raw_server([*before, ReadRequest(), *asked], [ReadRequest(), Send(EARLY + OK), Hold()])
    told: list[Any] = []
    hooks = Hooks(
        on_connect=lambda request, opening: told.append(opening),
        on_reuse=lambda request: told.append("reused"),
        on_interim=lambda request, head: told.append(head.status),
    )
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx, hooks=hooks) as client:
        if used:
            assert (await client.get("http://one.example/")).text == "ok"
            told[:] = []
        response = await client.get("http://one.example/")
        assert response.text == "ok"
        first, opening, interim = told
        assert (first == "reused") is used
        assert opening.why == "the proxy closed the one on which it asked who one is"
        assert interim == 103
        assert response.timings.reused is False
        assert response.timings.connect == opening.connect
        assert opening.why in response.explain()
        audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_every_await_of_an_answer_to_a_proxy_that_closes_under_cancellation(client_ctx: ssl.SSLContext) -> None:
    class Asking(RawServer):
        async def play(self, conn: Connection) -> None:
            request = await conn.read_request()
            if said(request):
                await conn.send(EARLY + OK)
            else:
                await conn.send(challenge("n"))
                await conn.read_request()

    async with Asking() as server, client_of(None, client_ctx) as client:

        async def scenario() -> None:
            proxy = Proxy(server.url, auth=DigestAuth("ada", "x"))
            assert (await client.get("http://one.example/", proxy=proxy)).text == "ok"

        await cancel_everywhere(scenario, lambda: audit_quiet(client.pool))  # type: ignore[arg-type]


async def test_a_body_that_can_be_read_once(raw_server: StartRaw, client_ctx: ssl.SSLContext) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    server = await raw_server([ReadRequest(), Send(challenge("n")), ReadRequest(), Send(OK), Hold()])
    async with client_of(Proxy(server.url, auth=DigestAuth("ada", "x")), client_ctx) as client:
        with pytest.raises(BodyNotReplayable):
            await client.post("http://one.example/", content=body())
        assert (await client.post("http://one.example/", content=body())).text == "ok"  # signed at once
        audit_quiet(client.pool)  # type: ignore[arg-type]


async def test_proxy_and_origin_challenge_both(raw_server: StartRaw, client_ctx: ssl.SSLContext) -> None:
    """Each gets its own answer: the origin's 401 is the client's affair, the proxy's 407 the pool's."""
    asks = challenge("of-origin").replace(b"407 Proxy Authentication Required", b"401 Unauthorized")
    asks = asks.replace(b"Proxy-Authenticate", b"WWW-Authenticate")
    script = [ReadRequest(), Send(challenge("of-proxy")), ReadRequest(), Send(asks), ReadRequest(), Send(OK), Hold()]
    server = await raw_server(script)
    proxy = Proxy(server.url, auth=DigestAuth("ada", "x"))
    async with client_of(proxy, client_ctx, auth=DigestAuth("bob", "y")) as client:
        response = await client.get("http://one.example/")
        assert response.text == "ok"
        assert [hop.status for hop in response.history] == [401]
    last = server.requests[2]
    assert parse_parameters(last.get("Authorization").removeprefix("Digest "))["username"] == "bob"
    assert (said(last)["username"], said(last)["nc"]) == ("ada", "00000002")
