"""The log: what is said, when nobody listens, and what must never be in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BadStatusLine, Client, ConnectError, Hedge, IncompleteRead, Retry
from aiohttpconn.client.hooks import Hooks
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import free_port
from tests.servers.raw import Hold, Send
from tests.servers.raw import Request as ReadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

StartRaw = Any  # Callable[..., Awaitable[RawServer]]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="aiohttpconn"):
        yield caplog


def lines(log: pytest.LogCaptureFixture, logger: str = "aiohttpconn") -> list[str]:
    """The first lines of what was logged."""
    return [record.getMessage().partition("\n")[0] for record in log.records if record.name.startswith(logger)]


async def test_a_redirected_call(http_server: OriginServer, client: Client, log: pytest.LogCaptureFixture) -> None:
    await client.get(f"{http_server.url}/redirect/302?/bytes/3")
    url = http_server.url
    sent, opened, answered, redirected, sent_again, reused, answered_again = lines(log)
    assert sent == f"sending GET {url}/redirect/302?/bytes/3"
    assert opened.startswith(f"opened a connection to {url}: there was none to it (")
    assert answered.startswith(f"GET {url}/redirect/302?/bytes/3 answered 302 Found after ")
    assert redirected == f"GET {url}/redirect/302?/bytes/3 is redirected (302) to GET {url}/bytes/3"
    assert sent_again == f"sending GET {url}/bytes/3"
    assert reused == f"using a connection to {url} again"
    assert answered_again.startswith(f"GET {url}/bytes/3 answered 200 OK after ")
    assert "\n    Content-Length: 3" in log.text
    assert "\n    User-Agent: aiohttpconn/" in log.text
    assert {record.levelno for record in log.records if record.name.startswith("aiohttpconn")} == {logging.DEBUG}


async def test_retries_interim_responses_and_errors(raw_server: StartRaw, log: pytest.LogCaptureFixture) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    server = await raw_server([ReadRequest(), Send(interim + busy)], [ReadRequest()], [ReadRequest(), Send(busy)])
    async with Client(trust_env=False, timeout=10, retries=Retry(3, backoff=0.001, jitter=0)) as client:
        await client.get(f"{server.url}/?token=abc")
    said = lines(log, "aiohttpconn.client")
    shown = f"GET {server.url}/?token=[hidden]"
    assert f"{shown}: interim response 103 Early Hints" in said
    assert any(line.startswith(f"{shown} came to status 503; again in 0.") for line in said)
    assert any(line.startswith(f"{shown} failed: RemoteDisconnected: the peer closed") for line in said)
    assert any(line.startswith(f"{shown} came to RemoteDisconnected: the peer closed") for line in said)
    assert "abc" not in log.text


async def test_no_connection(client: Client, log: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(ConnectError):
        await client.get(url)
    assert lines(log)[1].startswith(f"GET {url} failed: ConnectError: ")


async def test_control_characters_are_escaped(raw_server: StartRaw, log: pytest.LogCaptureFixture) -> None:
    """What a peer sends can neither begin a line of the log nor speak to the terminal that shows it."""
    head = b"HTTP/1.1 200 O\x1bK\r\nX-A: \x1b[2Ja\x07b\x85c\x7fd\x9b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    server = await raw_server(
        [ReadRequest(), Send(b"HTTP/1.1 103 \x1b[1m\r\n\r\n" + head)], [ReadRequest(), Send(b"\x1b[31m\x85\r\n\r\n")]
    )
    async with Client(trust_env=False, timeout=10) as client:
        await client.get(server.url)
        with pytest.raises(BadStatusLine):
            await client.get(server.url)

        def fail(request: Any) -> None:
            raise LookupError("one\nINFO another")

        async with Client(trust_env=False, hooks=Hooks(on_request=fail)) as failing:
            with pytest.raises(LookupError):
                await failing.get(server.url)
    text = "".join([record.getMessage() for record in log.records])
    assert not [character for character in text if not character.isprintable() and character != "\n"]
    assert "answered 200 O\\x1bK after" in text
    assert r"X-A: \x1b[2Ja\x07b\x85c\x7fd\x9b" in text
    assert r"interim response 103 \x1b[1m" in text
    assert r"failed: LookupError: one\nINFO another" in text


async def test_a_body_that_breaks_off(raw_server: StartRaw, log: pytest.LogCaptureFixture) -> None:
    server = await raw_server([ReadRequest(), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")])
    async with Client(trust_env=False, timeout=10) as client:
        with pytest.raises(IncompleteRead):
            await client.get(server.url)
    answered, failed = lines(log, "aiohttpconn.client")[2:]
    assert answered.startswith(f"GET {server.url}/ answered 200 OK after ")
    assert failed.startswith(f"GET {server.url}/ failed: IncompleteRead: ")


async def test_the_other_attempt_of_a_hedge(raw_server: StartRaw, log: pytest.LogCaptureFixture) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = await raw_server([ReadRequest(), Hold()], [ReadRequest(), Send(answer), Hold()])
    async with Client(trust_env=False, timeout=10) as client:
        await client.get(server.url, hedge=Hedge(0.03, budget=None))
    assert not [line for line in lines(log) if "failed" in line]
    off = f"GET {server.url}/ was called off: the other attempt was answered first"
    assert lines(log).count(off) == 1


async def test_secrets_are_masked(http_server: OriginServer, client: Client, log: pytest.LogCaptureFixture) -> None:
    fields = [("Set-Cookie", "sid=cookie-s3cret; Path=/"), ("Location", "/?sig=location-s3cret")]
    http_server.routes["/x"] = Reply(status=302, fields=fields)
    headers = {"X-Api-Key": "key-s3cret", "Proxy-Authorization": "Basic proxy-s3cret"}
    site = http_server.url.replace("http://", "http://joe:userinfo-s3cret@")
    url = f"{site}/x?a=b&X-Amz-Signature=query-s3cret"
    await client.get(url, headers=headers, cookies={"own": "own-s3cret"}, auth=("joe", "password-s3cret"))
    assert "s3cret" not in log.text
    assert "am9l" not in log.text  # base64 of joe:...
    assert "Authorization: Basic [hidden]" in log.text
    assert "sid=[hidden]; Path=/" in log.text
    assert "/x?a=b&X-Amz-Signature=[hidden]" in log.text


async def test_the_level_may_be_changed_at_any_time(
    http_server: OriginServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(http_server.url)
    assert lines(caplog) == []
    with caplog.at_level(logging.DEBUG, logger="aiohttpconn"):
        await client.get(http_server.url)
    assert len(lines(caplog)) == 3
    caplog.clear()
    await client.get(http_server.url)
    assert lines(caplog) == []


async def test_connections_have_a_logger_of_their_own(
    http_server: OriginServer, client: Client, log: pytest.LogCaptureFixture
) -> None:
    connections = logging.getLogger("aiohttpconn.client.connection")
    connections.setLevel(logging.INFO)
    try:
        await client.get(http_server.url)
    finally:
        connections.setLevel(logging.NOTSET)
    assert len(lines(log)) == 2
    await client.get(http_server.url)
    assert lines(log, "aiohttpconn.client.connection") == [f"using a connection to {http_server.url} again"]


async def test_the_log_shows_what_a_hook_made_of_the_request(
    http_server: OriginServer, log: pytest.LogCaptureFixture
) -> None:
    hooks = Hooks(on_request=lambda request: request.with_fields({"X-Id": "1"}))
    async with Client(trust_env=False, hooks=hooks) as client:
        await client.get(http_server.url)
    assert "\n    X-Id: 1" in log.text
