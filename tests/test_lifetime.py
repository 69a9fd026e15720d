"""How long connections live, without a connection: the share of chance, and what dead ones have taught."""

from __future__ import annotations

import pytest

from aiohttpconn.lifetime import LEARNT_FOR, MOST_LEARNT, LearntLimits, jittered


def test_jitter_takes_up_to_its_share() -> None:
    drawn = [jittered(100.0, 0.2) for _ in range(1000)]
    assert all(80 <= each <= 100 for each in drawn)
    assert min(drawn) < 85
    assert max(drawn) > 95
    assert jittered(100.0, 0) == 100


def test_nothing_was_learnt() -> None:
    learnt = LearntLimits()
    assert not learnt
    assert learnt.limit("a", 60.0, 0.0) == 60
    assert learnt.died("a", 0.5, 0.0) is None  # a restart, not a time that was over
    assert not learnt


def test_half_of_how_long_a_dead_one_had_been_idle() -> None:
    learnt = LearntLimits()
    assert learnt.died("a", 30.0, 100.0) == 15
    assert learnt
    assert learnt.limit("a", 60.0, 100.0) == 15
    assert learnt.limit("a", 5.0, 100.0) == 5
    assert learnt.limit("b", 60.0, 100.0) == 60


def test_the_shortest_counts_and_the_latest_is_remembered_longest() -> None:
    learnt = LearntLimits()
    learnt.died("a", 10.0, 0.0)
    assert learnt.died("a", 14.0, LEARNT_FOR / 2) == 5
    assert learnt.limit("a", 60.0, LEARNT_FOR) == 5
    assert learnt.died("a", 4.0, LEARNT_FOR) == 2


def test_it_is_forgotten() -> None:
    learnt = LearntLimits()
    learnt.died("a", 10.0, 0.0)
    assert learnt.limit("a", 60.0, LEARNT_FOR - 1) == 5
    assert learnt.limit("a", 60.0, LEARNT_FOR) == 60
    assert not learnt
    learnt.died("a", 10.0, 0.0)
    assert learnt.died("a", 40.0, LEARNT_FOR) == 20


def test_it_is_bounded() -> None:
    learnt = LearntLimits()
    for number in range(MOST_LEARNT + 10):
        learnt.died(number, 10.0, 0.0)
    assert len(learnt._learnt) == MOST_LEARNT
    assert learnt.limit(9, 60.0, 1.0) == 60
    assert learnt.limit(10, 60.0, 1.0) == pytest.approx(5)
