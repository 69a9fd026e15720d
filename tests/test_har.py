"""HAR 1.2: what is recorded has the format's structure, holds no secrets, and comes back as it was."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import BodyTooLarge, Client, ConnectError, Hooks, IncompleteRead, Request, Retry, Timeout, TotalTimeout
from aiohttpconn.har import Entry, Exchange, HarRecorder, document_of, entry_of, exchange_of, load, save
from aiohttpconn.testing import MockRequest, MockResponse, MockTransport
from tests.servers.origin import DOCUMENT, OriginServer, Reply, pattern
from tests.servers.program import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

# --- the format's structure: its required members and their types -----------------------------------------------------

NAMED = [{"name": str, "value": str}]
COOKIE = {"name": str, "value": str}
TIMINGS = dict.fromkeys(("blocked", "dns", "connect", "ssl", "send", "wait", "receive"), (int, float))
STRUCTURE = {
    "log": {
        "version": str,
        "creator": {"name": str, "version": str},
        "entries": [
            {
                "startedDateTime": str,
                "time": (int, float),
                "request": {
                    "method": str,
                    "url": str,
                    "httpVersion": str,
                    "cookies": [COOKIE],
                    "headers": NAMED,
                    "queryString": NAMED,
                    "headersSize": int,
                    "bodySize": int,
                },
                "response": {
                    "status": int,
                    "statusText": str,
                    "httpVersion": str,
                    "cookies": [COOKIE],
                    "headers": NAMED,
                    "content": {"size": int, "mimeType": str},
                    "redirectURL": str,
                    "headersSize": int,
                    "bodySize": int,
                },
                "cache": dict,
                "timings": TIMINGS,
            }
        ],
    }
}
OPTIONAL = {"postData", "text", "encoding", "compression", "comment", "params"}
OPTIONAL |= {"_error", "_encoding", "_trailers", "_coded", "_partial"}
COOKIE_OPTIONAL = {"path", "domain", "expires", "httpOnly", "secure"}


def check(value: Any, expected: Any, where: str = "") -> None:
    """Assert that a value has the structure, and no member that the format does not have."""
    if isinstance(expected, dict):
        assert isinstance(value, dict), where
        missing = expected.keys() - value.keys()
        assert not missing, f"{where} lacks {missing}"
        more = value.keys() - expected.keys() - (COOKIE_OPTIONAL if expected is COOKIE else OPTIONAL)
        assert not more, f"{where} has {more}"
        for name, inner in expected.items():
            check(value[name], inner, f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            check(item, expected[0], f"{where}[{number}]")
    else:
        assert isinstance(value, expected), f"{where} is {value!r}"


def valid(document: Any) -> list[Entry]:
    """The entries of a document, once it has been checked, as JSON makes it."""
    document = json.loads(json.dumps(document))
    check(document, STRUCTURE)
    assert document["log"]["version"] == "1.2"
    for entry in document["log"]["entries"]:
        assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo is not None
        timings = entry["timings"]
        assert all(value >= 0 or value == -1 for value in timings.values())
        assert min(timings["send"], timings["wait"], timings["receive"]) >= 0
        spent = sum(value for name, value in timings.items() if value != -1 and name != "ssl")
        assert entry["time"] == pytest.approx(spent, abs=0.01)
        if "postData" in entry["request"]:
            check(entry["request"]["postData"], {"mimeType": str, "params": list, "text": str})
    entries: list[Entry] = document["log"]["entries"]
    return entries


def recording(recorder: HarRecorder, **options: Any) -> Client:
    return Client(trust_env=False, timeout=10, hooks=recorder, **options)


# --- what is recorded -------------------------------------------------------------------------------------------------


async def test_an_exchange(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    before = datetime.now(UTC)
    async with recording(recorder) as client:
        await client.get(f"{http_server.url}/?page=2&q=a+b&flag", headers={"X-Id": "1"})
    (entry,) = valid(recorder.as_dict())
    started = datetime.fromisoformat(entry["startedDateTime"])
    assert before - timedelta(seconds=1) <= started <= datetime.now(UTC)
    request, response = entry["request"], entry["response"]
    assert (request["method"], request["url"]) == ("GET", f"{http_server.url}/?page=2&q=a+b&flag")
    assert request["queryString"] == [
        {"name": "page", "value": "2"},
        {"name": "q", "value": "a b"},
        {"name": "flag", "value": ""},
    ]
    sent = [(field["name"], field["value"]) for field in request["headers"]]
    assert sorted(sent) == sorted(http_server.requests[0].fields)
    assert request["bodySize"] == 0
    assert "postData" not in request
    assert (response["status"], response["statusText"], response["httpVersion"]) == (200, "OK", "HTTP/1.1")
    assert response["content"] == {
        "size": 5,
        "mimeType": "text/plain; charset=utf-8",
        "compression": 0,
        "text": "hello",
    }
    assert response["bodySize"] == 5
    assert response["redirectURL"] == ""


async def test_a_coded_body_is_recorded_decoded(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    async with recording(recorder) as client:
        await client.get(f"{http_server.url}/gzip")
        async with client.stream("GET", f"{http_server.url}/gzip") as response:
            async for _ in response.iter_bytes(7):
                pass
    for entry in valid(recorder.as_dict()):
        content = entry["response"]["content"]
        assert json.loads(content["text"]) == DOCUMENT
        assert content["size"] == len(json.dumps(DOCUMENT))
        assert entry["response"]["bodySize"] == content["size"] - content["compression"] < content["size"]


async def test_bytes_that_are_no_text_are_in_base64(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    http_server.routes["/latin"] = Reply(b"caf\xe9", fields=[("Content-Type", "text/plain; charset=latin-1")])
    async with recording(recorder) as client:
        await client.get(f"{http_server.url}/chunked/3000")
        await client.get(f"{http_server.url}/latin")
        await client.post(f"{http_server.url}/echo", content=b"\x00\xff")
    chunked, latin, posted = valid(recorder.as_dict())
    assert chunked["response"]["content"]["encoding"] == "base64"
    assert base64.b64decode(chunked["response"]["content"]["text"]) == pattern(3000)
    assert [exchange_of(entry).body for entry in (latin, posted)] == [b"caf\xe9", b"\x00\xff"]
    assert exchange_of(posted).request_body == b"\x00\xff"


async def test_request_bodies(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    async with recording(recorder) as client:
        await client.post(f"{http_server.url}/echo", json={"a": "grüße"})
        await client.post(f"{http_server.url}/echo", content=iter([b"a", b"b"]))
    known, streamed = valid(recorder.as_dict())
    data = known["request"]["postData"]
    assert (data["mimeType"], json.loads(data["text"])) == ("application/json", {"a": "grüße"})
    assert known["request"]["bodySize"] == len(http_server.requests[0].body)
    assert streamed["request"]["postData"]["comment"] == "the body was a stream, which is not recorded"
    assert streamed["request"]["bodySize"] == -1
    assert exchange_of(streamed).request_body is None


async def test_redirects_and_cookies(http_server: OriginServer) -> None:
    line = "sid=1; Path=/; Domain=localhost; Expires=Wed, 21 Oct 2037 07:28:00 GMT; HttpOnly; Secure"
    fields = [("Location", "/request?x=1"), ("Set-Cookie", "a=b"), ("Set-Cookie", line)]
    http_server.routes["/from"] = Reply(b"moved", status=302, fields=fields)
    recorder = HarRecorder(keep_secrets=True)
    async with recording(recorder) as client:
        await client.get(f"{http_server.url}/from")
    first, second = valid(recorder.as_dict())
    assert first["response"]["redirectURL"] == "/request?x=1"
    plain, full = first["response"]["cookies"]
    assert plain == {"name": "a", "value": "b", "httpOnly": False, "secure": False}
    assert full == {
        "name": "sid",
        "value": "1",
        "path": "/",
        "domain": "localhost",
        "expires": "2037-10-21T07:28:00+00:00",
        "httpOnly": True,
        "secure": True,
    }
    assert second["request"]["url"] == f"{http_server.url}/request?x=1"
    assert second["request"]["cookies"] == [{"name": "a", "value": "b"}]


async def test_steps_of_opening_a_connection(https_server: OriginServer, client_ctx: ssl.SSLContext) -> None:
    recorder = HarRecorder()
    async with recording(recorder, verify=client_ctx) as client:
        await client.get(https_server.url)
        await client.get(https_server.url)
    opened, reused = (entry["timings"] for entry in valid(recorder.as_dict()))
    assert 0 < opened["ssl"] <= opened["connect"]
    assert (reused["dns"], reused["connect"], reused["ssl"]) == (-1, -1, -1)


async def test_failures_and_retries(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    url = f"http://127.0.0.1:{free_port()}/?token=s3cret"
    async with recording(recorder, retries=Retry(attempts=2, backoff=0.001)) as client:
        with pytest.raises(ConnectError):
            await client.get(url)
    entries = valid(recorder.as_dict())
    assert len(entries) == 2
    for entry in entries:
        assert entry["response"]["status"] == 0
        assert entry["response"]["_error"].startswith("ConnectError: ")
        assert "s3cret" not in json.dumps(entry)


async def test_bodies_over_the_limit_are_counted_only(http_server: OriginServer) -> None:
    recorder = HarRecorder(max_body=1000)
    bomb = gzip.compress(bytes(900_000))
    assert len(bomb) < 1000
    http_server.routes["/bomb"] = Reply(bomb, fields=[("Content-Encoding", "gzip")])
    async with recording(recorder) as client:
        await client.get(f"{http_server.url}/bytes/1000")
        await client.get(f"{http_server.url}/bytes/1001")
        await client.get(f"{http_server.url}/bomb")
        await client.post(f"{http_server.url}/status/200", content=bytes(1001))
    fits, over, inflated, sent = valid(recorder.as_dict())
    assert exchange_of(fits).body == pattern(1000)
    assert (over["response"]["bodySize"], over["response"]["content"]["size"]) == (1001, 1001)
    assert "over the 1000 that are recorded" in over["response"]["content"]["comment"]
    assert exchange_of(over).body is exchange_of(inflated).body is None
    assert inflated["response"]["bodySize"] == len(bomb)
    assert exchange_of(sent).request_body is None


async def test_a_body_that_nobody_read(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    async with recording(recorder) as client:
        async with client.stream("GET", f"{http_server.url}/bytes/10"):
            pass
        await client.head(f"{http_server.url}/bytes/10")
    unread, none = valid(recorder.as_dict())
    assert unread["response"]["content"]["comment"] == "nobody read the body"
    assert unread["response"]["bodySize"] == -1
    assert (none["response"]["bodySize"], none["response"]["content"]["text"]) == (0, "")


async def test_a_body_that_does_not_decode(http_server: OriginServer) -> None:
    http_server.routes["/x"] = Reply(b"not gzip", fields=[("Content-Encoding", "gzip")])
    recorder = HarRecorder()
    async with recording(recorder) as client, client.stream("GET", f"{http_server.url}/x") as response:
        async for _ in response.iter_raw():
            pass
    (entry,) = valid(recorder.as_dict())
    assert exchange_of(entry).body == b"not gzip"
    assert entry["response"]["content"]["comment"].startswith("as it came, since it does not decode")


async def drip() -> AsyncIterator[bytes]:
    yield b"a"
    await asyncio.Event().wait()


async def test_a_body_that_breaks_off(http_server: OriginServer) -> None:
    fields = [("Content-Type", "application/json"), ("Content-Length", "100")]
    http_server.routes["/cut"] = Reply(b'{"token": "s3cret', fields=fields, until_close=True)
    packed = gzip.compress(b"hello" * 1000)
    fields = [("Content-Encoding", "gzip"), ("Content-Length", "100")]
    http_server.routes["/packed"] = Reply(packed[:-8], fields=fields, until_close=True)
    recorder = HarRecorder()
    async with recording(recorder) as client:
        for name in ("cut", "packed"):
            with pytest.raises(IncompleteRead):
                await client.get(f"{http_server.url}/{name}")
        with pytest.raises(BodyTooLarge):
            await client.get(f"{http_server.url}/chunked/300000", max_body=10)
        await client.get(http_server.url)
    async with recording(recorder, transport=MockTransport(lambda request: MockResponse(chunks=drip))) as client:
        with pytest.raises(TotalTimeout):
            await client.get(http_server.url, timeout=Timeout(total=0.5))
    *broken, whole, timed_out = valid(recorder.as_dict())
    broken.append(timed_out)
    assert [entry["response"]["status"] for entry in broken] == [200] * 4
    said = [entry["response"]["_error"].partition(":")[0] for entry in broken]
    assert said == ["IncompleteRead", "IncompleteRead", "BodyTooLarge", "TotalTimeout"]
    cut, unpacked, *_ = [entry["response"]["content"] for entry in broken]
    assert (cut["text"], cut["comment"]) == ('{"token": "[hidden]', "it broke off after 17 bytes")
    assert exchange_of(broken[1]).body == b"hello" * 1000
    assert all(exchange_of(entry).partial for entry in broken)
    assert "_error" not in whole["response"]
    assert unpacked["size"] == 5000


async def test_the_attempt_that_a_hedge_calls_off_is_no_failure() -> None:
    gate = asyncio.Event()
    first = []

    async def late(request: MockRequest) -> MockResponse:
        if not first:
            first.append(request)
            await gate.wait()
        return MockResponse(text="there")

    recorder = HarRecorder()
    async with recording(recorder, transport=MockTransport(late)) as client:
        assert (await client.get("http://h/", hedge=0.01)).text == "there"
    lost, won = valid(recorder.as_dict())
    assert (lost["response"]["status"], won["response"]["status"]) == (0, 200)
    assert "_error" not in lost["response"]
    assert lost["response"]["content"]["comment"].startswith("called off")


async def test_a_request_that_never_began_takes_no_time(http_server: OriginServer) -> None:
    def refuse(request: Request) -> None:
        if request.url.path == "/no":
            raise ValueError("no")

    recorders = [HarRecorder(), HarRecorder()]
    hooks = Hooks(on_request=refuse) | recorders[0] | recorders[1]
    async with Client(trust_env=False, hooks=hooks) as client:
        await client.get(http_server.url)
        after = datetime.now(UTC)
        with pytest.raises(ValueError, match="no"):
            await client.get(f"{http_server.url}/no")
        await client.get(http_server.url)
    for recorder in recorders:
        first, never, third = valid(recorder.as_dict())
        assert datetime.fromisoformat(never["startedDateTime"]) >= after - timedelta(milliseconds=1)
        assert never["response"]["_error"] == "ValueError: no"
        assert never["time"] == 0
        assert "_error" not in first["response"]
        assert third["response"]["status"] == 200


async def test_concurrent_calls_do_not_mix(http_server: OriginServer) -> None:
    recorder = HarRecorder()
    async with recording(recorder) as client:
        await asyncio.gather(*(client.get(f"{http_server.url}/bytes/{n}") for n in range(20)))
    for entry in valid(recorder.as_dict()):
        assert entry["request"]["url"].endswith(f"/bytes/{entry['response']['bodySize']}")
    recorder.clear()
    assert valid(recorder.as_dict()) == []


# --- secrets ----------------------------------------------------------------------------------------------------------


async def converse(server: OriginServer, recorder: HarRecorder) -> str:
    """An exchange with a secret wherever one can be; the HAR document as text."""
    answer = json.dumps({"access_token": "s3cret", "expires_in": 3600}).encode()
    fields = [("Content-Type", "application/json"), ("Set-Cookie", "sid=s3cret; Path=/")]
    server.routes["/token"] = Reply(answer, fields=fields)
    url = server.url.replace("http://", "http://joe:s3cret@")
    async with recording(recorder, cookies={"own": "s3cret"}) as client:
        data = {"user": "joe", "password": "s3cret"}
        await client.post(f"{url}/token?a=b&sig=s3cret", data=data, headers={"X-Api-Key": "s3cret"})
    valid(recorder.as_dict())
    return json.dumps(recorder.as_dict())


async def test_secrets_are_masked(http_server: OriginServer) -> None:
    text = await converse(http_server, HarRecorder())
    assert "s3cret" not in text
    assert base64.b64encode(b"joe:s3cret").decode() not in text
    assert "user=joe&password=[hidden]" in text
    assert "?a=b&sig=[hidden]" in text


async def test_secrets_are_kept_where_asked_for(http_server: OriginServer) -> None:
    text = await converse(http_server, HarRecorder(keep_secrets=True))
    for secret in (
        "password=s3cret",
        "sig=s3cret",
        "sid=s3cret",
        "own=s3cret",
        base64.b64encode(b"joe:s3cret").decode(),
    ):
        assert secret in text


# --- files and values -------------------------------------------------------------------------------------------------


async def test_saved_and_loaded(http_server: OriginServer, tmp_path: Path) -> None:
    recorder = HarRecorder()
    async with recording(recorder) as client:
        await client.get(http_server.url)
    path = tmp_path / "a.har"
    recorder.save(path)
    assert load(path) == recorder.entries
    assert [file.name for file in tmp_path.iterdir()] == ["a.har"]
    save(path, [])
    assert load(str(path)) == []


def test_entries_are_sorted_unless_their_order_is_to_be_kept(tmp_path: Path) -> None:
    later, sooner = (
        entry_of(Exchange(method="GET", url="http://h/", started=datetime(year, 1, 1, tzinfo=UTC)))
        for year in (2026, 2025)
    )
    save(tmp_path / "a.har", [later, sooner])
    assert load(tmp_path / "a.har") == [sooner, later]
    save(tmp_path / "a.har", [later, sooner], sort=False)
    assert load(tmp_path / "a.har") == [later, sooner]


@pytest.mark.parametrize("text", ["[]", "{}", '{"log": {"entries": {}}}', "not json"])
def test_a_file_that_is_not_har(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.har").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - the text is json's where it is not even JSON
        load(tmp_path / "x.har")


@pytest.mark.parametrize("entry", [{}, [], {"request": {}, "response": {}}, {"request": None, "response": None}])
def test_an_entry_that_is_none(entry: Any) -> None:
    with pytest.raises(ValueError, match="not a HAR entry"):
        exchange_of(entry)


@pytest.mark.parametrize("body", [b"", b"text", "grüße".encode(), b"\x00\xff", None])
@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "image/png", ""])
def test_an_exchange_comes_back_as_it_was(body: bytes | None, media_type: str) -> None:
    exchange = Exchange(
        method="POST",
        url="http://example.org/?a=1",
        request_headers=[("Content-Type", media_type), ("A", "1"), ("a", "2")],
        request_body=body,
        status=201,
        reason="Created",
        headers=[("Content-Type", media_type), ("Authorization", "kept")],
        body=body,
        coded=body == b"text",
        partial=body is None,
        trailers=[("X-Sum", "1"), ("X-Api-Key", "kept")],
        encoded_size=7,
        started=datetime(2026, 1, 2, 3, 4, 5, 6000, UTC),
        timings={"wait": 0.25, "send": 0.0, "receive": 0.5, "connect": 0.125},
    )
    entry = json.loads(json.dumps(entry_of(exchange, keep_secrets=True)))
    valid(document_of([entry]))
    assert exchange_of(entry) == exchange


def test_an_entry_need_not_say_when_it_began() -> None:
    entry = entry_of(Exchange(method="GET", url="http://h/"))
    del entry["startedDateTime"]
    assert abs(exchange_of(entry).started - datetime.now(UTC)) < timedelta(minutes=1)


def test_trailers_are_masked_as_fields_are() -> None:
    exchange = Exchange(method="GET", url="http://h/", trailers=[("X-Sum", "1"), ("X-Api-Key", "s3cret")])
    (entry,) = valid(document_of([entry_of(exchange)]))
    assert exchange_of(entry).trailers == [("X-Sum", "1"), ("X-Api-Key", "[hidden]")]


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", '{"token": "s3cret"}'.encode("utf-16")),
        ("application/x-www-form-urlencoded", b"a=caf\xe9&password=s3cret"),
    ],
)
def test_secrets_are_masked_in_bodies_that_are_not_utf_8(media_type: str, body: bytes) -> None:
    fields = [("Content-Type", media_type)]
    exchange = Exchange(
        method="POST", url="http://h/", request_headers=fields, request_body=body, headers=fields, body=body
    )
    back = exchange_of(entry_of(exchange))
    assert back.body == back.request_body != body
    assert b"s3cret" not in (back.body or b"")
