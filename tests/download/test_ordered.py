"""`client.stream_ranges`: ranges side by side as one stream in order."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import (
    Client,
    FileChanged,
    Hooks,
    HTTPException,
    IncompleteRead,
    Limits,
    StreamClosed,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.download.handover import HandOver
from aiohttpconn.download.ordered import LEAST_WINDOW
from tests.cancellation import cancel_everywhere
from tests.download.server import BODY, MIB, Answer, FileServer, cut_first, silent
from tests.servers.origin import pattern

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttpconn import Request, Response
    from aiohttpconn.download import RangeStream
    from tests.servers.nginx import Nginx
    from tests.servers.raw import Received


async def read(client: Client, url: str, **options: int | str) -> bytes:
    """Everything."""
    async with client.stream_ranges(url, **options) as stream:  # type: ignore[arg-type]
        return b"".join([piece async for piece in stream])


async def test_the_bytes_come_in_order(nginx: Nginx, client: Client) -> None:
    stream = client.stream_ranges(f"{nginx.http}/big", segments="auto", window=2 * MIB)
    assert stream.size is None
    body = b"".join([piece async for piece in stream])
    assert body == pattern(nginx.big)
    assert stream.size == nginx.big
    assert stream.headers is not None
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_no_more_than_the_window_is_fetched_ahead(server: FileServer, client: Client) -> None:
    async with client.stream_ranges(server.url, segments=2, window=MIB) as stream:
        while len(server.requests) < 2:
            await anext(stream)
        highest = max(int(asked.partition("-")[2]) for asked in server.asked if asked)
        assert highest < 2 * MIB
    assert client.stats().in_use == 0  # the block was left in the middle


@pytest.mark.parametrize("kind", ["no-ranges", "no-validator", "one-segment", "small", "until-close"])
async def test_what_comes_over_one_connection(kind: str, server: FileServer, client: Client) -> None:
    if kind == "no-ranges":
        server.ranges, server.fields = False, [("Accept-Ranges", "none")]
    elif kind == "no-validator":
        server.etag = server.modified = None
    elif kind == "until-close":
        server.twist = lambda request, number, answer: Answer(200, answer.fields, answer.body, length=-1)
    window = 64 * MIB if kind == "small" else MIB
    assert await read(client, server.url, window=window, segments=1 if kind == "one-segment" else 4) == BODY
    assert server.asked == [""]


async def test_a_server_that_says_nothing_of_ranges_is_asked(server: FileServer, client: Client) -> None:
    last = f"bytes={len(BODY) - 1}-{len(BODY) - 1}"
    server.twist = silent(until=3)  # and ranges are fetched while the first response is handed out
    assert await read(client, server.url, window=MIB) == BODY
    assert server.asked[:2] == ["", last]
    assert len(server.asked) > 4
    server.requests.clear()
    server.ranges, server.twist = False, silent(until=2)
    assert await read(client, server.url, window=MIB) == BODY
    assert server.asked == ["", last]


async def test_a_first_response_that_breaks_before_it_is_known_whether_ranges_are_heeded(
    server: FileServer, client: Client
) -> None:
    rest, shared = asyncio.Event(), asyncio.Event()
    unsaid = silent(until=2)

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer = unsaid(request, number, answer)
        if number == 0:
            answer.cut, answer.length = MIB, len(BODY)
        elif number == 1:  # the question: answered while what is missing comes, which is divided then
            answer.before = rest.wait
        elif number == 2:
            rest.set()
            answer.midway = shared.wait
        else:
            shared.set()
        return answer

    server.twist = twist
    assert await read(client, server.url, window=MIB) == BODY
    assert server.asked[2] == f"bytes={MIB}-{len(BODY) - 1}"
    assert len(server.asked) > 4


async def test_a_caller_that_takes_his_time_with_the_only_connection(server: FileServer) -> None:
    limits, timeout = Limits(max_connections=1), Timeout(pool=0.01)
    async with Client(trust_env=False, limits=limits, timeout=timeout) as client:
        # Two ranges: the first response's, and one that finds no connection.
        async with client.stream_ranges(server.url, segments=2, window=2 * len(BODY) + 4, repairs=0) as stream:
            body = await anext(stream)
            for waiting in (True, False):
                while bool(client.stats().waiting) is not waiting:
                    await asyncio.sleep(0)
            body += b"".join([piece async for piece in stream])
        assert body == BODY
    assert server.asked == ["", f"bytes={len(BODY) // 2 + 1}-{len(BODY) - 1}"]


def unheeded(kind: str, request: Received, answer: Answer) -> Answer:
    """What servers send that announce ranges, and do not heed them."""
    if kind == "whole":
        return Answer(200, answer.fields, BODY)
    if kind == "refused":
        return Answer(403, [], b"")
    fields = [field for field in answer.fields if field[0] != "Content-Range"]
    if kind == "elsewhere":
        return Answer(206, [*fields, ("Content-Range", f"bytes 5-{len(answer.body) + 4}/{len(BODY)}")], answer.body)
    if kind == "multipart":
        return Answer(206, [*fields, ("Content-Type", "multipart/byteranges; boundary=b")], b"--b--")
    assert kind == "coded"
    return Answer(206, [*answer.fields, ("Content-Encoding", "gzip")], answer.body)


@pytest.mark.parametrize("kind", ["whole", "refused", "elsewhere", "multipart", "coded"])
@pytest.mark.parametrize("heeded", [0, 7])
async def test_ranges_that_are_announced_and_not_heeded(
    kind: str, heeded: int, server: FileServer, client: Client
) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        return unheeded(kind, request, answer) if request.get("Range") and number > heeded else answer

    server.twist = twist
    checksum = "sha256:" + hashlib.sha256(BODY).hexdigest()
    assert await read(client, server.url, window=MIB, segments=3, checksum=checksum) == BODY
    assert server.asked.count("") == 2
    assert client.stats().in_use == 0


@pytest.mark.parametrize("cut", [None, MIB])
async def test_a_server_that_fails_with_ranges_only(cut: int | None, server: FileServer, client: Client) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if request.get("Range"):
            return Answer(500, [], b"")
        return answer if number or cut is None else cut_first(cut)(request, number, answer)

    server.twist = twist
    assert await read(client, server.url, window=MIB, repairs=0 if cut is None else 1) == BODY
    assert server.asked.count("") == 2


async def test_a_first_response_that_breaks_where_ranges_are_not_heeded(server: FileServer, client: Client) -> None:
    server.ranges, server.twist = False, cut_first(MIB)
    assert await read(client, server.url, segments=1) == BODY
    assert server.asked == ["", f"bytes={MIB}-{len(BODY) - 1}", ""]


async def test_what_is_fetched_again_as_a_whole_has_to_be_the_same(server: FileServer, client: Client) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if request.get("Range"):
            return Answer(403, [], b"")
        server.etag = '"v2"'  # of the next
        return answer

    server.twist = twist
    handed_out = 0
    with pytest.raises(FileChanged):
        async for piece in client.stream_ranges(server.url, window=MIB):
            assert piece == BODY[handed_out : (handed_out := handed_out + len(piece))]
    assert 0 < handed_out < len(BODY)


async def test_what_breaks_is_repaired(server: FileServer, client: Client) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if number in (0, 1, 3, 6):
            answer.length, answer.cut = len(answer.body), 50_000
        return answer

    server.twist = twist
    assert await read(client, server.url, window=MIB, segments=3) == BODY
    server.ranges = False
    server.twist = lambda request, number, answer: cut_first(MIB)(request, 0, answer)
    with pytest.raises((IncompleteRead, HTTPException)):
        await read(client, server.url)


async def test_a_file_that_changes_is_an_error(server: FileServer, client: Client) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        server.etag = '"v2"'
        return answer

    server.twist = twist
    stream = client.stream_ranges(server.url, window=MIB)
    for _ in range(2):  # and again, not an end
        with pytest.raises(FileChanged):
            assert [piece async for piece in stream]


@pytest.mark.parametrize("kind", ["", "unsaid", "whole"])
async def test_cancelled_anywhere_leaves_nothing(kind: str, server: FileServer, client: Client) -> None:
    if kind == "unsaid":
        server.twist = silent()
    elif kind:  # the whole of it is fetched again
        server.twist = lambda request, number, answer: (
            unheeded(kind, request, answer) if request.get("Range") else answer
        )

    async def scenario() -> None:
        assert await read(client, server.url, window=MIB, segments=2) == BODY

    def check() -> None:
        assert client.stats().in_use == 0

    assert await cancel_everywhere(scenario, check, limit=2000) > 10


async def test_a_range_whose_request_is_cancelled_by_itself(server: FileServer) -> None:
    def end(request: Request) -> None:
        if "Range" in request.headers:
            raise asyncio.CancelledError  # as of a task that an auth flow shares

    async with Client(hooks=Hooks(on_request=end)) as client:
        stream = client.stream_ranges(server.url, segments=3, window=MIB)
        with pytest.raises(StreamClosed):
            async for _ in stream:
                pass
        await stream.aclose()


def test_on_another_loop_it_is_neither_read_nor_closed() -> None:
    async def make() -> AsyncGenerator[bytes]:
        while True:
            yield b"x"

    pieces = HandOver(make, "streaming", None)
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(pieces.take()) == b"x"
        for call in (pieces.take, pieces.close):
            with asyncio.Runner() as runner, pytest.raises(RuntimeError, match="another event loop"):
                runner.run(call())  # type: ignore[arg-type]
        loop.run_until_complete(pieces.close())
    finally:
        loop.close()


async def test_a_wait_that_is_cancelled_loses_nothing(server: FileServer, client: Client) -> None:
    pieces, cancelled = [], 0
    checksum = "sha256:" + hashlib.sha256(BODY).hexdigest()
    async with client.stream_ranges(server.url, segments=3, window=LEAST_WINDOW, checksum=checksum) as stream:
        while True:
            task = asyncio.create_task(anext(stream, b""))
            for _ in range(len(pieces) % 4 + cancelled % 3):
                await asyncio.sleep(0)
            task.cancel()
            try:
                pieces.append(await task)
            except asyncio.CancelledError:
                cancelled += 1
            else:
                if not pieces[-1]:
                    break
    assert b"".join(pieces) == BODY
    assert cancelled > 2


async def waiting(server: FileServer, stream: RangeStream, until: asyncio.Event) -> asyncio.Task[bytes]:
    """A task that waits for the second piece."""

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.midway = until.wait
        return answer

    server.twist = twist
    assert await anext(stream)
    task = asyncio.create_task(anext(stream))
    for _ in range(9):
        await asyncio.sleep(0)
    return task


async def test_closed_while_a_task_waits(server: FileServer, client: Client) -> None:
    stream = client.stream_ranges(server.url, segments=1)
    task = await waiting(server, stream, asyncio.Event())
    await stream.aclose()
    for again in (task, anext(stream), anext(stream)):
        with pytest.raises(StreamClosed, match="before its end"):
            await again
    await stream.aclose()
    assert client.stats().in_use == 0


@pytest.mark.parametrize("segments", [1, 3])
async def test_closed_by_a_hook_of_its_own_request(server: FileServer, segments: int) -> None:
    async def close(response: Response) -> None:
        await stream.aclose()

    async with Client(hooks=Hooks(on_response=close), trust_env=False) as client, asyncio.timeout(10):
        stream = client.stream_ranges(server.url, segments=segments)
        with pytest.raises(StreamClosed):
            async for _ in stream:
                pass
        await stream.aclose()
        assert client.stats().in_use == 0


async def test_closed_when_all_has_come_and_not_been_taken(server: FileServer, client: Client) -> None:
    server.body = BODY[:200_000]
    until = asyncio.Event()

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.midway = until.wait
        return answer

    server.twist = twist
    stream = client.stream_ranges(server.url, segments=1)
    assert len(await anext(stream)) <= 65536
    until.set()
    while client.stats().in_use:
        await asyncio.sleep(0)
    for _ in range(9):
        await asyncio.sleep(0)
    await stream.aclose()
    with pytest.raises(StreamClosed):
        await anext(stream)


async def test_one_task_waits_at_a_time(server: FileServer, client: Client) -> None:
    async with client.stream_ranges(server.url, segments=1) as stream:
        until = asyncio.Event()
        task = await waiting(server, stream, until)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        until.set()
        second = await task
        rest = b"".join([piece async for piece in stream])
        assert BODY.endswith(second + rest)
        assert len(BODY) - len(second + rest) == 65536


async def test_the_limit_of_time_is_for_all_of_it(server: FileServer, client: Client) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.before = partial(asyncio.sleep, 0.02)
        return answer

    server.twist = twist  # a second in all, no response more than 0.02 s
    stream = client.stream_ranges(server.url, segments=2, window=LEAST_WINDOW, timeout=Timeout(total=0.2))
    with pytest.raises(TotalTimeout, match=r"0\.2 s in all"):
        async for _ in stream:
            pass
    with pytest.raises(TotalTimeout):
        await anext(stream)
    assert client.stats().in_use == 0


async def test_what_cannot_be_asked_for(client: Client) -> None:
    for options in ({"segments": 0}, {"window": 1}):
        with pytest.raises(ValueError, match="must be"):
            client.stream_ranges("http://localhost/", **options)  # type: ignore[arg-type]


async def test_a_loop_that_is_left_without_a_block_lets_go(server: FileServer, client: Client) -> None:
    noise: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: noise.append(context))
    for pieces in (1, 20):  # within the first response, and of the ranges
        async for _ in client.stream_ranges(server.url, segments=3, window=MIB):
            pieces -= 1
            if not pieces:
                break
        while client.stats().in_use:
            await asyncio.sleep(0)
    assert not noise
