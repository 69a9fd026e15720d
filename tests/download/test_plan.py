"""The plan of a download: who is to bring which bytes, at moments that no server can be made to hit."""

from __future__ import annotations

from aiohttpconn.download.ranges import Plan, Segment

MIB = 1 << 20
REST = 64 << 10
"""Bytes of which nobody takes half."""


def _asked(plan: Plan, now: float, told: list[Segment]) -> Segment:
    """Somebody begins with something, and has asked for it."""
    segment = plan.take(now)
    assert segment is not None
    segment.abandon = lambda: told.append(segment)
    plan.asked(segment, now)
    return segment


def _answered(plan: Plan, segment: Segment, now: float) -> None:
    """The response begins, and reaches as far as was asked for."""
    segment.reach = segment.end
    plan.answered(segment, now)


def _taken_over(told: list[Segment]) -> tuple[Plan, Segment, Segment]:
    """A segment that has stood still, was taken over by another, and does not know it yet."""
    plan = Plan([(0, 4 * MIB)], 2, latency=4.0)
    fast, slow = _asked(plan, 0.0, told), _asked(plan, 0.0, told)
    for each in (slow, fast):
        _answered(plan, each, 4.0)
    slow.position = slow.end - REST
    fast.position = fast.end
    plan.done(fast, 5.0)
    now = 5.0
    while not told:
        now += 0.25
        after = plan.take(now)
        assert now < 60.0
    assert told == [slow]
    assert after is not None
    assert (after.position, after.end) == (4 * MIB - REST, 4 * MIB)
    after.abandon = lambda: told.append(after)
    plan.asked(after, now)
    return plan, slow, after


def test_one_that_was_abandoned_takes_over_nothing() -> None:
    # A piece that comes in the same turn of the loop: the response would reach as far as the other that took over.
    told: list[Segment] = []
    plan, slow, after = _taken_over(told)
    assert not plan.goes_on(slow, after.asked_at or 0.0)
    plan.give_back(slow)
    assert told == [slow]
    assert (plan.active, after.left) == ([after], REST)


def test_one_that_was_abandoned_is_given_nothing_back() -> None:
    plan, _, after = _taken_over([])
    plan.give_back(after)
    assert plan.gaps == [(4 * MIB - REST, 4 * MIB)]
