"""Bodies on one stream in their order: what is held back, who waits, and who must not."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from aiohttpconn.cli import output
from aiohttpconn.cli.exits import StandardOutputError
from aiohttpconn.cli.output import OrderedOutput
from tests.auditing import settle

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The reading end of a pipe that is standard output."""
    reading, writing = os.pipe()
    # Not sys.stdout itself: between a fixture and its test pytest sets that anew.
    monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=SimpleNamespace(fileno=lambda: writing)))
    yield reading
    for descriptor in (reading, writing):
        os.close(descriptor)


async def test_bodies_are_printed_in_order_whichever_comes_first(printed: int) -> None:
    ordered = OrderedOutput(3)
    printing = asyncio.create_task(ordered.run())
    for number, data in [(2, b"e"), (1, b"c"), (0, b"a"), (2, b"f"), (1, b"d"), (0, b"b")]:
        await ordered.write(number, data)
    for number in (2, 0, 1):
        ordered.finish(number)
    await printing
    assert os.read(printed, 100) == b"abcdef"


async def test_a_body_that_fails_gives_up_its_turn(printed: int) -> None:
    ordered = OrderedOutput(3)
    printing = asyncio.create_task(ordered.run())
    ordered.finish(0)
    await ordered.write(2, b"last")
    ordered.finish(2)
    ordered.finish(1)
    await printing
    assert os.read(printed, 100) == b"last"


async def test_above_the_limit_later_bodies_wait_and_the_one_whose_turn_it_is_does_not(
    printed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "HELD", 10)
    ordered = OrderedOutput(3)
    printing = asyncio.create_task(ordered.run())
    await ordered.write(2, b"c" * 10)
    waiting = [asyncio.create_task(ordered.write(number, b"bc"[number - 1 : number])) for number in (1, 2)]
    await settle()
    assert not any(task.done() for task in waiting)
    await ordered.write(0, b"a" * 100)
    ordered.finish(0)
    await waiting[0]
    ordered.finish(1)
    await waiting[1]
    ordered.finish(2)
    await printing
    assert os.read(printed, 1000) == b"a" * 100 + b"b" + b"c" * 11


async def test_the_body_whose_turn_it_is_waits_for_its_reader(printed: int) -> None:
    ordered = OrderedOutput(1)
    printing = asyncio.create_task(ordered.run())
    size = 0

    async def write() -> None:
        nonlocal size
        for _ in range(100):
            await ordered.write(0, bytes(65536))
            size += 65536
        ordered.finish(0)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    assert size < 2 * output.AHEAD + (1 << 20)  # what is held, what is being written, and the pipe's own buffer
    read = 0
    while read < 100 * 65536:
        read += len(await asyncio.to_thread(os.read, printed, 1 << 20))
    await writing
    await printing


async def test_the_thread_ends_with_the_last_body(printed: int) -> None:
    ordered = OrderedOutput(1)
    ordered.finish(0)
    await ordered.run()
    for thread in threading.enumerate():
        if thread.name == "aiohttpconn-output":
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()


async def test_a_stream_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(StandardOutputError):
        await OrderedOutput(1).run()
