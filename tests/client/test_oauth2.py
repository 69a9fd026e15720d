"""OAuth 2.0 client credentials: one fetch for all who wait, renewed in time, nothing left when cancelled."""

from __future__ import annotations

import asyncio
import json
import pickle
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from aiohttpconn import Client, HTTPException, Limits, OAuth2ClientCredentials, Timeout, TotalTimeout
from aiohttpconn.client.oauth2 import TokenError
from tests.auditing import audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.exchanges import until
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.raw import Received


class TokenServer(OriginServer):
    """Issues tokens at ``/token``, and lets in at ``/`` whoever has the latest one."""

    def __init__(self) -> None:
        super().__init__({"/token": self.issue, "/": self.guard})
        self.issued = 0
        self.answer: Reply | None = None
        self.lifetime: Any = 3600
        self.gate: asyncio.Event | None = None

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def asked(self) -> list[Received]:
        """The token requests."""
        return [request for request in self.requests if request.path == "/token"]

    async def issue(self, request: Received) -> Reply:
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer
        self.issued += 1
        document = {"access_token": f"s3cret{self.issued}", "token_type": "bearer", "expires_in": self.lifetime}
        return Reply(json.dumps({name: value for name, value in document.items() if value is not None}).encode())

    def guard(self, request: Received) -> Reply:
        if request.get("Authorization") == f"Bearer s3cret{self.issued}":
            return Reply(request.body or b"in")
        return Reply(b"out", status=401, fields=[("WWW-Authenticate", 'Bearer error="invalid_token"')])


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with TokenServer() as server:
        yield server


def credentials(server: TokenServer, **options: Any) -> OAuth2ClientCredentials:
    return OAuth2ClientCredentials(server.token_url, "id", "hidden", **options)


async def test_a_token_is_fetched_once_and_used(server: TokenServer, client: Client) -> None:
    auth = credentials(server, scope=["a", "b"], parameters={"audience": "x&y"}, client=client)
    for _ in range(3):
        response = await client.get(server.url, auth=auth)
        assert (response.status, response.text, response.history) == (200, "in", ())
    (asked,) = server.asked
    assert asked.method == "POST"
    assert asked.get("Authorization") == "Basic " + b64encode(b"id:hidden").decode()
    assert asked.get("Content-Type") == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(asked.body.decode())) == {
        "grant_type": "client_credentials",
        "scope": "a b",
        "audience": "x&y",
    }


async def test_credentials_are_form_encoded_before_they_are_basic(server: TokenServer, client: Client) -> None:
    auth = OAuth2ClientCredentials(server.token_url, "a:b", "p q/ü", client=client)
    await client.get(server.url, auth=auth)
    assert server.asked[0].get("Authorization") == "Basic " + b64encode(b"a%3Ab:p+q%2F%C3%BC").decode()


async def test_credentials_in_the_body(server: TokenServer, client: Client) -> None:
    await client.get(server.url, auth=credentials(server, client=client, credentials_in="body"))
    (asked,) = server.asked
    assert asked.get("Authorization") is None
    assert dict(parse_qsl(asked.body.decode())) == {
        "grant_type": "client_credentials",
        "client_id": "id",
        "client_secret": "hidden",
    }
    with pytest.raises(ValueError, match="credentials_in"):
        credentials(server, credentials_in="url")


async def test_a_client_of_its_own_when_none_is_given(server: TokenServer) -> None:
    async with Client(trust_env=False, auth=credentials(server)) as client:
        assert (await client.get(server.url)).text == "in"
        assert (await client.get(server.url)).text == "in"
    assert len(server.asked) == 1


async def test_the_client_that_it_signs_for_may_fetch(server: TokenServer) -> None:
    auth = credentials(server)
    async with Client(trust_env=False, auth=auth) as client:
        auth._client = client
        assert (await client.get(server.url)).text == "in"


async def test_a_hundred_requests_wait_for_one_token(server: TokenServer, client: Client) -> None:
    auth = credentials(server, client=client)
    responses = await asyncio.gather(*[client.get(server.url, auth=auth) for _ in range(100)])
    assert {response.status for response in responses} == {200}
    assert len(server.asked) == 1


async def test_a_refused_token_is_replaced_once(server: TokenServer, client: Client) -> None:
    auth = credentials(server, client=client)
    await client.get(server.url, auth=auth)
    server.issued += 1  # as if somebody had revoked it
    responses = await asyncio.gather(*[client.post(server.url, content=b"b", auth=auth) for _ in range(20)])
    assert {response.text for response in responses} == {"b"}
    assert len(server.asked) == 2
    server.routes["/"] = Reply(b"never", status=401)
    count = len(server.requests)
    assert (await client.get(server.url, auth=auth)).status == 401
    assert len(server.requests) == count + 3  # signed, a token, signed anew


async def test_a_body_that_can_be_read_once_is_not_sent_again(server: TokenServer, client: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    auth = credentials(server, client=client)
    await client.get(server.url, auth=auth)
    server.issued += 1
    assert (await client.post(server.url, content=pieces(), auth=auth)).status == 401
    assert (await client.post(server.url, content=pieces(), auth=auth)).text == "once"


@pytest.mark.parametrize(("lifetime", "fetches"), [(3600, 1), (None, 1), ("3600", 1), (0, 3)])
async def test_a_token_is_replaced_when_it_expires(
    lifetime: Any, fetches: int, server: TokenServer, client: Client
) -> None:
    server.lifetime = lifetime
    auth = credentials(server, client=client)
    for _ in range(3):
        assert (await client.get(server.url, auth=auth)).status == 200
    assert len(server.asked) == fetches


async def test_it_is_replaced_before_it_expires(
    server: TokenServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("aiohttpconn.client.oauth2.time.monotonic", lambda: now)
    for lifetime, good_until in ((3600, 3570), (40, 20)):
        server.lifetime = lifetime
        auth = credentials(server, client=client)
        before, start = len(server.asked), now
        for passed, fetches in ((0, 1), (good_until - 1, 1), (good_until, 2)):
            now = start + passed
            await client.get(server.url, auth=auth)
            assert len(server.asked) - before == fetches


async def test_it_stays_with_the_origin(server: TokenServer, client: Client, http_server: OriginServer) -> None:
    server.routes["/away"] = Reply(status=302, fields=[("Location", f"{http_server.url}/request")])
    await client.get(f"{server.url}/away", auth=credentials(server, client=client))
    assert server.requests[-1].get("Authorization") == "Bearer s3cret1"
    assert http_server.requests[-1].get("Authorization") is None


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(b'{"error": "invalid_client", "error_description": "who?"}', status=401), "401, invalid_client, who?"),
        (Reply(b'{"error": "invalid_scope"}'), "200, invalid_scope"),
        (Reply(b"<html>s3cret", status=502), "502, and no JSON object"),
        (Reply(b'"s3cret"'), "no JSON object"),
        (Reply(b"[" * 100_000), "no JSON object"),
        (Reply(b'{"access_token": "s3cret", "token_type": "mac"}'), "type"),
        (Reply(b'{"access_token": "s3c ret"}'), "no usable access_token"),
        (Reply(b'{"access_token": ["s3cret"]}'), "no usable access_token"),
        (Reply(b'{"expires_in": 3600}'), "no usable access_token"),
        (Reply(b'{"access_token": "s3cret", "expires_in": [1]}'), "no usable access_token"),
        (Reply(b'{"access_token": "s3cret", "expires_in": 1' + b"0" * 400 + b"}"), "no usable access_token"),
        (Reply(b'{"access_token": "s3cret"}', status=307, fields=[("Location", "/elsewhere")]), "307"),
        (Reply(b" " * 300_000), "no access token"),
    ],
)
async def test_no_token(reply: Reply, text: str, server: TokenServer, client: Client) -> None:
    server.answer = reply
    with pytest.raises(TokenError) as caught:
        await client.get(server.url, auth=credentials(server, client=client))
    error = caught.value
    assert text in str(error)
    assert server.token_url in str(error)
    assert not {"s3cret", "hidden"} & {word for word in ("s3cret", "hidden") if word in f"{error} {error!r}"}
    assert error.request is not None
    assert error.request.url == server.url + "/"
    assert [request.path for request in server.requests] == ["/token"]
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.status, copy.error) == (str(error), error.status, error.error)


async def test_a_token_endpoint_that_is_not_there(client: Client, http_server: OriginServer) -> None:
    auth = OAuth2ClientCredentials("http://127.0.0.1:1/token", "id", "hidden", client=client)
    results = await asyncio.gather(*[client.get(http_server.url, auth=auth) for _ in range(3)], return_exceptions=True)
    assert [type(result) for result in results] == [TokenError] * 3
    assert len({id(result) for result in results}) == 3  # each its own
    assert isinstance(results[0].__cause__, HTTPException)  # type: ignore[union-attr]
    assert http_server.requests == []


async def test_after_a_failure_the_next_one_asks_anew(server: TokenServer, client: Client) -> None:
    auth = credentials(server, client=client)
    server.answer = Reply(b"", status=503)
    with pytest.raises(TokenError):
        await client.get(server.url, auth=auth)
    server.answer = None
    assert (await client.get(server.url, auth=auth)).status == 200


async def test_waiting_counts_as_total_time(server: TokenServer) -> None:
    server.gate = asyncio.Event()
    async with Client(trust_env=False) as client:
        with pytest.raises(TotalTimeout):
            await client.get(server.url, auth=credentials(server, client=client), timeout=Timeout(total=0.05))
        await settle()
        assert client.pool is not None
        audit_quiet(client.pool)
        server.gate.set()


# --- cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_up", [[0], [1, 2], [0, 1, 2, 3]])
async def test_who_gives_up_leaves_the_others_their_token(
    given_up: list[int], server: TokenServer, client: Client
) -> None:
    server.gate = asyncio.Event()
    auth = credentials(server, client=client)
    waiting = [asyncio.create_task(client.get(server.url, auth=auth)) for _ in range(5)]
    await until(lambda: server.asked)
    for number in given_up:
        waiting[number].cancel()
    await settle()
    server.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [n in given_up for n in range(5)]
    assert len(server.asked) == 1


async def test_when_all_give_up_the_fetch_ends_and_the_next_begins_another(server: TokenServer) -> None:
    server.gate = asyncio.Event()
    async with Client(trust_env=False) as client:
        auth = credentials(server, client=client)
        waiting = [asyncio.create_task(client.get(server.url, auth=auth)) for _ in range(5)]
        await until(lambda: server.asked)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        await settle()
        assert client.pool is not None
        audit_quiet(client.pool)
        server.gate.set()
        assert (await client.get(server.url, auth=auth)).text == "in"
        assert len(server.asked) == 2


@pytest.mark.parametrize("own", [True, False], ids=["own-client", "given-client"])
async def test_cancelled_at_every_await(own: bool, server: TokenServer) -> None:
    async with Client(trust_env=False, limits=Limits(max_connections=2)) as client:
        pool = client.pool
        assert pool is not None
        before = asyncio.all_tasks()

        async def fetch() -> None:
            auth = credentials(server, client=None if own else client)
            assert (await client.get(server.url, auth=auth)).text == "in"
            server.issued += 1
            assert (await client.get(server.url, auth=auth)).text == "in"

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)
            running = [task for task in asyncio.all_tasks() - before if "oauth2" in repr(task.get_coro())]
            assert running == []

        assert await cancel_everywhere(fetch, check) > 0
        await fetch()


def test_a_copy_in_another_process_begins_anew() -> None:
    auth = OAuth2ClientCredentials("http://localhost/token", "id", "hidden", scope="a", parameters={"b": "c"}, leeway=5)
    copy = pickle.loads(pickle.dumps(auth))
    assert vars(copy) == vars(auth)
    assert "hidden" not in repr(auth)
