"""SOCKS without I/O: what goes out byte for byte, and every reply, whole and cut in every place."""

from __future__ import annotations

import pickle
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn.errors import ConnectError, HTTPException, InvalidURL, ProtocolError, ProxyError
from aiohttpconn.wire.socks import (
    KINDS,
    NAMES_GO_TO_PROXY,
    REPLIES4,
    REPLIES5,
    SocksHandshake,
    SocksRefused,
    check_credentials,
)
from tests.wire.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

ADA = ("ada", "s3cret-lace")
NONE, LOGIN = b"\x05\x00", b"\x05\x02"
ACCEPTED = b"\x01\x00"
REQUEST = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"
CREDENTIALS = b"\x01\x03ada\x0bs3cret-lace"
CONNECTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90"
GRANTED = b"\x00\x5a\x1f\x90\x7f\x00\x00\x01"
V6 = bytes(15) + b"\x01"


def socks5(credentials: tuple[str, str] | None = None) -> SocksHandshake:
    return SocksHandshake("socks5h", "example.org", 443, credentials)


def ways_to_cut(data: bytes) -> Iterator[list[bytes]]:
    """Byte by byte, whole, and in every one and two places (of the first 40 bytes)."""
    yield cut(data, range(len(data)))
    for places in range(3):
        for at in combinations(range(1, min(len(data), 40)), places):
            yield cut(data, at)


def play(handshake: SocksHandshake, parts: list[bytes]) -> tuple[bytes, tuple[Any, Any]]:
    """What goes out after the opening, and what it comes to: an error, or what is bound and the rest."""
    sent = b""
    try:
        for part in parts:
            sent += handshake.feed(part)
    except HTTPException as error:
        return sent, (type(error), str(error))
    if not handshake.done:
        error = handshake.closed()
        return sent, (type(error), str(error))
    return sent, (handshake.bound, handshake.rest)


def play_all_ways(kind: Any, replies: bytes, credentials: tuple[str, str] | None = None) -> tuple[bytes, Any]:
    """`play` under every cutting of `replies`; that it comes to the same each time.

    What was sent before an error counts byte by byte only: of replies that run ahead the last is met first.
    """
    first = None
    for parts in ways_to_cut(replies):
        sent, outcome = play(SocksHandshake(kind, "example.org", 443, credentials), parts)
        if first is None:
            first = sent, outcome  # byte by byte: each reply comes after what it replies to
        assert outcome == first[1], f"another outcome when cut into {parts[:20]}"
        assert sent == first[0] or isinstance(outcome[0], type), f"something else sent when cut into {parts[:20]}"
    assert first is not None
    return first


# --- what goes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "host", "request_"),
    [
        ("socks5h", "example.org", REQUEST),
        ("socks5h", "bücher.example", b"\x05\x01\x00\x03\x15xn--bcher-kva.example\x01\xbb"),
        ("socks5h", "example.org.", b"\x05\x01\x00\x03\x0cexample.org.\x01\xbb"),
        ("socks5h", "1.2.3.4", b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb"),
        ("socks5", "1.2.3.4", b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb"),
        ("socks5h", "::1", b"\x05\x01\x00\x04" + V6 + b"\x01\xbb"),
        ("socks5", "::1", b"\x05\x01\x00\x04" + V6 + b"\x01\xbb"),
        ("socks5h", "x" * 255, b"\x05\x01\x00\x03\xff" + b"x" * 255 + b"\x01\xbb"),
        ("socks5h", "1.2.3.4.5", b"\x05\x01\x00\x03\x091.2.3.4.5\x01\xbb"),
    ],
)
def test_request_of_socks5(kind: Any, host: str, request_: bytes) -> None:
    handshake = SocksHandshake(kind, host, 443)
    assert handshake.opening == b"\x05\x01\x00"
    assert handshake.feed(NONE) == request_
    assert handshake.feed(CONNECTED) == b""
    assert handshake.done


@pytest.mark.parametrize(
    ("kind", "host", "credentials", "request_"),
    [
        ("socks4", "1.2.3.4", None, b"\x04\x01\x01\xbb\x01\x02\x03\x04\x00"),
        ("socks4", "1.2.3.4", ("ada", ""), b"\x04\x01\x01\xbb\x01\x02\x03\x04ada\x00"),
        ("socks4a", "1.2.3.4", ("é", ""), b"\x04\x01\x01\xbb\x01\x02\x03\x04\xc3\xa9\x00"),
        ("socks4a", "example.org", None, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.org\x00"),
        ("socks4a", "example.org", ("ada", ""), b"\x04\x01\x01\xbb\x00\x00\x00\x01ada\x00example.org\x00"),
        ("socks4a", "bücher.example", None, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00xn--bcher-kva.example\x00"),
        ("socks4", "0.0.0.0", None, b"\x04\x01\x01\xbb\x00\x00\x00\x00\x00"),
    ],
)
def test_request_of_socks4(kind: Any, host: str, credentials: tuple[str, str] | None, request_: bytes) -> None:
    handshake = SocksHandshake(kind, host, 443, credentials)
    assert handshake.opening == request_
    assert handshake.feed(GRANTED) == b""
    assert handshake.done


def test_credentials_go_out_only_when_the_proxy_asks_for_them() -> None:
    assert socks5(ADA).opening == b"\x05\x02\x02\x00"
    assert play(socks5(ADA), [NONE, CONNECTED])[0] == REQUEST
    handshake = socks5(ADA)
    assert handshake.feed(LOGIN) == CREDENTIALS
    assert handshake.feed(ACCEPTED) == REQUEST


def test_credentials_are_utf8_of_up_to_255_bytes() -> None:
    handshake = socks5(("é" * 127 + "x", "p" * 255))
    assert handshake.feed(LOGIN) == b"\x01\xff" + b"\xc3\xa9" * 127 + b"x\xff" + b"p" * 255


@pytest.mark.parametrize("port", [0, 1, 256, 65535])
def test_ports(port: int) -> None:
    assert SocksHandshake("socks5", "1.2.3.4", port).feed(NONE)[-2:] == port.to_bytes(2)
    assert SocksHandshake("socks4", "1.2.3.4", port).opening[2:4] == port.to_bytes(2)


# --- what cannot go out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(NAMES_GO_TO_PROXY))
@pytest.mark.parametrize("host", ["", "a b", "a\0b", "a\r\nb", "x" * 256, "[::1]", "fe80::zz", "é" * 300, "a\x7f"])
def test_names_that_the_protocol_cannot_carry(kind: Any, host: str) -> None:
    with pytest.raises(InvalidURL):
        SocksHandshake(kind, host, 443)


@pytest.mark.parametrize("kind", sorted(KINDS - NAMES_GO_TO_PROXY))
def test_a_name_is_not_left_to_a_proxy_that_is_to_get_addresses(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"takes an address, not the name 'example\.org'"):
        SocksHandshake(kind, "example.org", 443)


@pytest.mark.parametrize("kind", ["socks4", "socks4a"])
def test_ipv6_with_socks4_is_proxy_error(kind: Any) -> None:
    with pytest.raises(ProxyError, match=r"SOCKS 4 has no IPv6 addresses, and 2001:db8::1 is one; SOCKS 5 has"):
        SocksHandshake(kind, "2001:db8::1", 443)


@pytest.mark.parametrize("kind", ["socks4", "socks4a"])
def test_an_address_that_socks4_takes_for_the_mark_of_a_name_is_proxy_error(kind: Any) -> None:
    with pytest.raises(ProxyError, match=r"0\.0\.0\.7"):
        SocksHandshake(kind, "0.0.0.7", 443)


def test_an_address_with_a_zone_is_invalid_url() -> None:
    with pytest.raises(InvalidURL, match="zone"):
        SocksHandshake("socks5", "fe80::1%2", 443)


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_that_cannot_be(port: int) -> None:
    with pytest.raises(InvalidURL, match="port"):
        SocksHandshake("socks5h", "example.org", port)


def test_kinds_that_are_not() -> None:
    with pytest.raises(ValueError, match="socks6"):
        SocksHandshake("socks6", "example.org", 443)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "user", "password"),
    [
        ("socks5", "", "hushhush"),
        ("socks5", "hushhush", ""),
        ("socks5h", "hushhush" * 32, "x"),
        ("socks5h", "x", "hushhush" * 32),
        ("socks5", "hushhush" + "é" * 124, "x"),
        ("socks5", "x", "hushhush\ud800"),
        ("socks4", "hushhush\0", ""),
        ("socks4", "hushhush", "hushhush"),
        ("socks4a", "hushhush" * 32, ""),
    ],
)
def test_credentials_that_the_protocol_cannot_carry_are_invalid_url_and_not_named(
    kind: Any, user: str, password: str
) -> None:
    for host in (None, "::"):
        with pytest.raises(InvalidURL) as caught:
            if host is None:
                check_credentials(kind, (user, password))
            else:
                SocksHandshake(kind, host, 1, (user, password))
        assert isinstance(caught.value, ValueError)
        assert "hushhush" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


# --- replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x05\x00", bytes(300)], ids=len)
@pytest.mark.parametrize(
    ("address", "bound"),
    [
        (b"\x01\x7f\x00\x00\x01", "127.0.0.1"),
        (b"\x01\x00\x00\x00\x00", "0.0.0.0"),
        (b"\x04" + V6, "::1"),
        (b"\x03\x04name", "name"),
        (b"\x03\x00", ""),
        (b"\x03\xff" + b"n" * 255, "n" * 255),
    ],
    ids=["IPv4", "zeros", "IPv6", "name", "no name", "long name"],
)
def test_bound_address_is_taken_exactly_and_the_rest_is_the_servers(address: bytes, bound: str, rest: bytes) -> None:
    replies = LOGIN + ACCEPTED + b"\x05\x00\x00" + address + b"\x1f\x90" + rest
    assert play_all_ways("socks5h", replies, ADA) == (CREDENTIALS + REQUEST, ((bound, 8080), rest))


@pytest.mark.parametrize("rest", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00\x5a"])
def test_grant_of_socks4_is_taken_exactly(rest: bytes) -> None:
    assert play_all_ways("socks4a", GRANTED + rest) == (b"", (("127.0.0.1", 8080), rest))


def test_nothing_is_bound_before_it_is() -> None:
    handshake = socks5()
    assert handshake.bound is None
    assert not handshake.done
    assert "before it said how to authenticate" in repr(handshake)


@pytest.mark.parametrize("tail", [b"", b"\x00", b"\x00\x01\0\0\0\0\0\0", b"\x00\x03\x05other\0\0"], ids=len)
@pytest.mark.parametrize("code", [*REPLIES5, 0x09, 0x7F, 0xFF])
def test_every_refusal_of_socks5_in_words(code: int, tail: bytes) -> None:
    """However little comes with it: not all proxies send an address that means nothing."""
    sent, (kind, text) = play_all_ways("socks5h", NONE + b"\x05" + bytes([code]) + tail)
    assert sent == REQUEST
    assert kind is SocksRefused
    assert text == f"{REPLIES5.get(code, 'unknown reason')} (code {code})"


def test_the_words_are_the_rfcs() -> None:
    assert {code: REPLIES5[code] for code in range(1, 9)} == {
        1: "general failure",
        2: "not allowed by its rules",
        3: "network unreachable",
        4: "host unreachable",
        5: "connection refused",
        6: "TTL expired",
        7: "command not supported",
        8: "address type not supported",
    }
    assert all("onion service" in REPLIES5[code] for code in range(0xF0, 0xF8))


@pytest.mark.parametrize("tail", [b"", b"\0", bytes(6)], ids=len)
@pytest.mark.parametrize("code", [*REPLIES4, 0, 89, 94, 255])
def test_every_refusal_of_socks4_in_words(code: int, tail: bytes) -> None:
    _, (kind, text) = play_all_ways("socks4a", b"\x00" + bytes([code]) + tail)
    assert kind is SocksRefused
    assert text == f"{REPLIES4.get(code, 'unknown reason')} (code {code})"


def test_a_refusal_has_its_code_and_pickles() -> None:
    handshake = socks5()
    handshake.feed(NONE)
    with pytest.raises(SocksRefused) as caught:
        handshake.feed(b"\x05\x05")
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, ConnectError)
    assert (again.code, again.status, str(again)) == (5, None, "connection refused (code 5)")


def test_credentials_wanted_and_not_given() -> None:
    sent, outcome = play_all_ways("socks5h", b"\x05\xff")
    assert (sent, outcome) == (b"", (ProxyError, "it wants credentials, and none were given"))


def test_no_method_accepted_though_credentials_were_given() -> None:
    sent, (kind, text) = play_all_ways("socks5h", b"\x05\xff", ADA)
    assert (sent, kind) == (b"", ProxyError)
    assert "neither a user and password, which were given, nor none" in text


@pytest.mark.parametrize("status", [1, 2, 0xFF])
def test_credentials_refused(status: int) -> None:
    sent, outcome = play_all_ways("socks5h", LOGIN + b"\x01" + bytes([status]), ADA)
    assert (sent, outcome) == (CREDENTIALS, (ProxyError, "it refused the user and password"))


# --- what is no reply -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "credentials", "replies", "text"),
    [
        ("socks5h", None, b"\x04\x00", "not SOCKS 5: it begins with the byte 0x04"),
        ("socks5h", None, b"SSH-2.0-x\r\n", "not SOCKS 5: it begins with the byte 0x53"),
        ("socks5h", None, b"\x00\x5a" + bytes(6), "not SOCKS 5: it begins with the byte 0x00"),
        ("socks5h", None, b"Hello", "not SOCKS 5: it begins with the byte 0x48"),
        ("socks5h", None, b"HTTX/", "not SOCKS 5: it begins with the byte 0x48"),
        ("socks5h", None, NONE + b"\x00\x00", "not SOCKS 5: it begins with the byte 0x00"),
        ("socks5h", ADA, LOGIN + b"\x05\x00", "not SOCKS 5: it begins with the byte 0x05"),
        ("socks5h", None, NONE + b"\x05\x00\x00\x02" + bytes(6), "address of unknown type 2"),
        ("socks5h", None, NONE + b"\x05\x00\x00\x00" + bytes(6), "address of unknown type 0"),
        ("socks5h", None, b"\x05\x01", "not offered (0x01)"),
        ("socks5h", None, b"\x05\x02", "not offered (0x02)"),
        ("socks5h", ADA, b"\x05\x80", "not offered (0x80)"),
        ("socks4a", None, b"\x04\x5a" + bytes(6), "not SOCKS 4: it begins with the byte 0x04"),
        ("socks4a", None, b"\x05\xff", "not SOCKS 4: it begins with the byte 0x05"),
        ("socks5h", None, b"\x15\x03\x01\x00\x02\x02\x46", "it answers in TLS"),
        ("socks4a", None, b"\x15\x03\x01\x00\x02\x02\x46", "it answers in TLS"),
        ("socks5h", None, b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers in HTTP"),
        ("socks4a", None, b"HTTP/1.0 400 Bad request\r\n\r\n", "it answers in HTTP"),
        ("socks5h", ADA, LOGIN + b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers in HTTP"),
        ("socks5h", None, NONE + b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers in HTTP"),
    ],
)
def test_garbage_is_protocol_error(kind: Any, credentials: tuple[str, str] | None, replies: bytes, text: str) -> None:
    _, (error, said) = play_all_ways(kind, replies, credentials)
    assert error is ProtocolError
    assert text in said


def test_garbage_is_noticed_at_its_first_byte() -> None:
    """A peer that waits for more must not hold up the error."""
    for handshake, byte in ((socks5(), b"\x04"), (SocksHandshake("socks4", "1.2.3.4", 1), b"\x05"), (socks5(), b"S")):
        with pytest.raises(ProtocolError):
            handshake.feed(byte)


@pytest.mark.parametrize(
    ("kind", "credentials", "replies", "text"),
    [
        ("socks5h", None, b"", "it closed the connection before it said how to authenticate"),
        ("socks5h", None, b"\x05", "it closed the connection before it said how to authenticate"),
        ("socks5h", ADA, LOGIN, "it closed the connection when it had got the credentials"),
        ("socks5h", ADA, LOGIN + b"\x01", "it closed the connection when it had got the credentials"),
        ("socks5h", None, NONE, "it closed the connection before it answered the request"),
        ("socks5h", None, NONE + CONNECTED[:-1], "it closed the connection before it answered the request"),
        ("socks4a", None, b"", "it closed the connection before it answered the request"),
        ("socks4a", None, GRANTED[:-1], "it closed the connection before it answered the request"),
        ("socks5h", None, b"HTT", "it answers in HTTP"),
    ],
)
def test_a_close_says_where(kind: Any, credentials: tuple[str, str] | None, replies: bytes, text: str) -> None:
    for parts in ways_to_cut(replies):
        _, outcome = play(SocksHandshake(kind, "example.org", 443, credentials), parts)
        assert outcome[0] is ProtocolError
        assert text in outcome[1]


@pytest.mark.parametrize("replies", [b"HTTP", LOGIN, NONE + b"\x05\x00\x00\x03\xff" + bytes(256)], ids=len)
def test_no_more_is_held_than_a_reply_has(replies: bytes) -> None:
    """The longest is 262 bytes: whatever comes after it, it is over."""
    handshake = socks5(ADA)
    handshake.feed(replies)
    assert len(handshake.rest) < 262
    try:
        handshake.feed(bytes(262))
    except HTTPException:
        return
    assert handshake.done


def test_no_message_has_the_credentials_in_it() -> None:
    for replies in (b"\x05\xff", LOGIN + b"\x01\x01", LOGIN, LOGIN + ACCEPTED + b"\x05\x02", b"HTTP/1.1 400 x"):
        _, outcome = play(socks5(ADA), [replies])
        assert ADA[0] not in str(outcome).split()
        assert ADA[1] not in str(outcome)
    assert ADA[1] not in repr(socks5(ADA))
