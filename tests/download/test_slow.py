"""A connection that is far slower than the others: they take what is left of its range, all of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, RateLimit
from aiohttpconn.download import Rate, ranges
from tests.download.server import BODY, MIB, Answer, FileServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Connection, Received


class SlowServer(FileServer):
    """Sends the first bytes of some answers in one piece, and from there on a drip, or nothing.

    - `slow`: the numbers of those answers; `drip`: bytes every five milliseconds.
    """

    def __init__(self, slow: set[int], at: int, drip: int) -> None:
        super().__init__()
        self.slow, self.at, self.drip = slow, at, drip

    async def play(self, conn: Connection) -> None:
        while True:
            try:
                request = await conn.read_head()
            except asyncio.IncompleteReadError:
                return
            answer = self.answer(request)
            slow = len(self.requests) - 1 in self.slow
            try:
                await conn.send(answer.head() if self.at or not slow else b"")
                rest = memoryview(answer.body)
                first = self.at if slow else len(rest)
                await conn.send(bytes(rest[:first]))
                self.sent += first
                rest = rest[first:]
                while rest:
                    await asyncio.sleep(0.005)
                    await conn.send(bytes(rest[: self.drip]))
                    self.sent += min(self.drip, len(rest))
                    rest = rest[self.drip :]
                    if conn.reader.at_eof():
                        raise ConnectionResetError
            except ConnectionError:
                return


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a second is long."""
    monkeypatch.setattr(ranges, "SLOW", 0.02)
    monkeypatch.setattr(ranges, "LAGGING", 0.04)
    monkeypatch.setattr(ranges, "MUTE", 0.04)
    monkeypatch.setattr("aiohttpconn.download.transfer._LOOK", 0.01)


HALF = MIB // 2
ENDED = MIB - 50_000  # too little is left for halves of it to be taken


@pytest.mark.parametrize(
    ("number", "at", "drip"),
    [(0, HALF, 0), (0, ENDED, 10), (1, 0, 0), (1, HALF, 0), (1, ENDED, 0), (1, ENDED, 10)],
    ids=["first-half", "first-drips", "mute", "half", "end", "drips"],
)
async def test_all_that_is_left_of_a_slow_range_is_taken(
    number: int, at: int, drip: int, client: Client, tmp_path: Path
) -> None:
    async with SlowServer({number}, at, drip) as server:
        download = await client.download(server.url, tmp_path / "f", segments=3)
        assert download.path.read_bytes() == BODY
        assert download.fetched < len(BODY) + MIB
        assert client.stats().in_use == 0


@pytest.mark.parametrize("why", ["server", "rule", "rule-alone"])
async def test_who_waits_for_his_response_is_not_slow(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others are done long before, and look many times. (Each taken over or halved would wait as long again.)
    rules = []
    async with FileServer() as server:
        if why == "server":
            monkeypatch.setattr(ranges, "MUTE", 9)
            server.twist = _late
        else:
            rules = [RateLimit(10, per=1 if why == "rule" else 2, burst=1)]
        async with Client(trust_env=False, politeness=rules) as client:
            download = await client.download(server.url, tmp_path / "f", segments=3)
        assert download.path.read_bytes() == BODY
        assert len(server.requests) == download.segments == 3


@pytest.mark.parametrize("limit_rate", [None, 1e9], ids=["pumped", "read"])
async def test_a_response_brings_what_others_would_only_later(
    limit_rate: float | None, server: FileServer, client: Client, tmp_path: Path
) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        # A tenth of a second is what others wait for too, as far as is known: then for ever.
        answer.before = asyncio.Event().wait if number else partial(asyncio.sleep, 0.1)
        return answer

    server.twist = twist
    download = await client.download(server.url, tmp_path / "f", segments=3, limit_rate=limit_rate)
    assert download.path.read_bytes() == BODY
    assert (download.fetched, server.sent) == (len(BODY), len(BODY))
    assert client.stats().in_use == 0


def _late(request: Received, number: int, answer: Answer) -> Answer:
    if number:
        answer.before = partial(asyncio.sleep, 0.1 * number)
    return answer


# --- what is worth it -------------------------------------------------------------------------------------------------


@pytest.fixture
def plan() -> ranges.Plan:
    """Two ranges of 1 MiB: one came in a hundredth of a second, of the other so far nothing."""
    plan = ranges.Plan([(0, 2 * MIB)], 2)
    first, second = plan.take(0.0), plan.take(0.0)
    assert first is not None
    assert second is not None
    first.position = first.end
    plan.done(first, 0.01)
    second.end = second.position + 100_000  # too little to be halved
    return plan


def taken_at(plan: ranges.Plan, start: float) -> float:
    """When a connection that looks every hundredth of a second takes something over."""
    now = start
    while plan.take(now) is None:
        now += 0.01
        assert now < start + 99
    return now - start


def test_a_rest_is_not_taken_from_one_another_for_ever(plan: ranges.Plan) -> None:
    waits = []
    for _ in range(4):
        waits.append(taken_at(plan, sum(waits)))
        left = plan.active[-2]
        assert left.left == 0
        plan.give_back(left)
    assert waits == sorted(waits)
    assert waits[-1] > 6 * waits[0]


def test_a_half_of_what_was_taken_over_has_been_taken_over_too(plan: ranges.Plan) -> None:
    segment = plan.active[0]
    segment.end, segment.takeovers = segment.position + 4 * ranges.LEAST_STOLEN, 3
    assert plan.take(0.02) is not None
    assert [each.takeovers for each in plan.active] == [3, 3]


def test_a_request_more_is_worth_what_it_waits_for(plan: ranges.Plan) -> None:
    segment = plan.active[0]
    segment.end = segment.position + MIB
    plan.asked(segment, 1.0)
    assert plan.take(2.0) is None
    plan.answered(segment, 3.0)
    for tick in range(1, 100):  # comes in seven seconds, and a request more would be answered in two
        segment.position += MIB // 700
        assert plan.take(3 + tick / 100) is None
    for tick in range(100, 200):
        segment.position += MIB // 7000
        if plan.take(3 + tick / 100) is not None:
            return
    pytest.fail("it has become ten times slower, and was left alone")


def test_who_is_not_answered_is_behind_when_nobody_is_for_long() -> None:
    for queued in (False, True):
        plan = ranges.Plan([(0, 3 * MIB)], 3, queued=queued)
        first, second, third = [plan.take(0.0) for _ in range(3)]
        assert first is not None
        assert second is not None
        assert third is not None
        plan.asked(second, 0.0)
        plan.asked(third, 0.0)
        first.position = first.end
        plan.done(first, 0.01)
        assert plan.take(0.02) is None
        plan.answered(third, 1.0)
        assert plan.take(1.0) is None
        third.position = third.end
        plan.done(third, 1.01)
        assert not any(plan.take(1.0 + tick / 100) for tick in range(390))
        taken = [plan.take(4.9 + tick / 100) for tick in range(40)]
        assert any(taken) is not queued


def test_what_is_done_soon_or_was_never_faster_is_left_alone(plan: ranges.Plan) -> None:
    segment = plan.active[0]
    for tick in range(1, 11):  # half of what is left, each time: the rest will have come in a hundredth of a second
        segment.position += segment.left // 2
        assert plan.take(tick / 100) is None
    # Nothing to compare with.
    plan = ranges.Plan([(0, 2 * MIB)], 2)
    segments = [plan.take(0.0), plan.take(0.0)]
    for each in segments:
        assert each is not None
        each.end = each.position + 100_000
    for tick in range(1000):
        assert plan.take(tick / 100) is None


def test_a_bandwidth_limit_is_no_reason(plan: ranges.Plan) -> None:
    segment = plan.active[0]
    segment.end = segment.position + MIB
    segment.held = True
    for tick in range(1000):
        assert plan.take(tick / 100) is None
    segment.held = False
    assert plan.take(11.0) is not None


class Holding(Rate):
    """Holds up whoever asks first, until the others have looked many times whether he is slow."""

    held = False

    async def spent(self, size: int) -> None:
        if not self.held:
            self.held = True
            await asyncio.sleep(0.6)


async def test_who_waits_for_the_limit_is_not_slow(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "SLOW", 0.3)  # so long that a busy machine is not slow
    monkeypatch.setattr(ranges, "LAGGING", 0.3)
    async with FileServer() as server:
        download = await client.download(server.url, tmp_path / "f", segments=2, limit_rate=Holding(1))
        assert download.path.read_bytes() == BODY
        assert len(server.requests) == 2
