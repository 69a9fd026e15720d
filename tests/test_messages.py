"""The values that travel between the floors: request, response head, proxy, route."""

from __future__ import annotations

import pickle
import ssl
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn import BodyNotReplayable, InvalidHeader, InvalidURL, Request
from aiohttpconn.headers import EMPTY_HEADERS, Headers
from aiohttpconn.messages import ResponseHead, Route
from aiohttpconn.proxy import Proxy
from aiohttpconn.url import parse

URL = parse("http://example.org/a?b")
FIELDS = CIMultiDictProxy(CIMultiDict([("A", "1"), ("a", "2")]))


# --- Request ----------------------------------------------------------------------------------------------------------


def test_request_holds_what_it_was_given() -> None:
    request = Request("GET", URL, FIELDS, b"body", idempotent=True)
    assert (request.method, request.url, request.headers, request.body) == ("GET", URL, FIELDS, b"body")
    assert Request("GET", URL).headers is EMPTY_HEADERS


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_idempotent_by_its_method(method: str) -> None:
    assert Request(method, URL).is_idempotent


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "gets", "LOCK"])
def test_not_idempotent_by_its_method(method: str) -> None:
    assert not Request(method, URL).is_idempotent


def test_idempotent_by_the_field_or_by_word() -> None:
    keyed = CIMultiDictProxy(CIMultiDict([("idempotency-key", "x")]))
    assert Request("POST", URL, keyed).is_idempotent
    assert Request("POST", URL, idempotent=True).is_idempotent
    assert not Request("GET", URL, idempotent=False).is_idempotent
    assert not Request("POST", URL, keyed, idempotent=False).is_idempotent


@pytest.mark.parametrize("body", [None, b"", b"x", "x", bytearray(b"x"), memoryview(b"x")])
def test_replayable(body: Any) -> None:
    request = Request("PUT", URL, body=body)
    assert request.replayable
    request.rewind()
    assert request.body is body


@pytest.mark.parametrize("body", [iter([b"x"]), object()], ids=["iterator", "anything else"])
def test_not_replayable(body: object) -> None:
    request = Request("PUT", parse("http://user:secret@example.org/a"), body=body)
    assert not request.replayable
    with pytest.raises(BodyNotReplayable, match="only once") as caught:
        request.rewind()
    assert "PUT http://example.org/a" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_rewind_asks_the_body() -> None:
    class Body:
        rewound = 0

        def rewind(self) -> None:
            self.rewound += 1

    body = Body()
    request = Request("PUT", URL, body=body)
    assert request.replayable
    request.rewind()
    assert body.rewound == 1


def test_replace_makes_a_copy() -> None:
    request = Request("POST", URL, FIELDS, b"body", field_lines=b"A: 1\r\na: 2\r\n", idempotent=True)
    assert request.replace() is not request
    same = request.replace()
    for name in Request.__slots__:
        assert getattr(same, name) == getattr(request, name)
    elsewhere = request.replace(method="PUT", url=parse("http://example.net/"))
    assert (elsewhere.method, str(elsewhere.url), elsewhere.body) == ("PUT", "http://example.net/", b"body")
    assert elsewhere.field_lines == request.field_lines
    bare = request.replace(headers=EMPTY_HEADERS)
    assert (bare.headers, bare.field_lines, bare.body, bare.idempotent) == (EMPTY_HEADERS, None, b"body", True)
    assert (request.method, request.url, request.headers) == ("POST", URL, FIELDS), "the first is as it was"


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("POST", b"long", [("Content-Length", "4")]),
        ("POST", "text", [("Content-Length", "4")]),
        ("POST", memoryview(b"four"), [("Content-Length", "4")]),
        ("PUT", iter([b"x"]), [("Transfer-Encoding", "chunked")]),
        ("PATCH", None, [("Content-Length", "0")]),
        ("GET", None, []),
    ],
)
@pytest.mark.parametrize("old", [("content-length", "9"), ("transfer-encoding", "chunked")])
def test_another_body_has_another_framing(
    old: tuple[str, str], method: str, body: Any, framing: list[tuple[str, str]]
) -> None:
    fields = CIMultiDictProxy(CIMultiDict([old, ("Content-Type", "a/b")]))
    request = Request("POST", URL, fields, b"123456789", field_lines=b"...").replace(method=method, body=body)
    assert list(request.headers.items()) == [("Content-Type", "a/b"), *framing]
    assert request.field_lines is None


def test_with_fields_and_without() -> None:
    request = Request("GET", URL, FIELDS, field_lines=b"A: 1\r\na: 2\r\n")
    changed = request.with_fields([("a", "3"), ("B", 4), ("b", b"5")])
    assert list(changed.headers.items()) == [("a", "3"), ("B", "4"), ("b", "5")]
    assert changed.field_lines is None
    assert list(changed.without_fields("A", "none").headers.items()) == [("B", "4"), ("b", "5")]
    assert list(request.headers.items()) == [("A", "1"), ("a", "2")]
    with pytest.raises(InvalidHeader):
        request.with_fields({"X": "a\r\nb"})


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (Request("GET", URL), "curl 'http://example.org/a?b'"),
        (Request("HEAD", URL), "curl --head 'http://example.org/a?b'"),
        (Request("DELETE", URL, FIELDS), "curl -X DELETE -H 'A: 1' -H 'a: 2' 'http://example.org/a?b'"),
        (
            Request("POST", URL, CIMultiDictProxy(CIMultiDict([("Content-Length", "2")])), b"it"),
            "curl --data-raw it -H 'Content-Type:' 'http://example.org/a?b'",
        ),
        (Request("PUT", URL, body="it"), "curl -X PUT --data-raw it -H 'Content-Type:' 'http://example.org/a?b'"),
        (
            Request("POST", URL, body=b"\0"),
            "printf '\\000' | curl --data-binary @- -H 'Content-Type:' 'http://example.org/a?b'",
        ),
        (
            Request("POST", parse("http://h/?[1-2]"), body=iter([b""])),
            "curl --data-binary @- -H 'Content-Type:' --globoff 'http://h/?[1-2]'",
        ),
    ],
)
def test_as_curl(request_: Request, command: str) -> None:
    assert request_.as_curl() == command


def test_request_pickles_as_a_snapshot() -> None:
    back = pickle.loads(pickle.dumps(Request("POST", URL, FIELDS, b"body", idempotent=True)))
    assert (back.method, back.url, back.body, back.idempotent) == ("POST", URL, b"body", True)
    assert list(back.headers.items()) == list(FIELDS.items())
    assert type(back.headers) is Headers
    assert pickle.loads(pickle.dumps(Request("POST", URL, body=iter([b"x"])))).body is None


def test_request_shows_no_password() -> None:
    shown = repr(Request("GET", parse("http://user:secret@example.org/a")))
    assert "secret" not in shown
    assert "GET" in shown
    assert "example.org/a" in shown


# --- ResponseHead -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "text"), [(10, "HTTP/1.0 404 Not Found"), (11, "HTTP/1.1 404 Not Found")])
def test_response_head_shows_its_status_line(version: int, text: str) -> None:
    assert text in repr(ResponseHead(version, 404, "Not Found", FIELDS))


# --- Proxy ------------------------------------------------------------------------------------------------------------


def test_proxy_of_a_url() -> None:
    proxy = Proxy.of("http://proxy.example:3128")
    assert proxy is not None
    assert (proxy.origin.scheme, proxy.origin.host, proxy.origin.port) == ("http", "proxy.example", 3128)
    assert proxy.authorization is None
    assert proxy.fields == []
    assert Proxy.of(parse("http://proxy.example:3128")) == proxy
    assert Proxy.of(proxy) is proxy
    assert Proxy.of(None) is None


def test_userinfo_of_a_proxy_is_its_credentials() -> None:
    proxy = Proxy.of("http://us%65r:p%40ss%C3%A9@proxy.example:3128")
    assert proxy is not None
    # base64 of "user:p@ssé" in UTF-8 (RFC 7617 section 2.1)
    assert proxy.fields == [("Proxy-Authorization", "Basic dXNlcjpwQHNzw6k=")]
    assert proxy.origin == Proxy.of("http://proxy.example:3128").origin  # type: ignore[union-attr]
    assert "dXNl" not in repr(proxy)
    assert "p@ss" not in repr(proxy)


@pytest.mark.parametrize("url", ["ftp://proxy.example", "proxy.example:3128"])
def test_proxy_over_what_is_no_proxys(url: str) -> None:
    with pytest.raises(InvalidURL):
        Proxy.of(url)


# --- Route ------------------------------------------------------------------------------------------------------------


def test_routes_are_equal_only_if_everything_that_matters_is() -> None:
    origin = parse("https://example.org").origin
    other = parse("https://example.net").origin
    proxy, context = Proxy.of("http://p.example"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert Route(origin) == Route(parse("https://EXAMPLE.org:443/x").origin)
    assert hash(Route(origin)) == hash(Route(parse("https://EXAMPLE.org:443/x").origin))
    different = [
        Route(origin),
        Route(other),
        Route(parse("http://example.org").origin),
        Route(parse("https://example.org:8443").origin),
        Route(origin, proxy),
        Route(origin, Proxy.of("http://user:x@p.example")),
        Route(origin, None, context),
        Route(origin, None, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
        Route(origin, None, None, "/run/socket"),
    ]
    assert len(set(different)) == len(different)


def test_route_is_tunnelled_through_a_proxy_to_https_only() -> None:
    proxy = Proxy.of("http://p.example")
    assert Route(parse("https://example.org").origin, proxy).tunnelled
    assert not Route(parse("http://example.org").origin, proxy).tunnelled
    assert not Route(parse("https://example.org").origin).tunnelled


def test_route_says_where_it_leads_and_no_secret() -> None:
    text = str(
        Route(parse("https://example.org").origin, Proxy.of("http://user:secret@p.example:3128"), None, "/run/s")
    )
    assert "example.org" in text
    assert "p.example:3128" in text
    assert "/run/s" in text
    assert "secret" not in text
