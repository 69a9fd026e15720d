"""A proxy as a value."""

from __future__ import annotations

import copy
import pickle
import ssl
from base64 import b64decode
from typing import Any

import pytest

from aiohttpconn import BasicAuth, DigestAuth, InvalidHeader, InvalidURL, Proxy, UnsupportedScheme
from aiohttpconn.url import parse

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
DIGEST = DigestAuth("ada", "lovelace")


def basic(proxy: Proxy) -> bytes:
    value = dict(proxy.fields)["Proxy-Authorization"]
    return b64decode(value.removeprefix("Basic "))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://p.example", ("http", "p.example", 80)),
        ("HTTPS://P.example:8443/", ("https", "p.example", 8443)),
        ("https://[::1]", ("https", "::1", 443)),
        ("socks5h://p.example", ("socks5h", "p.example", 1080)),
        ("socks4a://p.example:443", ("socks4a", "p.example", 443)),
    ],
)
def test_where_it_is(url: str, origin: Any) -> None:
    assert Proxy(url).origin == origin


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("http://ada:lovelace@p", b"ada:lovelace"),
        ("http://ada@p", b"ada:"),
        ("http://:x@p", b":x"),
        ("http://a%ff:%00%FEb@p", b"a\xff:\x00\xfeb"),
        ("http://%C3%A4:%3A@p", "ä::".encode()),
        ("https://a:b%40c@p", b"a:b@c"),
    ],
)
def test_credentials_are_the_bytes_of_the_url(url: str, credentials: bytes) -> None:
    assert basic(Proxy(url)) == credentials


def test_credentials_by_auth() -> None:
    assert basic(Proxy("http://p", auth=("ä", b"\xff:"))) == "ä".encode() + b":\xff:"
    assert basic(Proxy("http://x:y@p", auth=("a", "b"))) == b"a:b"
    assert dict(Proxy("http://p", auth=BasicAuth("a", "b")).fields_for("CONNECT", "x:443")) == {
        "Proxy-Authorization": "Basic YTpi"
    }
    assert Proxy("socks5://p", auth=("a", b"\xff")).credentials == ("a", "\udcff")
    assert Proxy("http://p", auth=DIGEST).fields_for("CONNECT", "x:443") == []  # nobody has asked yet


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(InvalidURL, match="colon"):
        Proxy("http://a%3Ab:c@p")
    with pytest.raises(InvalidHeader, match="colon"):
        Proxy("http://p", auth=("a:b", "c"))
    assert Proxy("socks5://a%3Ab:c@p").credentials == ("a:b", "c")
    with pytest.raises(InvalidHeader):
        Proxy("http://p", headers={"X": "a\r\nb"})
    for name in ("Host", "content-length", "Transfer-Encoding", "Connection"):
        with pytest.raises(InvalidHeader, match=name):
            Proxy("http://p", headers={name: "1"})
    with pytest.raises(InvalidHeader, match="SOCKS"):
        Proxy("socks5://p", headers={"X": "a"})
    for wrong in ("ada", ("a",), (1, 2), 5):
        with pytest.raises(TypeError):
            Proxy("http://p", auth=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="user, password"):
        Proxy("socks5://p", auth=DIGEST)
    with pytest.raises(TypeError, match="https"):
        Proxy("http://p", context=CONTEXT)
    with pytest.raises(UnsupportedScheme, match="socks5h"):
        Proxy("quic://p")


def test_it_is_a_value() -> None:
    def make(**options: Any) -> Proxy:
        return Proxy("https://p", **{"auth": ("a", "b"), "headers": {"X": "y"}, "context": CONTEXT} | options)

    one = make()
    assert one == make()
    assert hash(one) == hash(make())
    others = [make(auth=("a", "c")), make(headers={"X": "z"}), make(context=None), Proxy("https://q"), "https://p"]
    assert all(one != other for other in others)
    assert len({one, make(), *others}) == 6
    with pytest.raises(AttributeError, match="immutable"):
        one.origin = parse("http://q").origin  # type: ignore[misc]
    plain = make(context=None)
    assert pickle.loads(pickle.dumps(plain)) == plain
    with pytest.raises(TypeError, match=r"a Proxy with context= cannot be pickled"):
        pickle.dumps(one)
    for each in (one, plain, make(auth=DIGEST)):
        assert copy.deepcopy([each]) == [copy.copy(each)] == [each]
    assert Proxy.of(one) is one
    assert Proxy.of("http://a:b@p") == Proxy(parse("http://a:b@p")) == Proxy("http://p", auth=("a", "b"))


def test_its_repr_has_no_secrets() -> None:
    for proxy in (
        Proxy("http://ada:lovelace@p"),
        Proxy("socks5://ada:lovelace@p"),
        Proxy("http://p", auth=DIGEST),
        Proxy("http://p", auth=("ada", "lovelace"), headers={"X-Token": "lovelace"}),
    ):
        assert repr(proxy) == f"<Proxy {proxy.origin} with credentials>"
    assert repr(Proxy("http://p")) == "<Proxy http://p>"
