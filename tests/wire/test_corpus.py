"""The shared corpora of response heads and bodies, through the wire alone and end to end over a socket."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import AsyncHTTPConnection, HTTPException, IncompleteRead
from aiohttpconn.wire.framing import Framing, response_framing
from aiohttpconn.wire.head import HeadParser
from tests.corpus import load
from tests.servers.raw import Close, EndSending, Head, Hold, Send
from tests.wire.pieces import Played, cut, cuttings, play

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttpconn.messages import ResponseHead
    from tests.servers.raw import Connection, RawServer

pytestmark = pytest.mark.corpus

RESPONSES: list[dict[str, Any]] = load("llhttp_response.json")["cases"]
HEADS: list[dict[str, Any]] = load("response_heads.json")["cases"]

# Its bytes end after "0\r\n": by section 3 (closed after the last chunk's line, before the end of the trailers) and by
# its own sibling, "Chunk extensions quoting", that is IncompleteRead. Its contract field says that it is a response.
CUT_SHORT = "Unbalanced chunk extensions quoting"

FRAMINGS = {
    Framing.NONE: "none",
    Framing.LENGTH: "content-length",
    Framing.CHUNKED: "chunked",
    Framing.CLOSE: "close",
    Framing.UPGRADE: "upgrade",
}


def identify(case: dict[str, Any]) -> str:
    return f"{case['file'].rpartition('/')[2]}:{case['line']} {case['name']}"


def as_param(case: dict[str, Any]) -> Any:
    if case["name"] != CUT_SHORT:
        return pytest.param(case, id=identify(case))
    return pytest.param(
        case,
        id=identify(case),
        marks=pytest.mark.xfail(reason="the case contradicts the contract that it quotes (see CUT_SHORT)", strict=True),
    )


def b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def pairs(fields: list[list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in fields]


def heads(expected: list[dict[str, Any]]) -> list[tuple[int, str, int, list[tuple[str, str]]]]:
    return [(each["status"], each["reason"], each["version"], pairs(each["headers"])) for each in expected]


def check_interim(contract: dict[str, Any], interim: list[ResponseHead]) -> None:
    got = [(head.status, head.reason, head.version, list(head.headers.items())) for head in interim]
    if "interim" in contract:
        assert got == heads(contract["interim"])


def check_error(contract: dict[str, Any], error: HTTPException | None, stage: str) -> None:
    """The error is of the class, came at the stage, and holds what the contract says."""
    assert error is not None, "no error"
    assert type(error).__name__ in {contract["error"], *contract.get("error_also", ())}
    assert stage == contract["stage"]
    if type(error).__name__ in ("BadStatusLine", "BadHeader") and contract["error"] == type(error).__name__:
        assert error.line == contract["line"]  # type: ignore[attr-defined]
    if isinstance(error, IncompleteRead) and "missing" in contract:
        assert error.expected == contract["missing"]


# --- the wire alone ---------------------------------------------------------------------------------------------------


def check_played(contract: dict[str, Any], played: Played) -> None:
    check_interim(contract, played.interim)
    expected_head = contract if contract["outcome"] == "response" else contract.get("head")
    if expected_head is not None:
        assert played.head is not None
        got = played.head.status, played.head.reason, played.head.version, list(played.head.headers.items())
        assert [got] == heads([expected_head])
    if contract["outcome"] == "error":
        check_error(contract, played.error, played.stage)
        if "partial_b64" in contract:
            assert played.body == b64(contract["partial_b64"])
        return
    assert played.error is None
    assert played.framing is not None
    kind, _, reusable = played.framing
    assert FRAMINGS[kind] == contract["framing"]
    assert played.body == b64(contract["body_b64"])
    assert played.unread == b64(contract["raw_b64"] if kind is Framing.UPGRADE else contract["unread_b64"])
    assert (reusable and not played.unread) is contract["reusable"]


@pytest.mark.parametrize("case", [as_param(case) for case in RESPONSES])
def test_response_on_the_wire(case: dict[str, Any]) -> None:
    contract = case["contract"]
    for parts in cuttings(b64(case["input_b64"]), randomly=6):
        check_played(contract, play(parts, contract["request"]["method"]))


def test_the_case_that_is_cut_short_is_an_incomplete_read() -> None:
    (case,) = [case for case in RESPONSES if case["name"] == CUT_SHORT]
    assert b64(case["input_b64"]).endswith(b"\r\n0\r\n")
    for parts in cuttings(b64(case["input_b64"])):
        played = play(parts)
        assert type(played.error) is IncompleteRead
        assert played.stage == "read"
        assert played.error.expected is None
        assert played.body == b"hello world"
    whole = play([b64(case["input_b64"]) + b"\r\n"])
    assert whole.error is None
    assert whole.body == b"hello world"


# --- end to end -------------------------------------------------------------------------------------------------------


def some_cuttings(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and twice at random."""
    chance = random.Random(len(data))
    places = [[chance.randrange(1, len(data)) for _ in range(chance.randint(1, 5))] for _ in range(2)]
    return [cut(data, at) for at in ([], range(len(data)), *places)]


class Server:
    """Plays one case, cut in one way after the other, a connection for each; then closes, or holds the connection."""

    def __init__(self, pieces: list[list[bytes]], *, stays: bool) -> None:
        self.pieces = pieces
        self.stays = stays
        self.sent = [asyncio.Event() for _ in pieces]

    async def __call__(self, reader: object, writer: object, conn: Connection) -> None:
        await Head().play(conn)
        ends, end = [], 0
        for piece in self.pieces[conn.number]:
            end += len(piece)
            ends.append(end)
        try:
            await Send(b"".join(self.pieces[conn.number]), cuts=tuple(ends[:-1])).play(conn)
            if not self.stays:
                conn.end_sending()
        finally:
            self.sent[conn.number].set()  # also where the client has closed by now, as it may
        await Hold().play(conn)


async def check_exchange(case: dict[str, Any], server: RawServer, sent: asyncio.Event, *, stays: bool) -> None:
    contract = case["contract"]
    interim: list[ResponseHead] = []
    conn = AsyncHTTPConnection("127.0.0.1", server.port, timeout=10)
    conn.on_interim = interim.append
    try:
        fields = {"Connection": "Upgrade", "Upgrade": "h2c"} if contract["request"]["upgrade"] else {}
        await conn.request(contract["request"]["method"], "/", headers=fields)
        stage = "getresponse"
        body = b""
        response = None
        error: HTTPException | None = None
        try:
            response = await conn.getresponse()
            stage = "read"
            if contract["outcome"] == "response" and contract["framing"] == "upgrade":
                await check_upgraded(contract, conn, response)
                return
            body = await response.read()
        except HTTPException as caught:
            error = caught
        check_interim(contract, interim)
        expected_head = contract if contract["outcome"] == "response" else contract.get("head")
        if expected_head is not None:
            assert response is not None
            got = response.status, response.reason, response.version, response.getheaders()
            assert [got] == heads([expected_head])
        if contract["outcome"] == "error":
            check_error(contract, error, stage)
            if isinstance(error, IncompleteRead) and "partial_b64" in contract:
                assert error.partial == b64(contract["partial_b64"])
            assert not conn.is_connected
            assert not conn.reusable
            return
        if error is not None:
            raise error
        assert response is not None
        assert body == b64(contract["body_b64"])
        assert response.chunked is (contract["framing"] == "chunked")
        assert response.isclosed()
        await sent.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        if stays:
            # `reusable`: were the peer to stay, as it does here.
            assert conn.reusable is contract["reusable"]
        else:
            assert not conn.reusable
            assert contract["unread_b64"] or response.will_close is (not contract["reusable"])
    finally:
        await conn.close()


async def check_upgraded(contract: dict[str, Any], conn: AsyncHTTPConnection, response: Any) -> None:
    assert (response.status, response.reason, response.version) == (101, contract["reason"], contract["version"])
    assert response.getheaders() == pairs(contract["headers"])
    reader, writer = await response.detach()
    try:
        assert await reader.read() == b64(contract["raw_b64"])
    finally:
        writer.close()
    assert not conn.is_connected


@pytest.mark.parametrize("case", [as_param(case) for case in RESPONSES])
async def test_response_end_to_end(case: dict[str, Any], raw_server: Callable[..., Awaitable[RawServer]]) -> None:
    contract = case["contract"]
    data = b64(case["input_b64"])
    can_stay = contract["outcome"] == "response" and contract["framing"] not in ("close", "upgrade")
    for stays in (False, True) if can_stay else (False,):
        ways = some_cuttings(data)
        script = Server(ways, stays=stays)
        server = await raw_server(script)
        for number in range(len(ways)):
            await check_exchange(case, server, script.sent[number], stays=stays)
        await server.wait_idle()


async def test_the_case_that_is_cut_short_end_to_end(raw_server: Callable[..., Awaitable[RawServer]]) -> None:
    (case,) = [case for case in RESPONSES if case["name"] == CUT_SHORT]
    server = await raw_server([Head(), Send(b64(case["input_b64"])), EndSending(), Close()])
    async with AsyncHTTPConnection("127.0.0.1", server.port) as conn:
        await conn.request("GET", "/")
        response = await conn.getresponse()
        with pytest.raises(IncompleteRead) as caught:
            await response.read()
    assert caught.value.partial == b"hello world"
    assert caught.value.expected is None


# --- heads of real servers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in HEADS])
def test_real_head_parses_at_every_split(case: dict[str, Any]) -> None:
    data = b64(case["head_b64"])
    in_two = ([data[:at], data[at:]] for at in range(1, len(data)))
    for parts in (*cuttings(data), *in_two):
        parser = HeadParser()
        found = [head for piece in parts if (head := parser.feed(piece)) is not None]
        assert len(found) == 1
        assert not parser.rest
        head = found[0]
        assert (head.status, head.reason, head.version) == (case["status"], case["reason"], case["version"])
        assert list(head.headers.items()) == pairs(case["headers"])
        kind, length, reusable = response_framing(head, case["method"])
        assert (FRAMINGS[kind], length, reusable) == (case["framing"], case["length"], case["reusable"])
