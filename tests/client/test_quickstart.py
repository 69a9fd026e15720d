"""What the quickstarts of httpx and aiohttp show, example by example, in this client's words, over real sockets.

One that has to be written differently is in README's tables of those who come from there.
"""

from __future__ import annotations

import email
import email.policy
import io
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import aiofiles
import pytest
from multidict import CIMultiDict, MultiDict

import aiohttpconn
from aiohttpconn import (
    URL,
    Auth,
    BasicAuth,
    Client,
    CookieJar,
    DigestAuth,
    Hooks,
    HTTPStatusError,
    InvalidHeader,
    InvalidMethod,
    Limits,
    NetrcAuth,
    Request,
    StreamConsumed,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.client.logs import LogHooks
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

    from aiohttpconn import Response
    from aiohttpconn.headers import HeadersInput
    from tests.servers.raw import Received

_JSON = ("Content-Type", "application/json")


def _anything(request: Received) -> Reply:
    """What came, as a document: the way httpbin does it."""
    document: dict[str, Any] = {"args": {}, "form": {}, "files": {}, "data": "", "json": None}
    for name, value in parse_qsl(request.target.partition("?")[2]):
        document["args"].setdefault(name, []).append(value)
    kind = request.get("Content-Type") or ""
    if kind == "application/x-www-form-urlencoded":
        for name, value in parse_qsl(request.body.decode()):
            document["form"].setdefault(name, []).append(value)
    elif kind.startswith("multipart/form-data"):
        head = b"Content-Type: " + kind.encode() + b"\r\n\r\n"
        for part in email.message_from_bytes(head + request.body, policy=email.policy.HTTP).iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if (filename := part.get_filename()) is None:
                document["form"].setdefault(name, []).append(content.decode())
            else:
                document["files"].setdefault(name, []).append([filename, part.get_content_type(), content.decode()])
    elif kind == "application/json":
        document["json"] = json.loads(request.body)
    else:
        document["data"] = request.body.decode()
    document["fields"] = dict(request.fields)
    return Reply(json.dumps(document).encode(), fields=[_JSON])


def _cookies(request: Received) -> Reply:
    pairs = [pair.partition("=") for pair in (request.get("Cookie") or "").split("; ") if pair]
    return Reply(json.dumps({name: value for name, _, value in pairs}).encode(), fields=[_JSON])


def _guarded(request: Received) -> Reply:
    if request.get("X-Authentication") == "token":
        return Reply(b"welcome")
    return Reply(b'{"use": "token"}', status=401, fields=[_JSON])


@pytest.fixture
def server(http_server: OriginServer) -> OriginServer:
    http_server.routes = {
        "/anything": _anything,
        "/cookies": _cookies,
        "/cookies/set": Reply(status=302, fields=[("Location", "/cookies"), ("Set-Cookie", "chocolate=chip; Path=/")]),
        "/guarded": _guarded,
        "/lines": Reply("eins\nzwölf\r\ndrei".encode(), fields=[("Content-Type", "text/plain; charset=UTF-8")]),
        "/windows": Reply("Тест".encode("cp1251"), fields=[("Content-Type", "text/plain")]),
        "/repeated": Reply(fields=[("X-Kind", "a"), ("X-Kind", "b")]),
    }
    return http_server


# --- requests ---


async def test_one_request_by_each_verb(server: OriginServer) -> None:
    url = f"{server.url}/anything"
    assert repr(await aiohttpconn.get(url)) == "<Response 200 OK>"
    posted = await aiohttpconn.post(url, data={"key": ["value1", "value2"], "other": 1})
    assert posted.json()["form"] == {"key": ["value1", "value2"], "other": ["1"]}
    await aiohttpconn.put(url, data={"key": "value"})
    await aiohttpconn.patch(url, content=b"data")
    await aiohttpconn.delete(url)
    await aiohttpconn.head(url)
    await aiohttpconn.options(url)
    assert [request.method for request in server.requests] == [
        *("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
    ]


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"key1": "value1", "key2": "value2"}, "key1=value1&key2=value2"),
        ({"key1": "value1", "key2": ["value2", "value3"]}, "key1=value1&key2=value2&key2=value3"),
        ([("key", "value1"), ("key", "value2")], "key=value1&key=value2"),
        (MultiDict([("key", "value1"), ("key", "value2")]), "key=value1&key=value2"),
        ("key=value+1", "key=value+1"),
    ],
)
async def test_params(params: Any, query: str, client: Client, server: OriginServer) -> None:
    response = await client.get(f"{server.url}/anything", params=params)
    assert str(response.url) == f"{server.url}/anything?{query}"
    assert response.url == f"{server.url}/anything?{query}"


async def test_base_url(server: OriginServer) -> None:
    async with Client(server.url, trust_env=False) as client:
        assert (await client.get("/anything")).is_success
        assert (await client.post("/anything", content=b"data")).json()["data"] == "data"
    assert client.is_closed


async def test_what_a_client_and_a_request_say_is_put_together(server: OriginServer) -> None:
    async with Client(headers={"X-Auth": "client"}, params={"client": "1"}, trust_env=False) as client:
        response = await client.get(f"{server.url}/anything", headers={"X-Own": "request"}, params={"request": "2"})
    assert response.request.url == f"{server.url}/anything?client=1&request=2"
    assert response.request.headers["X-Auth"] == "client"
    assert response.json()["fields"].items() >= {"X-Auth": "client", "X-Own": "request"}.items()


async def test_json_by_an_encoder_of_ones_own(server: OriginServer) -> None:
    async with Client(trust_env=False, json_encoder=lambda value: json.dumps({"wrapped": value})) as client:
        response = await client.post(f"{server.url}/anything", json={"list": [1, None]})
    assert response.json()["json"] == {"wrapped": {"list": [1, None]}}


async def test_files(client: Client, server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b")
    url = f"{server.url}/anything"
    with path.open("rb") as file:
        response = await client.post(url, data={"message": "Hello"}, files={"upload": file})
    assert response.json()["files"] == {"upload": [["report.csv", "text/csv", "a,b"]]}
    assert response.json()["form"] == {"message": ["Hello"]}
    several = [("images", (f"{name}.png", io.BytesIO(b"1"), "image/png")) for name in ("foo", "bar")]
    response = await client.post(url, files=[*several, ("note", (None, "text"))])
    assert response.json()["files"] == {"images": [["foo.png", "image/png", "1"], ["bar.png", "image/png", "1"]]}
    assert response.json()["form"] == {"note": ["text"]}


async def test_streamed_uploads(client: Client, server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "massive"
    path.write_bytes(b"z" * 70_000)

    async def pieces() -> AsyncIterator[bytes]:
        async with aiofiles.open(path, "rb") as file:
            while piece := await file.read(16_384):
                yield piece

    with path.open("rb") as file:
        assert len((await client.post(f"{server.url}/echo", content=file)).content) == 70_000
    assert len((await client.post(f"{server.url}/echo", content=pieces())).content) == 70_000
    async with aiofiles.open(path, "rb") as opened:
        assert len((await client.post(f"{server.url}/echo", content=opened)).content) == 70_000


async def test_a_response_goes_on_as_a_request(client: Client, server: OriginServer) -> None:
    async with client.stream("GET", f"{server.url}/bytes/200000") as response:
        passed_on = await client.post(f"{server.url}/echo", content=response.iter_bytes())
    assert len(passed_on.content) == 200_000


async def test_data_that_is_no_form_names_what_takes_it(client: Client, server: OriginServer) -> None:
    for data in (b"raw", "text", io.BytesIO(b"file")):
        with pytest.raises(TypeError, match="content= sends bytes, str, files"):
            await client.post(server.url, data=data)
    with pytest.raises(TypeError, match="files= takes files"):
        await client.post(server.url, data={"file": io.BytesIO(b"file")})


# --- requests made by hand ---


async def test_a_request_of_ones_own_is_sent(client: Client, server: OriginServer) -> None:
    request = Request("GET", f"{server.url}/anything", {"X-Own": "1"})
    response = await client.send(request)
    assert response.request.url == URL(f"{server.url}/anything")
    assert response.json()["fields"]["X-Own"] == "1"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Own": "a\r\nX-Smuggled: b"},
        [("X-Own", "a\nb")],
        {"X-Own\r\nX-Smuggled": "b"},
        CIMultiDict({"X-Own": "a\0"}),
    ],
)
def test_a_request_of_ones_own_smuggles_no_field(headers: HeadersInput) -> None:
    request = Request("GET", "http://localhost/")
    with pytest.raises(InvalidHeader):
        Request("GET", "http://localhost/", headers)  # type: ignore[arg-type]
    with pytest.raises(InvalidHeader):
        request.replace(headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nX-Smuggled: b\r\n\r\nGET", "GE T", ""])
def test_a_request_of_ones_own_smuggles_no_method(method: str) -> None:
    with pytest.raises(InvalidMethod):
        Request(method, "http://localhost/")
    with pytest.raises(InvalidMethod):
        Request("GET", "http://localhost/").replace(method=method)


async def test_a_built_request_is_changed_into_another(server: OriginServer) -> None:
    async with Client(headers={"X-Api-Key": "k", "X-Client": "c"}, trust_env=False) as client:
        request = client.build_request("GET", f"{server.url}/anything")
        fields = (await client.send(request.without_fields("X-Api-Key"))).json()["fields"]
    assert request.headers["X-Api-Key"] == "k"
    assert "X-Api-Key" not in fields
    assert fields["X-Client"] == "c"


# --- responses ---


async def test_text_and_its_encoding(client: Client, server: OriginServer) -> None:
    response = await client.get(f"{server.url}/lines")
    assert response.encoding == "UTF-8"
    assert response.text == "eins\nzwölf\r\ndrei"
    response = await client.get(f"{server.url}/windows")
    assert response.encoding == "utf-8"
    response.encoding = "windows-1251"
    assert response.text == "Тест"


async def test_status(client: Client, server: OriginServer) -> None:
    response = await client.get(server.url)
    assert response.status_code == response.status == HTTPStatus.OK
    assert response.raise_for_status() is response
    response = await client.get(f"{server.url}/status/404")
    with pytest.raises(HTTPStatusError, match=r"^404 Not Found \[GET .*/status/404\]$") as caught:
        response.raise_for_status()
    assert caught.value.response is response


async def test_headers(client: Client, server: OriginServer) -> None:
    response = await client.get(f"{server.url}/repeated")
    assert response.headers["x-kind"] == response.headers.get("X-KIND") == "a"
    assert response.headers.getall("X-Kind") == ["a", "b"]


async def test_streams(client: Client, server: OriginServer) -> None:
    url = f"{server.url}/lines"
    async with client.stream("GET", url) as response:
        assert b"".join([piece async for piece in response.iter_bytes()]) == "eins\nzwölf\r\ndrei".encode()
        with pytest.raises(StreamConsumed, match="piece by piece"):
            _ = response.content
    async with client.stream("GET", url) as response:
        assert "".join([text async for text in response.iter_text()]) == "eins\nzwölf\r\ndrei"
    async with client.stream("GET", url) as response:
        assert [line async for line in response.iter_lines()] == ["eins", "zwölf", "drei"]
    async with client.stream("GET", f"{server.url}/gzip") as response:
        assert b"".join([piece async for piece in response.iter_raw()]).startswith(b"\x1f\x8b")
    async with client.stream("GET", f"{server.url}/bytes/5000") as response:
        assert [len(piece) async for piece in response.iter_bytes(2048)] == [2048, 2048, 904]


async def test_a_stream_is_read_on_a_condition(client: Client, server: OriginServer) -> None:
    async with client.stream("GET", f"{server.url}/lines") as response:
        with pytest.raises(StreamConsumed, match=r"await response\.read\(\)"):
            _ = response.text
        if int(response.headers["Content-Length"]) < 1000:
            await response.read()
        assert response.text.startswith("eins")


async def test_a_stream_by_hand(client: Client, server: OriginServer) -> None:
    response = await client.send(client.build_request("GET", f"{server.url}/bytes/100000"), stream=True)
    progress = [response.num_bytes_downloaded async for _ in response.iter_bytes()]
    await response.close()
    assert progress == sorted(progress)
    assert progress[-1] == int(response.headers["Content-Length"])


# --- cookies and redirects ---


async def test_cookies(client: Client, server: OriginServer) -> None:
    response = await client.get(f"{server.url}/cookies/set", follow_redirects=False)
    assert response.cookies["chocolate"] == "chip"
    assert (await client.get(f"{server.url}/cookies", cookies={"peanut": "butter"})).json() == {
        "chocolate": "chip",
        "peanut": "butter",
    }
    jar = client.cookies
    assert jar is not None
    assert jar["chocolate"] == jar.get("chocolate") == "chip"
    assert "chocolate" in jar
    jar.delete("chocolate")
    with pytest.raises(KeyError, match="chocolate"):
        jar["chocolate"]
    assert (await client.get(f"{server.url}/cookies")).json() == {}


async def test_cookies_by_their_domain(client: Client, server: OriginServer) -> None:
    jar = CookieJar()
    jar.set("on_domain", "hello", domain=URL(server.url).host)
    jar.set("off_domain", "nope", domain="example.org")
    assert (await client.get(f"{server.url}/cookies", cookies=jar)).json() == {"on_domain": "hello"}


async def test_redirects_are_followed_unless_told_otherwise(client: Client, server: OriginServer) -> None:
    url = f"{server.url}/redirect/301?/anything"
    response = await client.get(url)
    assert response.url == f"{server.url}/anything"
    assert [hop.status for hop in response.history] == [301]
    response = await client.get(url, follow_redirects=False)
    assert response.is_redirect
    assert not response.history
    while response.next_request is not None:
        response = await client.send(response.next_request)
    assert response.url == f"{server.url}/anything"


# --- authentication ---


class _ByChallenge(Auth):
    needs_response_body = True

    def flow(self, request: Request) -> Generator[Request, Response, None]:
        response = yield request
        if response.status == 401:
            yield request.with_fields({"X-Authentication": response.json()["use"]})


async def test_auth(client: Client, server: OriginServer) -> None:
    basic = "Basic dXNlcjpwYXNzMTIz"
    url = f"{server.url}/anything"
    for auth in (("user", "pass123"), (b"user", b"pass123"), BasicAuth("user", "pass123")):
        assert (await client.get(url, auth=auth)).json()["fields"]["Authorization"] == basic
    assert (await client.get(url.replace("//", "//user:pass123@"))).json()["fields"]["Authorization"] == basic
    assert (await client.get(f"{server.url}/guarded", auth=_ByChallenge())).text == "welcome"


async def test_netrc(client: Client, server: OriginServer, tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text(f"machine {URL(server.url).host} login user password pass123\n")
    path.chmod(0o600)
    response = await client.get(f"{server.url}/anything", auth=NetrcAuth(path))
    assert response.json()["fields"]["Authorization"] == "Basic dXNlcjpwYXNzMTIz"


async def test_digest(client: Client, server: OriginServer) -> None:
    challenge = Reply(status=401, fields=[("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')])
    server.routes["/digest"] = lambda request: Reply(b"ok") if request.get("Authorization") else challenge
    assert (await client.get(f"{server.url}/digest", auth=DigestAuth("olivia", "secret"))).text == "ok"


# --- timeouts, hooks, settings ---


async def test_timeouts(server: OriginServer) -> None:
    async with Client(timeout=Timeout(total=0.05), limits=Limits(max_connections=1), trust_env=False) as client:
        with pytest.raises(TotalTimeout):
            await client.get(f"{server.url}/hold")
        with pytest.raises(TimeoutError):
            await client.get(f"{server.url}/hold")
        assert (await client.get(server.url, timeout=None)).is_success


async def test_hooks(server: OriginServer) -> None:
    seen: list[str] = []

    async def log_request(request: Request) -> None:
        seen.append(f"{request.method} {request.url.path}")

    def stamp(request: Request) -> Request:
        return request.with_fields({"X-Stamp": "now"})

    async def log_response(response: Response) -> None:
        await response.read()
        seen.append(f"{response.status} {response.request.url.path}")

    hooks = Hooks(on_request=[log_request, stamp], on_response=[log_response, lambda r: r.raise_for_status()])
    async with Client(hooks=hooks, trust_env=False) as client:
        assert (await client.get(f"{server.url}/anything")).json()["fields"]["X-Stamp"] == "now"
        with pytest.raises(HTTPStatusError):
            await client.get(f"{server.url}/status/500")
    assert seen == ["GET /anything", "200 /anything", "GET /status/500", "500 /status/500"]


@pytest.mark.parametrize("hooks", [{"request": [print]}, [print], print])
def test_hooks_are_hooks(hooks: Any) -> None:
    with pytest.raises(TypeError, match=r"^hooks must be a Hooks, such as Hooks\(on_request=function\), not "):
        Client(hooks=hooks)


@pytest.mark.parametrize("transport", ["http://localhost:3128", print, object()])
def test_a_transport_sends(transport: Any) -> None:
    with pytest.raises(TypeError, match=r"^transport must have send\(\) and close\(\), as Transport says, not "):
        Client(transport=transport)


async def test_what_a_client_is_made_with_can_be_read() -> None:
    hooks = LogHooks()
    auth = BasicAuth("user", "password")
    async with Client(
        params="a=b", auth=auth, timeout=5, hooks=hooks, follow_redirects=False, max_redirects=3, max_body=7
    ) as client:
        assert (client.params, client.auth, client.timeout, client.hooks) == ("a=b", auth, Timeout.of(5), hooks)
        assert (client.follow_redirects, client.max_redirects, client.max_body) == (False, 3, 7)
        assert client.allow_downgrade is False
        assert not client.is_closed


@pytest.mark.parametrize(
    "name",
    [
        *("headers", "params", "cookies", "auth", "timeout", "hooks", "base_url"),
        *("follow_redirects", "max_redirects", "allow_downgrade", "max_body"),
    ],
)
async def test_a_setting_is_never_changed_without_effect(name: str) -> None:
    async with Client() as client:
        with pytest.raises(AttributeError, match=f"'{name}' of 'Client' object has no setter"):
            setattr(client, name, None)
