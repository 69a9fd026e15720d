"""A server is asked once, a file ever after; and no secret is in the file."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, ConnectionPool, IncompleteRead, ReadError, Timeout, TotalTimeout
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
from tests.servers.origin import Reply
from tests.test_har import valid

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.origin import OriginServer

URL = "http://service.example"


def echo(request: MockRequest) -> MockResponse:
    return MockResponse(json={"method": request.method, "target": request.target, "body": request.text})


def client_of(transport: RecordReplay) -> Client:
    return Client(transport=transport, trust_env=False, timeout=60)  # much to mask on a busy machine takes its time


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


async def test_a_response_that_breaks_off_is_not_recorded(tmp_path: Path) -> None:
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


# --- forms in parts ---------------------------------------------------------------------------------------------------


async def test_a_form_with_files_is_found_again_and_its_secrets_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    files = {"file": ("a.bin", b"\x00\xff\r\n--"), "meta": ("m.json", b'{"token": "S3CRET"}', "application/json")}

    async def upload(transport: RecordReplay, secret: str) -> int:
        async with transport, client_of(transport) as client:
            return (await client.post(URL, data={"user": "joe", "password": secret}, files=files)).status

    def handler(request: MockRequest) -> MockResponse:
        assert request.content.count(b"S3CRET") == 2
        return MockResponse(201)

    for match in (("method", "url", "body"), ("body", "headers.Content-Type")):
        inside = MockTransport(handler)
        assert await upload(RecordReplay(path, inside, "record", match=match), "S3CRET") == 201
        assert await upload(RecordReplay(path, mode="replay", match=match), "another") == 201
    (recorded,) = [exchange_of(entry) for entry in load(path)]
    assert b"S3CRET" not in (recorded.request_body or b"")
    assert b"joe" in (recorded.request_body or b"")
    assert "S3CRET" not in path.read_text()


def test_a_boundary_that_is_none_stays() -> None:
    for value in ("multipart/mixed", "multipart/mixed; boundary=a\xff", "text/plain; boundary=a"):
        assert Scrubber().settled([("Content-Type", value)], b"--a--") == ([("Content-Type", value)], b"--a--")
    fields, body = Scrubber().settled([("A", "b"), ("content-type", 'Multipart/Mixed; boundary="a b"')], b"--a b--\r\n")
    assert fields == [("A", "b"), ("content-type", 'Multipart/Mixed; boundary="recorded-boundary"')]
    assert body == b"--recorded-boundary--\r\n"
    fields, _ = Scrubber().settled([("Content-Type", "multipart/form-data; Boundary = a; charset=a")], b"")
    assert fields == [("Content-Type", "multipart/form-data; Boundary = recorded-boundary; charset=a")]


# --- files that others have written -----------------------------------------------------------------------------------


async def test_what_a_har_recorder_wrote_is_replayed(tmp_path: Path, http_server: OriginServer) -> None:
    path = tmp_path / "a.har"
    http_server.routes["/unheard-of"] = Reply(b"coded", fields=[("Content-Encoding", "unheard-of")])
    http_server.routes["/not"] = Reply(b"not gzip", fields=[("Content-Encoding", "gzip")])
    urls = [http_server.url + each for each in ("/gzip", "/", "/unheard-of", "/redirect/302?/", "/status/204")]
    recorder = HarRecorder()
    async with Client(trust_env=False, hooks=recorder) as client:
        first = [(await client.get(url)).content for url in urls]
        async with client.stream("GET", f"{http_server.url}/not") as response:
            assert b"".join([piece async for piece in response.iter_raw()]) == b"not gzip"
        async with client.stream("GET", f"{http_server.url}/bytes/70000"):
            pass
    recorder.save(path)
    async with RecordReplay(path, mode="replay") as transport, client_of(transport) as client:
        assert [(await client.get(url)).content for url in urls] == first
        assert (await client.get(urls[2])).headers["Content-Encoding"] == "unheard-of"
        async with client.stream("GET", f"{http_server.url}/not") as response:
            assert b"".join([piece async for piece in response.iter_raw()]) == b"not gzip"
        async with client.stream("GET", f"{http_server.url}/bytes/70000") as response:
            assert response.headers["Content-Length"] == "70000"
        with pytest.raises(IncompleteRead, match="nobody read the body"):
            await client.get(f"{http_server.url}/bytes/70000")


def browsers(status: int, content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An entry as Chrome writes it."""
    fields = [{"name": "content-encoding", "value": "br"}, {"name": "content-length", "value": "3"}]
    return {
        "startedDateTime": "2026-01-02T03:04:05.678Z",
        "time": 1.0,
        "request": {
            "method": "GET",
            "url": f"{URL}/{status}",
            "httpVersion": "h2",
            "headers": [{"name": ":authority", "value": "h"}],
        },
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "h2",
            "headers": fields,
            "content": content,
            **more,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 1, "receive": -1},
    }


async def test_what_a_browser_wrote_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    entries = [
        browsers(200, {"size": 5, "mimeType": "text/plain", "text": "hello"}),
        browsers(201, {"size": 5, "mimeType": "text/plain"}),
        browsers(302, {"size": 0, "mimeType": "x-unknown"}),
        browsers(0, {"size": 0, "mimeType": "x-unknown"}, _error="net::ERR_CONNECTION_REFUSED"),
    ]
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    async with RecordReplay(path, mode="replay") as transport, client_of(transport) as client:
        answer = await client.get(f"{URL}/200")
        assert (answer.text, answer.headers["Content-Length"], "Content-Encoding" in answer.headers) == (
            "hello",
            "5",
            False,
        )
        with pytest.raises(IncompleteRead, match="does not hold the body"):
            await client.get(f"{URL}/201")
        assert (await client.get(f"{URL}/302", follow_redirects=False)).content == b""
        with pytest.raises(UnexpectedRequest, match="a failure: net::ERR_CONNECTION_REFUSED"):
            await client.get(f"{URL}/0")
    async with RecordReplay(path, MockTransport(echo)) as transport, client_of(transport) as client:
        assert (await client.get(f"{URL}/0")).status == 200


# --- bodies that nobody read to their end -----------------------------------------------------------------------------


async def test_what_nobody_read_to_its_end_is_recorded_as_far_as_it_came(
    tmp_path: Path, http_server: OriginServer
) -> None:
    path = tmp_path / "a.har"
    http_server.routes["/far"] = Reply(bytes(3_000_000), status=302, fields=[("Location", "/")])
    http_server.routes["/gone"] = Reply(bytes(3_000_000), status=404)
    packed = gzip.compress(b"".join(b'{"token": "S3CRET-%d"}\n' % number for number in range(300_000)), 1)
    http_server.routes["/packed"] = Reply(packed, fields=[("Content-Encoding", "gzip")])

    async def visit(transport: RecordReplay) -> list[Any]:
        async with transport, client_of(transport) as client:
            async with client.stream("GET", f"{http_server.url}/gone") as response:
                seen = [response.status, response.headers["Content-Length"]]
            async with client.stream("GET", f"{http_server.url}/packed") as packed:
                seen.append(len(await anext(packed.iter_bytes(100))))
            seen.append((await client.get(f"{http_server.url}/far")).text)
            return seen

    first = await visit(RecordReplay(path))
    assert first == [404, "3000000", 100, "hello"]
    assert "S3CRET" not in path.read_text()
    entries = valid(json.loads(path.read_text()))
    assert "nobody read any further" in entries[0]["response"]["content"]["comment"]
    assert await visit(RecordReplay(path, mode="replay")) == first
    async with RecordReplay(path, mode="replay") as transport, client_of(transport) as client:
        for name in ("gone", "packed"):
            with pytest.raises(IncompleteRead, match=r"as it was recorded: the first .* nobody read any further"):
                await client.get(f"{http_server.url}/{name}")


async def test_what_was_waited_for_in_vain_is_not_recorded(tmp_path: Path) -> None:
    async def drip() -> Any:
        yield b"a"
        await asyncio.Event().wait()

    path = tmp_path / "a.har"
    inside = MockTransport(lambda request: MockResponse(chunks=drip))
    async with RecordReplay(path, inside) as transport, client_of(transport) as client:
        with pytest.raises(TotalTimeout):
            await client.get(URL, timeout=Timeout(total=0.02))
        task = asyncio.create_task(client.get(URL))
        while len(inside.requests) < 2:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    assert transport.recorded == ()
    assert not path.exists()


# --- writing the file -------------------------------------------------------------------------------------------------


async def test_the_file_is_written_in_a_thread_and_not_for_each_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[bool, int]] = []

    def saving(path: Path, entries: list[Any], *, sort: bool) -> None:
        written.append((threading.current_thread() is threading.main_thread(), len(entries)))
        save(path, entries, sort=sort)

    monkeypatch.setattr("aiohttpconn.har.save", saving)
    path = tmp_path / "a.har"
    before = asyncio.all_tasks()
    async with RecordReplay(path, MockTransport(echo)) as transport, client_of(transport) as client:
        await client.get(f"{URL}/0")
        while not path.exists():  # the first is written at once
            await asyncio.sleep(0.001)
        for number in range(1, 50):
            await client.get(f"{URL}/{number}")
    assert asyncio.all_tasks() == before
    assert len(written) < 10
    assert {main for main, _ in written} == {False}
    assert [exchange_of(entry).url for entry in load(path)] == [f"{URL}/{number}" for number in range(50)]
    await transport.close()


async def test_nothing_is_lost_where_closing_is_cancelled(tmp_path: Path) -> None:
    for turns in range(6):
        path = tmp_path / f"{turns}.har"
        transport = RecordReplay(path, MockTransport(echo))
        async with client_of(transport) as client:
            await client.get(URL)
            await client.get(f"{URL}/2")
        closing = asyncio.create_task(transport.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait((closing,))
        await transport.close()
        assert len(load(path)) == 2


async def test_a_file_that_cannot_be_written_is_told_by_close(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    transport = RecordReplay(tmp_path / "file" / "a.har", MockTransport(echo), "record")
    async with client_of(transport) as client:
        assert (await client.get(URL)).status == 200
        with pytest.raises(OSError, match="file"):
            await transport.close()
