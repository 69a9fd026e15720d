"""What a caller gives for one origin, and where it does not go: redirects, requests made of them, auth flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Auth, Client, NetrcAuth, RedirectBlocked, Request
from aiohttpconn.client.flow import GivenCookies, serves_same, with_cookies
from aiohttpconn.client.redirects import redirected
from aiohttpconn.url import parse
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from aiohttpconn import Response

SECRET = "s3cret"


def elsewhere(server: OriginServer) -> str:
    """The same server by another name, which makes it another origin."""
    return f"http://localhost:{server.port}"


def got(server: OriginServer, name: str) -> list[str | None]:
    return [request.get(name) for request in server.requests]


# --- a redirect that the caller follows himself -----------------------------------------------------------------------


async def test_the_next_request_is_not_signed_for_another_origin(http_server: OriginServer) -> None:
    there = elsewhere(http_server)
    async with Client(
        http_server.url, auth=("u", SECRET), cookies={"sid": SECRET}, follow_redirects=False, trust_env=False
    ) as client:
        response = await client.get(f"/redirect/302?{there}/")
        following = response.next_request
        assert following is not None
        await client.send(following)
        await client.send(following.with_fields({"X-Added": "1"}))
        assert [got(http_server, name)[1:] for name in ("Authorization", "Cookie")] == [[None] * 2] * 2
        await client.send(following, auth=("v", "w"), cookies={"own": "1"})
        assert http_server.requests[-1].get("Authorization") is not None
        assert http_server.requests[-1].get("Cookie") == "own=1"
        response = await client.get("/redirect/302?/request")
        assert response.next_request is not None
        await client.send(response.next_request)
    assert http_server.requests[-1].get("Authorization") is not None
    assert http_server.requests[-1].get("Cookie") == f"sid={SECRET}"


async def test_the_next_request_is_that_of_the_clients_rules(
    http_server: OriginServer, https_server: OriginServer, client_ctx: Any
) -> None:
    async with Client(
        verify=client_ctx,
        trust_env=False,
        follow_redirects=False,
        allow_downgrade=True,
        cross_origin_headers=["X-K"],
    ) as client:
        for headers in ({"X-K": "1", "X-L": "2"}, None):
            response = await client.get(f"{https_server.url}/redirect/302?{http_server.url}/", headers=headers)
            following = response.next_request
            assert following is not None
            assert (following.headers.get("X-K"), following.headers.get("X-L")) == (headers and "1", None)
    async with Client(verify=client_ctx, trust_env=False, follow_redirects=False) as client:
        response = await client.get(f"{https_server.url}/redirect/302?{http_server.url}/")
        with pytest.raises(RedirectBlocked):
            response.next_request  # noqa: B018 - the property raises


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_next_request_is_not_signed_yet(method: str, client: Client, http_server: OriginServer) -> None:
    url = f"{http_server.url}/redirect/307?/request"
    response = await client.request(method, url, auth=("u", "p"), cookies={"a": "1"}, follow_redirects=False)
    following = response.next_request
    assert following is not None
    assert "Authorization" not in following.headers
    assert "Cookie" not in following.headers
    assert SECRET not in following.as_curl()
    assert (await client.send(following)).json()["method"] == method
    assert got(http_server, "Authorization")[1] is None


def test_fields_that_were_added_are_not_lost_on_the_way() -> None:
    request = Request("GET", "http://a/", {"A": "1"}, field_lines=b"A: 1\r\n", more_lines=b"B: 2\r\n")
    assert redirected(request, 302, "/x").field_lines is None


# --- what redirects take along ----------------------------------------------------------------------------------------


async def test_userinfo_of_a_location_serves_its_hop(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/a"] = Reply(status=302, fields=[("Location", f"http://u2:p2@{http_server.authority}/b")])
    http_server.routes["/b"] = Reply(status=302, fields=[("Location", "/c")])
    http_server.routes["/c"] = Reply(b"end")
    await client.get(f"{http_server.url}/a", auth=("u1", "p1"))
    first, second, third = got(http_server, "Authorization")
    assert first == third
    assert second not in (None, first)


@pytest.mark.parametrize(
    "name", ["Content-MD5", "Content-Digest", "Content-Range", "Content-Disposition", "Trailer", "Expect"]
)
def test_all_about_a_body_goes_with_the_body(name: str) -> None:
    request = Request("POST", "http://a/", {name: "1", "Accept-Datetime": "2"}, b"x")
    assert list(redirected(request, 303, "/b").headers) == ["Accept-Datetime"]
    assert list(redirected(request, 307, "http://b/").headers) == [name, "Accept-Datetime"]


def test_cookies_of_a_mapping_stay_on_the_host_and_out_of_the_clear() -> None:
    secure, plain, other = (parse(url).origin for url in ("https://a/", "http://a:81/", "https://b/"))
    assert serves_same(secure, secure)
    assert serves_same(plain, secure)
    assert not serves_same(secure, plain)
    assert not serves_same(secure, other)


@pytest.mark.parametrize("location", ["ftp://u:s3cret@host/", "mailto:u:s3cret@host"])
async def test_no_password_in_the_error_of_another_scheme(
    location: str, client: Client, http_server: OriginServer
) -> None:
    http_server.routes["/a"] = Reply(status=302, fields=[("Location", location)])
    with pytest.raises(RedirectBlocked) as caught:
        await client.get(f"{http_server.url}/a")
    assert SECRET not in str(caught.value)
    assert [response.status for response in caught.value.history] == [302]
    assert f"GET {http_server.url}/a" in str(caught.value)


async def test_several_locations_that_differ_are_not_followed(client: Client, http_server: OriginServer) -> None:
    http_server.routes["/a"] = Reply(status=302, fields=[("Location", "/b"), ("Location", "/c")])
    with pytest.raises(RedirectBlocked, match="several"):
        await client.get(f"{http_server.url}/a")
    http_server.routes["/d"] = Reply(status=302, fields=[("Location", "/bytes/1"), ("Location", "/bytes/1")])
    assert (await client.get(f"{http_server.url}/d")).status == 200


async def test_what_was_kept_back_is_named(client: Client, http_server: OriginServer) -> None:
    url = f"{http_server.url}/redirect/303?{elsewhere(http_server)}/"
    response = await client.post(url, content=b"x", auth=("u", SECRET), cookies={"a": SECRET}, headers={"X-A": "1"})
    assert set(response.dropped) == {"X-A", "Authorization", "Cookie"}
    assert "Authorization" in response.explain()
    assert SECRET not in response.explain()
    response = await client.post(f"{http_server.url}/redirect/303?/", content=b"x", auth=("u", SECRET))
    assert response.dropped == ()


# --- netrc ------------------------------------------------------------------------------------------------------------


async def test_the_default_entry_of_netrc_does_not_sign_where_a_redirect_leads(
    tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    file = tmp_path / "netrc"
    file.write_text("default login d password dd")
    await client.get(f"{http_server.url}/redirect/302?{elsewhere(http_server)}/", auth=NetrcAuth(file))
    assert [value is not None for value in got(http_server, "Authorization")] == [True, False]
    file.write_text("default login d password dd\nmachine localhost login l password ll")
    await client.get(f"{http_server.url}/redirect/302?{elsewhere(http_server)}/", auth=NetrcAuth(file))
    assert [value is not None for value in got(http_server, "Authorization")[2:]] == [True, True]


# --- base_url ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/http://{evil}/x", "//{evil}/x", "/\\\\{evil}/x", "\\\\{evil}/x", " //{evil}/x"])
async def test_no_path_leads_away_from_base_url(path: str, http_server: OriginServer) -> None:
    async with Client(f"{http_server.url}/api/", headers={"Authorization": "Bearer x"}, trust_env=False) as client:
        request = client.build_request("GET", path.format(evil="evil.example"))
        assert request.url.origin == parse(http_server.url).origin
        assert request.url.path.startswith("/api/")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("v1:batchGet", "/api/v1:batchGet"),
        ("/v1:batchGet", "/api/v1:batchGet"),
        ("", "/api/"),
        ("/", "/api/"),
        ("?a=1", "/api/?a=1"),
        ("#f", "/api/"),
        ("../up", "/up"),
        ("a/b", "/api/a/b"),
        ("HTTP://other.example/x", "/x"),
    ],
)
def test_what_base_url_makes_of_a_path(path: str, target: str) -> None:
    client = Client("http://a.example/api", trust_env=False)
    assert client.build_request("GET", path).url.target == target


@pytest.mark.parametrize("value", [5, None, b"/x"])
def test_a_path_of_a_wrong_type_is_named(value: Any) -> None:
    client = Client("http://a.example/api", trust_env=False)
    with pytest.raises(TypeError, match="a URL must be a str"):
        client.build_request("GET", value)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api?k=1"])
async def test_userinfo_of_base_url_signs(path: str, http_server: OriginServer) -> None:
    async with Client(f"http://u:p@{http_server.authority}{path}", trust_env=False) as client:
        await client.get("x")
    assert http_server.requests[-1].get("Authorization") == "Basic dTpw"


# --- auth flows that ask somebody else --------------------------------------------------------------------------------


async def test_cookies_of_a_mapping_do_not_go_where_an_auth_flow_asks(http_server: OriginServer) -> None:
    class Token(Auth):
        needs_response_body = True

        def flow(self, request: Request) -> Generator[Request, Response, None]:
            response = yield Request("POST", f"{elsewhere(http_server)}/bytes/1")
            yield request.with_fields({"X-T": str(len(response.content))})

    async with Client(auth=Token(), cookies={"sid": SECRET}, trust_env=False) as client:
        await client.get(http_server.url)
    assert got(http_server, "Cookie") == [None, f"sid={SECRET}"]


# --- a cookie by each name --------------------------------------------------------------------------------------------


async def test_a_cookie_that_the_server_set_anew_goes_before_that_of_the_client(http_server: OriginServer) -> None:
    http_server.routes["/set"] = Reply(b"", fields=[("Set-Cookie", "sid=server; Path=/")])
    async with Client(http_server.url, cookies={"sid": "mine", "a": "1"}, trust_env=False) as client:
        await client.get("/set")
        await client.get("/")
        await client.get("/", cookies={"sid": "own"})
        await client.get("/", headers={"Cookie": "sid=field; b=2"})
        await client.get("/", cookies=True)
        await client.get("/", cookies=False)
    assert got(http_server, "Cookie") == [
        "sid=mine; a=1",
        "a=1; sid=server",
        "a=1; sid=own",
        "sid=field; b=2; a=1",
        "a=1; sid=server",
        None,
    ]


def test_no_cookie_field_where_there_is_none() -> None:
    request = Request("GET", "http://a/")
    assert with_cookies(request, None, GivenCookies({}, {})) is request
