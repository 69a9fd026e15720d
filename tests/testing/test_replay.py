"""A server is asked once, a file ever after; and no secret is in the file."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, ConnectionPool, ReadError
from aiohttpconn.har import HarRecorder, entry_of, exchange_of, load, save
from aiohttpconn.testing import (
    FaultTransport,
    MockRequest,
    MockResponse,
    MockTransport,
    RecordReplay,
    UnexpectedRequest,
    faults,
)
from aiohttpconn.testing.scrub import Scrubber
from tests.test_har import valid

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.origin import OriginServer

URL = "http://service.example"


def echo(request: MockRequest) -> MockResponse:
    return MockResponse(json={"method": request.method, "target": request.target, "body": request.text})


def client_of(transport: RecordReplay) -> Client:
    return Client(transport=transport, trust_env=False)


async def test_recorded_from_a_real_server_and_replayed_without(tmp_path: Path, http_server: OriginServer) -> None:
    path = tmp_path / "tapes" / "server.har"
    urls = ["/", "/chunked/5000", "/gzip", "/bytes/200000", "/status/404", "/redirect/302?/", "/until-close/9"]

    async def visit(transport: RecordReplay) -> list[Any]:
        async with transport, client_of(transport) as client:
            answers = [await client.get(http_server.url + url) for url in urls]
            answers.append(await client.post(f"{http_server.url}/echo", content=b"\xff\x00binary"))
            answers.append(await client.head(f"{http_server.url}/"))
            return [(each.status, each.reason, each.content, len(each.history)) for each in answers]

    first = await visit(RecordReplay(path))
    connections = http_server.connections
    assert connections > 0
    await http_server.close()
    assert await visit(RecordReplay(path)) == first
    assert await visit(RecordReplay(path, mode="replay")) == first
    assert http_server.connections == connections
    log = json.loads(path.read_text())["log"]
    assert log["version"] == "1.2"
    assert [entry["response"]["status"] for entry in log["entries"]] == [200, 200, 200, 200, 404, 302, 200, 200, 200]
    assert not [each for each in path.parent.iterdir() if each != path]


async def test_a_request_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    async with RecordReplay(path, mode="replay") as transport, client_of(transport) as client:
        with pytest.raises(UnexpectedRequest, match="nothing is recorded"):
            await client.get(URL)
    async with RecordReplay(path, MockTransport(echo)) as transport, client_of(transport) as client:
        await client.post(f"{URL}/a", content="one")
    async with RecordReplay(path, mode="replay") as transport, client_of(transport) as client:
        with pytest.raises(UnexpectedRequest, match=r"recorded are: POST http://service\.example/a") as caught:
            await client.get(f"{URL}/b")
        assert caught.value.request.method == "GET"
        assert isinstance(caught.value, LookupError)
        with pytest.raises(UnexpectedRequest, match="differs in another part of method, url, body"):
            await client.post(f"{URL}/a", content="two")
        assert (await client.post(f"{URL}/a", content=[b"o", b"ne"])).json()["body"] == "one"


async def test_modes(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    count = iter(range(10))
    inside = MockTransport(lambda request: MockResponse(text=str(next(count))))

    async def ask(mode: str, times: int) -> list[str]:
        inside.closed = False
        async with RecordReplay(path, inside, mode) as transport, client_of(transport) as client:
            return [(await client.get(URL)).text for _ in range(times)]

    assert await ask("auto", 2) == ["0", "0"]
    assert await ask("record", 3) == ["1", "2", "3"]
    assert await ask("auto", 5) == ["1", "2", "3", "3", "3"]
    assert await ask("replay", 1) == ["1"]
    assert len(inside.requests) == 4
    with pytest.raises(ValueError, match="mode"):
        RecordReplay(path, mode="perhaps")


async def test_what_has_to_match(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    inside = MockTransport(lambda request: MockResponse(text=request.headers["Accept"]))
    match = ("method", "headers.Accept")
    async with RecordReplay(path, inside, match=match) as transport, client_of(transport) as client:
        for kind in ("a/b", "c/d"):
            await client.get(URL, headers={"Accept": kind})
    async with RecordReplay(path, mode="replay", match=match) as transport, client_of(transport) as client:
        assert (await client.get("http://elsewhere.example/", headers={"Accept": "c/d"})).text == "c/d"
    with pytest.raises(ValueError, match="match takes"):
        RecordReplay(path, match=("colour",))


async def test_nothing_secret_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    packed = gzip.compress(b'{"access_token": "SECRET-9", "expires_in": 60, "nested": [{"password": "SECRET-10"}]}')

    def handler(request: MockRequest) -> MockResponse:
        if request.url.path == "/token":
            assert b"SECRET" in request.content
            assert "SECRET-1" in request.headers["Authorization"]
            fields = {
                "Content-Encoding": "gzip",
                "Content-Type": "application/json",
                "Set-Cookie": "sid=SECRET-8; Path=/",
            }
            return MockResponse(200, fields, content=packed)
        if request.url.path == "/go":
            return MockResponse(302, {"Location": "/next?token=SECRET-11&page=2"})
        return MockResponse(text="there")

    async def visit(client: Client, secret: str) -> list[Any]:
        fields = {
            "Authorization": f"Bearer {secret}-1",
            "X-Api-Key": f"{secret}-2",
            "Cookie": f"a={secret}-3; b={secret}-4",
        }
        url = f"{URL}/token?api_key={secret}-5&page=1&key={secret}-567890123456789"
        form = {**fields, "Content-Type": "application/x-www-form-urlencoded"}
        first = await client.post(url, headers=form, content=f"client_secret={secret}-6&grant_type=x")
        second = await client.post(
            url, headers=fields, json={"password": f"{secret}-7", "user": "me", "own": f"{secret}-0"}
        )
        third = await client.get(f"{URL}/go", cookies=False)
        return [first.json()["expires_in"], second.status, third.status, third.url.path]

    async with RecordReplay(path, MockTransport(handler), scrub=["own"]) as transport, client_of(transport) as client:
        first = await visit(client, "SECRET")
        assert (await client.post(f"{URL}/token", headers={"Authorization": "SECRET-1"}, content="SECRET")).json()[
            "access_token"
        ] == "SECRET-9"  # who records gets the real thing
    text = path.read_text()
    redacted = text.replace('"text": "SECRET"', "")  # a body of no known kind is written as it is
    assert "SECRET" not in redacted
    assert "page=1" in text
    assert "sid=REDACTED; Path=/" in text
    assert '\\"user\\":' in text or '\\"user\\": ' in text
    async with RecordReplay(path, mode="replay", scrub=["own"]) as transport, client_of(transport) as client:
        assert await visit(client, "ANOTHER") == first
        tokens = (await client.post(f"{URL}/token", content="SECRET")).json()
        assert tokens == {"access_token": "REDACTED", "expires_in": 60, "nested": [{"password": "REDACTED"}]}


@pytest.mark.parametrize(
    ("url", "scrubbed"),
    [
        ("http://me:pw@h/p?a=1#f", "http://h/p?a=1#f"),
        ("/p?token=x&a=%20b&&c", "/p?token=REDACTED&a=%20b&&c"),
        ("https://h/p?X-Amz-Signature=abc&X-Amz-Date=1", "https://h/p?X-Amz-Signature=REDACTED&X-Amz-Date=1"),
        ("https://h/p?client%5Fsecret=x", "https://h/p?client%5Fsecret=REDACTED"),
        ("https://h/cb#access_token=x&token_type=bearer", "https://h/cb#access_token=REDACTED&token_type=bearer"),
        ("https://h/p?key=short", "https://h/p?key=short"),
        ("//me@h/x", "//h/x"),
    ],
)
def test_urls(url: str, scrubbed: str) -> None:
    assert Scrubber().url(url) == scrubbed


def test_bodies_that_hold_nothing_secret_stay_byte_for_byte() -> None:
    scrubber = Scrubber()
    for body in (b'{ "a" :  1, "max_tokens": 5 }', b"not json", b"\xff", b'{"token": 7}'):
        assert scrubber.body(body, "application/json") == body
    assert scrubber.body(b"token=1", "text/plain") == b"token=1"
    assert scrubber.body(b'{"token":"x"}', "application/problem+json; charset=utf-8") == b'{"token": "REDACTED"}'


@pytest.mark.parametrize(
    ("url", "scrubbed"),
    [
        ("/p?sid=x&pw=x&pass=x", "/p?sid=REDACTED&pw=REDACTED&pass=REDACTED"),
        ("/p?token=&sid=", "/p?token=&sid="),
        ("/p?tokens_left=5&my-own=x", "/p?tokens_left=REDACTED&my-own=REDACTED"),
        ("/p?next=/q?token=x", "/p?next=/q?token=REDACTED"),
    ],
)
def test_what_the_log_hides_is_scrubbed_too_but_what_is_empty_stays(url: str, scrubbed: str) -> None:
    assert Scrubber(["my_own"]).url(url) == scrubbed


def test_fields() -> None:
    fields = [("Authorization", "Bearer x"), ("Origin", "http://a:b@h"), ("X-Subscription-Key", "x"), ("Own", "x")]
    assert Scrubber(["own"]).fields([*fields, ("Accept", "*/*"), ("Cookie", "a=1; b")]) == [
        ("Authorization", "REDACTED"),
        ("Origin", "http://h"),
        ("X-Subscription-Key", "REDACTED"),
        ("Own", "REDACTED"),
        ("Accept", "*/*"),
        ("Cookie", "a=REDACTED; REDACTED"),
    ]


def test_members_that_a_program_decides_by_stay() -> None:
    body = b'{"next_page_token": "", "token": 1, "tokens": ["x", 1], "key": "x", "pin": 1, "auth": {"user": "x"}}'
    scrubbed = Scrubber(["PIN"]).body(body, "application/json")
    assert json.loads(scrubbed) == {
        "next_page_token": "",
        "token": 1,
        "tokens": ["REDACTED", 1],
        "key": "x",
        "pin": "REDACTED",
        "auth": {"user": "REDACTED"},
    }


async def test_a_file_is_found_again_whoever_masked_it_and_how(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    url = f"{URL}/?token=s3cret&page=2"
    recorder = HarRecorder(keep_secrets=True)
    async with Client(transport=MockTransport(echo), trust_env=False, hooks=recorder) as client:
        await client.post(url, json={"password": "s3cret"})
    for entry in (recorder.entries, [entry_of(exchange_of(entry)) for entry in recorder.entries]):
        save(path, entry)
        async with RecordReplay(path, mode="replay") as transport, client_of(transport) as client:
            answer = await client.post(url.replace("s3cret", "other"), json={"password": "other"})
            assert answer.json()["method"] == "POST"
            with pytest.raises(UnexpectedRequest, match=r"recorded are: POST \S+/\?token=REDACTED&page=2 "):
                await client.get(URL)


async def test_what_is_recorded_is_har_and_stays_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    bodies = iter([b"0", b"1"])

    def handler(request: MockRequest) -> MockResponse:
        body = next(bodies)
        return MockResponse(chunks=lambda: [body], trailers={"X-Api-Key": "s3cret"})

    answer = MockTransport(handler)
    async with RecordReplay(path, answer, "record") as transport, client_of(transport) as client:
        for _ in range(2):
            await client.post(URL, content="text", headers={"Content-Type": "text/plain"})
            transport.recorded[0].started += timedelta(days=1)  # a clock that was set back
    valid(json.loads(path.read_text()))
    recorded = [exchange_of(entry) for entry in load(path)]
    assert [each.body for each in recorded] == [b"0", b"1"]
    assert recorded[0].request_body == b"text"
    assert recorded[0].trailers == [("X-Api-Key", "REDACTED")]
    assert recorded[0].started > recorded[1].started


async def test_a_response_that_was_not_read_to_its_end_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    inside = FaultTransport(MockTransport(lambda request: MockResponse(content=b"x" * 1000)), faults.Reset(10, times=1))
    async with RecordReplay(path, inside) as transport, client_of(transport) as client:
        with pytest.raises(ReadError):
            await client.get(URL)
        assert transport.recorded == ()
        assert not path.exists()
        assert len((await client.get(URL)).content) == 1000
        assert [each.status for each in transport.recorded] == [200]
        assert path.exists()


async def test_while_it_is_recorded_a_body_comes_as_it_is_sent(tmp_path: Path) -> None:
    answer = MockResponse(chunks=lambda: [b"a", b"b"], trailers={"X-Sum": "2"})
    path = tmp_path / "a.har"
    for inside, mode in ((MockTransport(lambda request: answer), "record"), (None, "replay")):
        transport = RecordReplay(path, inside, mode)
        async with transport, client_of(transport) as client, client.stream("GET", URL) as response:
            assert b"".join([piece async for piece in response.iter_bytes()]) == b"ab"
            assert response.trailers["X-Sum"] == "2"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"log": {"entries": [{}]}}', '{"log": {"entries": [1]}}'])
def test_a_file_that_is_no_archive(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.har").write_text(text)
    with pytest.raises(ValueError, match="not an HTTP Archive"):
        RecordReplay(tmp_path / "a.har")


async def test_its_own_pool_is_closed_with_it(tmp_path: Path, http_server: OriginServer) -> None:
    pool = ConnectionPool()
    async with RecordReplay(tmp_path / "a.har", pool) as transport, client_of(transport) as client:
        assert (await client.get(http_server.url)).text == "hello"
    assert pool.closed
