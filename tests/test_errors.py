"""The tree of errors: bases, fields, texts, pickles."""

from __future__ import annotations

import copy
import http.client
import inspect
import pickle
import re
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

import aiohttpconn
from aiohttpconn import AsyncHTTPConnection, Client, Request, errors
from aiohttpconn.errors import HTTPException
from aiohttpconn.url import parse
from tests.servers.origin import OriginServer
from tests.servers.proxy import ConnectProxy

# Section 5 of the contract: each name, and all that its direct bases must be.
TREE: dict[str, tuple[str, ...]] = {
    "HTTPException": ("Exception",),
    "InvalidURL": ("HTTPException", "ValueError"),
    "UnsupportedScheme": ("InvalidURL",),
    "InvalidHeader": ("HTTPException", "ValueError"),
    "InvalidMethod": ("HTTPException", "ValueError"),
    "BodyLengthMismatch": ("HTTPException", "ValueError"),
    "NetworkError": ("HTTPException", "OSError"),
    "ConnectError": ("NetworkError",),
    "ResolveError": ("ConnectError",),
    "TLSError": ("ConnectError",),
    "ProxyError": ("ConnectError",),
    "AddressBlocked": ("ConnectError",),
    "ReadError": ("NetworkError",),
    "WriteError": ("NetworkError",),
    "RequestTimeout": ("HTTPException", "TimeoutError"),
    "ConnectTimeout": ("RequestTimeout",),
    "ReadTimeout": ("RequestTimeout",),
    "WriteTimeout": ("RequestTimeout",),
    "PoolTimeout": ("RequestTimeout",),
    "TotalTimeout": ("RequestTimeout",),
    "ProtocolError": ("HTTPException",),
    "BadStatusLine": ("ProtocolError",),
    "RemoteDisconnected": ("BadStatusLine", "NetworkError", "ConnectionResetError"),
    "BadHeader": ("ProtocolError",),
    "LineTooLong": ("ProtocolError",),
    "TooManyFields": ("ProtocolError",),
    "UnknownTransferEncoding": ("ProtocolError",),
    "IncompleteRead": ("ProtocolError",),
    "ImproperConnectionState": ("HTTPException",),
    "CannotSendRequest": ("ImproperConnectionState",),
    "CannotSendHeader": ("ImproperConnectionState",),
    "ResponseNotReady": ("ImproperConnectionState",),
    "NotConnected": ("ImproperConnectionState",),
    "DecodingError": ("HTTPException",),
    "BodyTooLarge": ("HTTPException",),
    "TooSlow": ("HTTPException",),
    "BodyNotReplayable": ("HTTPException",),
    "RedirectBlocked": ("HTTPException",),
    "RobotsDenied": ("HTTPException",),
    "ChecksumMismatch": ("HTTPException",),
    "DownloadError": ("HTTPException",),
    "FileChanged": ("DownloadError",),
    "TooManyRedirects": ("HTTPException",),
    "HTTPStatusError": ("HTTPException",),
    "PoolClosed": ("HTTPException",),
    "StreamConsumed": ("HTTPException",),
    "StreamClosed": ("HTTPException",),
}

FIELDS = CIMultiDictProxy(CIMultiDict([("Proxy-Authenticate", "Basic"), ("Via", "a"), ("via", "b")]))

# An instance of every class, with its fields set, and what its text must say.
SAMPLES: list[tuple[HTTPException, list[str]]] = [
    (errors.ProxyError("refused", status=407, headers=FIELDS, body=b"who?"), ["refused"]),
    (errors.BadStatusLine("SSH-2.0-x"), ["SSH-2.0-x", "HTTP/1"]),
    (errors.RemoteDisconnected(), ["closed", "without sending a byte"]),
    (errors.RemoteDisconnected(bytes_received=17), ["closed", "17 bytes"]),
    (errors.BadHeader("na me: x", "not a field"), ["na me: x", "not a field"]),
    (errors.LineTooLong("the head", 70000, 65536), ["the head", "70000", "65536"]),
    (errors.TooManyFields(256), ["256", "fields"]),
    (errors.UnknownTransferEncoding("gzip, chunked"), ["gzip, chunked", "transfer coding"]),
    (errors.IncompleteRead(b"abc", 7), ["3 bytes", "7 more"]),
    (errors.IncompleteRead(b"abc", None, "no close_notify"), ["3 bytes", "no close_notify"]),
    (errors.TooManyRedirects("more than 20", history=["a", "b"]), ["more than 20"]),
    (errors.HTTPStatusError("404 Not Found", response=None), ["404"]),
]
SAMPLES += [
    (getattr(errors, name)("what came"), ["what came"])
    for name in TREE
    if name not in {type(sample).__name__ for sample, _ in SAMPLES}
]


def named(name: str) -> type[HTTPException]:
    found = getattr(errors, name)
    assert isinstance(found, type)
    return found


# --- the tree ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TREE)
def test_bases(name: str) -> None:
    assert tuple(base.__name__ for base in named(name).__bases__) == TREE[name]


@pytest.mark.parametrize("name", TREE)
def test_importable_from_the_top(name: str) -> None:
    assert getattr(aiohttpconn, name) is named(name)
    assert name in aiohttpconn.__all__


def test_there_are_no_others() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    assert defined == set(TREE)


def test_every_error_is_documented() -> None:
    for name in TREE:
        assert "__doc__" in vars(named(name)), name


def test_caught_by_the_builtin_that_it_also_is() -> None:
    for name, builtin in [
        ("ReadTimeout", TimeoutError),
        ("TLSError", OSError),
        ("RemoteDisconnected", ConnectionResetError),
        ("RemoteDisconnected", ConnectionError),
        ("RemoteDisconnected", OSError),
        ("UnsupportedScheme", ValueError),
    ]:
        assert issubclass(named(name), builtin)
    assert not issubclass(errors.ProtocolError, OSError)
    assert not issubclass(errors.RemoteDisconnected, errors.ReadError)


# --- http.client's shape ----------------------------------------------------------------------------------------------

# http.client has them, and this library does not: nothing here can raise them.
NOT_OURS = {"UnknownProtocol", "UnimplementedFileMode", "error", "UnknownTransferEncoding"}


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, value in vars(http.client).items()
        if inspect.isclass(value) and issubclass(value, http.client.HTTPException) and name not in NOT_OURS
    ),
)
def test_http_client_names_are_kept(name: str) -> None:
    theirs = getattr(http.client, name)
    ours = named(name)
    for base in theirs.__mro__:
        if base.__module__ == "builtins" and base is not object:
            assert issubclass(ours, base), f"{name} is no longer a {base.__name__}"
        elif base.__module__ == "http.client" and hasattr(errors, base.__name__):
            assert issubclass(ours, named(base.__name__)), f"{name} is no longer a {base.__name__}"


def test_fields_as_http_client_has_them() -> None:
    ours, theirs = errors.IncompleteRead(b"abc", 7), http.client.IncompleteRead(b"abc", 7)
    assert (ours.partial, ours.expected, ours.args[0]) == (theirs.partial, theirs.expected, theirs.args[0])
    assert errors.IncompleteRead(b"abc").expected is http.client.IncompleteRead(b"abc").expected is None
    assert errors.BadStatusLine("x").line == http.client.BadStatusLine("x").line == "x"
    assert errors.RemoteDisconnected().line == "", "no line came"


def test_fields_of_a_proxy_error() -> None:
    refusal = errors.ProxyError("no", status=407, headers=FIELDS, body=b"page")
    assert (refusal.status, refusal.headers, refusal.body) == (407, FIELDS, b"page")
    silence = errors.ProxyError("closed")
    assert (silence.status, silence.headers, silence.body) == (None, None, b"")


def test_status_error_takes_its_response_s_request() -> None:
    class Response:
        request = object()

    assert errors.HTTPStatusError("404", response=Response).request is Response.request
    assert errors.HTTPStatusError("404").request is None


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "words"), SAMPLES, ids=lambda value: type(value).__name__)
def test_text_says_what_came_and_what_was_being_done(error: HTTPException, words: list[str]) -> None:
    for word in words:
        assert word in str(error)
    told = copy.copy(error)
    told.doing = "GET http://example.org/"
    for word in words:
        assert word in str(told)
    assert "GET http://example.org/" in str(told)
    assert "\n" not in str(told)


def test_doing_may_be_given_to_every_constructor() -> None:
    for name in TREE:
        error = named(name)(doing="GET /x at host:80")
        assert error.doing == "GET /x at host:80"
        assert "host:80" in str(error)


def test_what_a_hostile_server_sent_is_shown_short_and_escaped() -> None:
    for error in (errors.BadStatusLine("\r\n\x1b[31m" + "x" * 100_000), errors.BadHeader("\x1b" + "x" * 100_000)):
        assert len(str(error)) < 400
        assert not re.search(r"[\x00-\x1f]", str(error))
        assert len(error.line) > 100_000 - 1


def test_error_without_a_message_still_says_its_name() -> None:
    assert str(errors.PoolClosed()) == "PoolClosed"


# --- pickles ----------------------------------------------------------------------------------------------------------


def same(left: Any, right: Any) -> bool:
    """The same fields, requests and header fields by what they hold."""
    if isinstance(left, Request) and isinstance(right, Request):
        return (left.method, str(left.url), list(left.headers.items())) == (
            right.method,
            str(right.url),
            list(right.headers.items()),
        )
    return bool(left == right)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("error", "words"), SAMPLES, ids=lambda value: type(value).__name__)
def test_every_error_pickles(error: HTTPException, words: list[str], protocol: int) -> None:
    error = copy.copy(error)
    error.doing = "GET http://example.org/"
    error.request = Request("GET", parse("http://example.org/a"), FIELDS, body=b"x")
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args
    fields = {name for name in (*vars(error), *vars(back)) if name != "headers"}
    for name in fields:
        assert same(getattr(back, name), getattr(error, name)), name


def test_header_fields_are_pickled_as_pairs() -> None:
    back = pickle.loads(pickle.dumps(errors.ProxyError("no", status=407, headers=FIELDS)))
    assert back.headers == tuple(FIELDS.items())
    again = pickle.loads(pickle.dumps(back))
    assert again.headers == back.headers


def test_request_with_a_body_that_is_a_stream_pickles_without_it() -> None:
    error = errors.WriteError("broke")
    error.request = Request("POST", parse("http://example.org/"), FIELDS, body=(piece for piece in [b"x"]))
    back = pickle.loads(pickle.dumps(error))
    assert back.request.method == "POST"
    assert back.request.body is None
    assert list(back.request.headers.items()) == list(FIELDS.items())


async def test_error_with_a_real_response_inside_pickles(http_server: OriginServer) -> None:
    async with Client() as client:
        response = await client.get(f"{http_server.url}/status/404")
        with pytest.raises(errors.HTTPStatusError) as caught:
            response.raise_for_status()
        back = pickle.loads(pickle.dumps(caught.value))
    assert back.response.status == 404
    assert back.response.content == response.content
    assert list(back.response.headers.items()) == list(response.headers.items())
    assert str(back.request.url) == str(response.request.url)
    assert str(back) == str(caught.value)


async def test_history_pickles(http_server: OriginServer) -> None:
    async with Client(max_redirects=2) as client:
        with pytest.raises(errors.TooManyRedirects) as caught:
            await client.get(f"{http_server.url}{'/redirect/302?' * 3}/")
        back = pickle.loads(pickle.dumps(caught.value))
    assert [response.status for response in back.history] == [302, 302, 302]
    assert [str(response.url) for response in back.history] == [str(r.url) for r in caught.value.history]
    assert str(back.request.url) == str(caught.value.request.url)


async def test_proxy_s_refusal_pickles(connect_proxy: ConnectProxy) -> None:
    connect_proxy.answer = b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\npage"
    conn = AsyncHTTPConnection("127.0.0.1", connect_proxy.port)
    conn.set_tunnel("example.org", 443)
    with pytest.raises(errors.ProxyError) as caught:
        await conn.connect()
    back = pickle.loads(pickle.dumps(caught.value))
    assert (back.status, back.body) == (407, b"page")
    assert ("Proxy-Authenticate", "Basic") in back.headers
    assert str(back) == str(caught.value)
