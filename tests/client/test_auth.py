"""Auth flows: basic, bearer, one's own; where signatures go and where they do not."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Auth,
    BasicAuth,
    BearerAuth,
    BodyNotReplayable,
    Client,
    DigestAuth,
    HTTPStatusError,
    InvalidHeader,
    Limits,
    NetrcAuth,
    OAuth2ClientCredentials,
    Request,
    Response,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.client.auth import auth_of
from aiohttpconn.url import parse
from tests.auditing import audit_quiet, settle
from tests.bodies import CountedBody
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply
from tests.servers.program import Program, free_port, listens, require

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
    from pathlib import Path

    from tests.servers.raw import Received


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def signed(auth: Auth, request: Request | None = None) -> Request:
    """The first request of a flow."""
    return next(auth.flow(request or Request("GET", parse("http://one.example/"))))


async def sent(client: Client, server: OriginServer, path: str = "/", **options: Any) -> list[str | None]:
    """The Authorization of each request that a GET comes to."""
    before = len(server.requests)
    url = path if path.startswith("http") else server.url + path
    await client.get(url, **options)
    return [request.get("Authorization") for request in server.requests[before:]]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "password", "value"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
        ("test", "123£", "Basic dGVzdDoxMjPCow=="),  # RFC 7617 section 2.1
        ("", "", "Basic Og=="),
        ("a", "b:c", "Basic YTpiOmM="),
        (b"\xe4", b"\xf6", "Basic 5Dr2"),
    ],
)
def test_basic(user: str | bytes, password: str | bytes, value: str) -> None:
    assert signed(BasicAuth(user, password)).headers["Authorization"] == value


def test_a_user_name_with_a_colon_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidHeader, match="colon") as caught:
        BasicAuth("secret:user", "password")
    assert "secret" not in str(caught.value)


def test_text_that_utf_8_cannot_say_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        BasicAuth("user", "hidden\udc80")
    assert "udc80" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("token", ["", "to ken", "a\r\nX: y", "grüße", "\x00"])
def test_what_is_no_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidHeader) as caught:
        BearerAuth(token)
    assert not token or token not in str(caught.value)


def test_a_signature_takes_the_place_of_any_other() -> None:
    request = Request("GET", parse("http://one.example/")).with_fields({"authorization": "old", "X": "y"})
    made = signed(BearerAuth("t0ken"), request)
    assert [*made.headers.items()] == [("X", "y"), ("Authorization", "Bearer t0ken")]
    assert request.headers["Authorization"] == "old"


@pytest.mark.parametrize("value", ["user:secret", ("secret",), ("a", "secret", "c"), 7, object])
def test_what_is_no_auth_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        auth_of(value)
    assert "secret" not in str(caught.value)


def test_auth_of_takes_pairs_and_auths() -> None:
    own = BearerAuth("x")
    assert auth_of(own) is own
    assert signed(auth_of(("user", "password"))).headers["Authorization"] == basic("user", "password")


SECRETIVE = [
    BasicAuth("s3cretname", "s3cret"),
    BearerAuth("s3cret"),
    DigestAuth("s3cretname", "s3cret"),
    OAuth2ClientCredentials("http://localhost/token", "s3cretname", "s3cret"),
]


@pytest.mark.parametrize("auth", SECRETIVE, ids=lambda auth: type(auth).__name__)
def test_nothing_secret_shows(auth: Auth) -> None:
    assert "s3cret" not in f"{auth!r} {auth}"


@pytest.mark.parametrize("auth", SECRETIVE, ids=lambda auth: type(auth).__name__)
def test_auths_pickle_with_what_they_were_given(auth: Auth) -> None:
    copy = pickle.loads(pickle.dumps(auth))
    assert type(copy) is type(auth)
    assert {name: value for name, value in vars(copy).items() if isinstance(value, (str, bytes))} == {
        name: value for name, value in vars(auth).items() if isinstance(value, (str, bytes))
    }


def test_a_flow_that_is_not_written_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Auth must override"):
        Auth().flow(Request("GET", parse("http://one.example/")))


# --- over sockets -----------------------------------------------------------------------------------------------------


async def test_of_the_client_and_of_the_call(http_server: OriginServer) -> None:
    async with Client(trust_env=False, auth=("client", "pw")) as client:
        assert await sent(client, http_server) == [basic("client", "pw")]
        assert await sent(client, http_server, auth=BearerAuth("t")) == ["Bearer t"]
        assert await sent(client, http_server, auth=None) == [None]
        assert await sent(client, http_server, headers={"Accept": "x"}) == [basic("client", "pw")]
        await client.post(http_server.url, content=b"x", cookies={"a": "b"})
        request = http_server.requests[-1]
        assert (request.get("Authorization"), request.get("Cookie")) == (basic("client", "pw"), "a=b")
        assert len(request.get_all("User-Agent")) == 1


async def test_the_signed_request_is_the_responses(client: Client, http_server: OriginServer) -> None:
    response = await client.get(http_server.url, auth=("user", "pw"))
    assert response.request.headers["Authorization"] == basic("user", "pw")
    assert "user" not in repr(response.request)


async def test_userinfo_of_a_url_is_basic(client: Client, http_server: OriginServer) -> None:
    url = f"http://us%3Fer:p%40ss@{http_server.authority}/request"
    assert await sent(client, http_server, url) == [basic("us?er", "p@ss")]
    assert await sent(client, http_server, url, auth=("other", "one")) == [basic("other", "one")]
    assert http_server.requests[-1].get("Host") == http_server.authority


async def test_userinfo_with_a_colon_in_its_name_is_refused(client: Client, http_server: OriginServer) -> None:
    with pytest.raises(InvalidHeader, match="colon") as caught:
        await client.get(f"http://s3cret%3Aname:s3cret@{http_server.authority}/")
    assert caught.value.request is not None
    assert "s3cret" not in str(caught.value)
    assert http_server.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_within_the_origin_are_signed(status: int, client: Client, http_server: OriginServer) -> None:
    path = f"/redirect/{status}?/request"
    assert await sent(client, http_server, path, auth=("u", "p")) == [basic("u", "p")] * 2
    url = f"http://u:p@{http_server.authority}{path}"
    assert await sent(client, http_server, url) == [basic("u", "p")] * 2


async def test_nothing_signs_elsewhere_and_again_back_home(client: Client, http_server: OriginServer) -> None:
    async with OriginServer() as other:
        back = f"{other.url}/redirect/302?{http_server.url}/request"
        for options in ({"auth": ("u", "p")}, {"auth": BearerAuth("t")}, {"auth": DigestAuth("u", "p")}):
            await client.get(f"{http_server.url}/redirect/307?{back}", **options)  # type: ignore[arg-type]
        home = f"http://u:p@{http_server.authority}/redirect/307?{back}"
        await client.get(home)
        assert [request.get("Authorization") for request in other.requests] == [None] * 4
        there = [request.get("Authorization") for request in http_server.requests]
        assert there == [basic("u", "p")] * 2 + ["Bearer t"] * 2 + [None] * 2 + [basic("u", "p")] * 2


async def test_another_port_or_scheme_is_another_origin(
    client: Client, http_server: OriginServer, https_server: OriginServer
) -> None:
    for to in (https_server.url, f"http://localhost:{http_server.port}"):
        await client.get(f"http://127.0.0.1:{http_server.port}/redirect/302?{to}/request", auth=("u", "p"))
    assert https_server.requests[-1].get("Authorization") is None
    assert http_server.requests[-1].get("Authorization") is None


async def test_userinfo_of_a_location_is_for_that_hop(client: Client, http_server: OriginServer) -> None:
    async with OriginServer() as other:
        there = f"http://other:pw@{other.authority}/redirect/302?/redirect/303?/request"
        await client.get(f"{http_server.url}/redirect/302?{there}", auth=("u", "p"))
        assert [request.get("Authorization") for request in other.requests] == [basic("other", "pw"), None, None]
        assert http_server.requests[0].get("Authorization") == basic("u", "p")


class Asking(Auth):
    """Signs with what the server told it."""

    needs_response_body = True
    needs_request_body = True

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def flow(self, request: Request) -> Generator[Request, Response, None]:
        self.seen.append(request.body)
        response = yield request
        self.seen.append(response.content)
        if response.status == 401:
            response = yield request.with_fields({"Authorization": response.text})
            self.seen.append(response.status)


def asking_server(server: OriginServer) -> None:
    def answer(request: Received) -> Reply:
        if request.get("Authorization") == "magic word":
            return Reply(request.body)
        return Reply(b"magic word", status=401)

    server.routes["/asks"] = answer


@pytest.mark.parametrize("kind", ["bytes", "pieces", "none"])
async def test_ones_own_flow(kind: str, client: Client, http_server: OriginServer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some "
        yield b"content"

    asking_server(http_server)
    auth = Asking()
    content = {"bytes": b"some content", "pieces": pieces(), "none": None}[kind]
    response = await client.request("POST", f"{http_server.url}/asks", content=content, auth=auth)
    expected = b"" if kind == "none" else b"some content"
    assert response.content == expected
    assert auth.seen == [None if kind == "none" else expected, b"magic word", 200]
    assert [r.status for r in response.history] == [401]


async def test_a_flow_may_await(client: Client, http_server: OriginServer) -> None:
    class Awaiting(Auth):
        async def async_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
            await asyncio.sleep(0)
            yield request.with_fields({"Authorization": "awaited"})

    assert await sent(client, http_server, auth=Awaiting()) == ["awaited"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_flow_raises_comes_out_and_frees_the_connection(
    when: str, client: Client, http_server: OriginServer
) -> None:
    class Failing(Auth):
        def flow(self, request: Request) -> Generator[Request, Response, None]:
            if when == "before":
                raise LookupError("no key")
            yield request
            raise LookupError("no key")

    for _ in range(3):
        with pytest.raises(LookupError, match="no key"):
            await client.get(f"{http_server.url}/bytes/100000", auth=Failing())
    await settle()
    assert client.pool is not None
    audit_quiet(client.pool)


async def test_a_flow_without_a_request_is_an_error(client: Client, http_server: OriginServer) -> None:
    class Empty(Auth):
        def flow(self, request: Request) -> Generator[Request, Response, None]:
            yield from ()

    with pytest.raises(RuntimeError, match="yielded no request"):
        await client.get(http_server.url, auth=Empty())


async def test_a_flow_is_ended_when_its_request_fails(client: Client) -> None:
    ended = []

    class Watched(Auth):
        def flow(self, request: Request) -> Generator[Request, Response, None]:
            try:
                yield request
            finally:
                ended.append(True)

    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says of a closed port
        await client.get("http://127.0.0.1:1/", auth=Watched())
    assert ended == [True]


async def test_a_body_that_can_be_read_once_is_not_sent_half(client: Client, http_server: OriginServer) -> None:
    class Twice(Auth):
        def flow(self, request: Request) -> Generator[Request, Response, None]:
            yield request
            yield request

    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    with pytest.raises(BodyNotReplayable):
        await client.post(f"{http_server.url}/echo", content=pieces(), auth=Twice())
    assert [request.body for request in http_server.requests] == [b"once"]


async def test_the_total_time_covers_the_flow(http_server: OriginServer) -> None:
    class Slow(Auth):
        async def async_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
            await asyncio.get_running_loop().create_future()
            yield request

    async with Client(trust_env=False) as client:
        with pytest.raises(TotalTimeout) as caught:
            await client.get(http_server.url, auth=Slow(), timeout=Timeout(total=0.05))
        assert caught.value.request is not None


async def test_a_refusal_is_the_callers_to_see(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/private"] = lambda request: (
        Reply(b"in")
        if request.get("Authorization") == basic("u", "right")
        else Reply(b"out", status=401, fields=[("WWW-Authenticate", 'Basic realm="x"')])
    )
    url = f"{http_server.url}/private"
    assert (await client.get(url, auth=("u", "right"))).status == 200
    refused = await client.get(url, auth=("u", "wrong"))
    assert (refused.status, refused.text, refused.history) == (401, "out", ())


NGINX = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 64; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{port};
    location /private {{
      auth_basic "members"; auth_basic_user_file {directory}/users; alias {directory}/users;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def guarded_nginx() -> Iterator[str]:
    """The URL of an nginx that lets in ``ann:pä ss`` below ``/private``."""
    program, port = require("nginx"), 0

    def configure(directory: Path) -> list[str]:
        nonlocal port
        port = free_port()
        (directory / "users").write_text("ann:{PLAIN}pä ss\n", encoding="utf-8")
        (directory / "nginx.conf").write_text(NGINX.format(directory=directory, port=port))
        return [program, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]

    with Program("nginx-guarded", configure, lambda: listens(port)):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.interop
async def test_nginx_lets_in_who_has_the_password(guarded_nginx: str, client: Client) -> None:
    url = f"{guarded_nginx}/private"
    assert (await client.get(url)).status == 401
    assert (await client.get(url, auth=("ann", "wrong"))).status == 401
    response = await client.get(url, auth=("ann", "pä ss"))
    assert (response.status, response.text) == (200, "ann:{PLAIN}pä ss\n")
    with_userinfo = url.replace("http://", "http://ann:p%C3%A4%20ss@")
    assert (await client.get(with_userinfo)).status == 200


# --- netrc ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def netrc(tmp_path: Any, http_server: OriginServer) -> str:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login joe password s3cret\nmachine 127.0.0.1 login ann password hers\n")
    return str(path)


async def test_netrc_signs_what_it_knows(netrc: str, client: Client, http_server: OriginServer) -> None:
    auth = NetrcAuth(netrc)
    assert "s3cret" not in repr(vars(auth))
    assert await sent(client, http_server, auth=auth) == [basic("joe", "s3cret")]
    assert await sent(client, http_server, f"http://localhost:{http_server.port}/", auth=auth) == [None]
    assert pickle.loads(pickle.dumps(auth))._netrc.entry("127.0.0.1").password == "s3cret"


async def test_what_the_caller_says_goes_before_netrc(netrc: str, client: Client, http_server: OriginServer) -> None:
    auth = NetrcAuth(netrc)
    at = http_server.authority
    assert await sent(client, http_server, auth=auth, headers={"Authorization": "mine"}) == ["mine"]
    assert await sent(client, http_server, f"http://a:b@{at}/", auth=auth) == [basic("a", "b")]
    assert await sent(client, http_server, f"http://ann@{at}/", auth=auth) == [basic("ann", "hers")]
    assert await sent(client, http_server, f"http://bob@{at}/", auth=auth) == [basic("bob", "")]


async def test_netrc_of_the_environment(netrc: str, http_server: OriginServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", netrc)
    async with Client(proxy=None) as client:
        assert await sent(client, http_server) == [basic("joe", "s3cret")]
        assert await sent(client, http_server, auth=None) == [None]
    async with Client(trust_env=False) as client:
        assert await sent(client, http_server) == [None]


async def test_netrc_follows_redirects_by_host(netrc: str, client: Client, http_server: OriginServer) -> None:
    other = f"http://localhost:{http_server.port}"
    auth = NetrcAuth(netrc)
    location = f"{http_server.url}/request"
    assert await sent(client, http_server, f"{other}/redirect/302?{location}", auth=auth) == [
        None,
        basic("joe", "s3cret"),
    ]
    assert await sent(client, http_server, f"/redirect/302?{other}/request", auth=auth) == [
        basic("joe", "s3cret"),
        None,
    ]


def test_a_netrc_file_that_was_named_has_to_be_good(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").write_text("machine one.example login")
    for name, error in (("none", FileNotFoundError), ("broken", ValueError)):
        with pytest.raises(error):
            NetrcAuth(tmp_path / name)
        monkeypatch.setenv("NETRC", str(tmp_path / name))
        assert "Authorization" not in signed(NetrcAuth()).headers


# --- what is said of it all -------------------------------------------------------------------------------------------


async def test_no_secret_is_logged_or_explained(
    client: Client, http_server: OriginServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    http_server.routes["/asks"] = lambda request: (
        Reply(b"in")
        if request.get("Authorization")
        else Reply(status=401, fields=[("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')])
    )
    http_server.routes["/token"] = Reply(b'{"access_token": "s3cret"}')
    token_url = f"{http_server.url}/token"
    auths = [
        BasicAuth("user", "s3cret"),
        BearerAuth("s3cret"),
        DigestAuth("user", "s3cret"),
        OAuth2ClientCredentials(token_url, "id", "s3cret", client=client),
        OAuth2ClientCredentials(token_url, "id", "s3cret", client=client, credentials_in="body"),
    ]
    said = []
    for auth in auths:
        response = await client.get(f"{http_server.url}/asks", auth=auth)
        said += [response.explain(), repr(response), repr(response.request), repr(response.history)]
    response = await client.get(f"http://user:s3cret@{http_server.authority}/asks")
    said += [response.explain(), repr(response.request)]
    with pytest.raises(HTTPStatusError) as caught:
        (await client.get(f"http://user:s3cret@{http_server.authority}/status/403")).raise_for_status()
    everything = "\n".join([*said, str(caught.value), caplog.text])
    assert any(record.name.startswith("aiohttpconn") for record in caplog.records)
    for secret in ("s3cret", basic("user", "s3cret")[6:], b64encode(b"id:s3cret").decode()):
        assert secret not in everything
    assert not re.search(r'response="', everything)


# --- cancelled at every await -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/asks", "/redirect/302?/asks"])
async def test_cancelled_at_every_await(path: str, http_server: OriginServer) -> None:
    asking_server(http_server)
    async with Client(trust_env=False, limits=Limits(max_connections=1)) as client:
        pool = client.pool
        assert pool is not None

        async def fetch() -> None:
            assert (await client.get(http_server.url + path, auth=Asking())).status == 200

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)

        assert await cancel_everywhere(fetch, check) > 0
        await fetch()


async def test_cancelled_while_a_body_is_read_for_a_flow(http_server: OriginServer) -> None:
    asking_server(http_server)
    pieces = CountedBody(b"piece", times=3)
    async with Client(trust_env=False) as client:
        pool = client.pool
        assert pool is not None

        async def post() -> None:
            response = await client.post(f"{http_server.url}/asks", content=pieces(), auth=Asking())
            assert response.content == b"piece" * 3

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)
            assert pieces.running == 0, "the body's iterator was not ended"

        assert await cancel_everywhere(post, check) > 0
