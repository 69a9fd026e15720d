"""How fast a peer sends, against the least that is asked of it: on values."""

from __future__ import annotations

import pytest

from aiohttpconn.pace import Pace


def test_enough_in_every_window() -> None:
    pace = Pace(100, 2.0)
    for _ in range(40):
        pace.received += 11
        pace.waited(0.1)
        assert not pace.too_slow()


def test_too_little_is_found_at_the_end_of_the_window() -> None:
    pace = Pace(100, 2.0)
    found = []
    for _ in range(21):
        pace.received += 9
        pace.waited(0.1)
        found.append(pace.too_slow())
    assert found == [False] * 19 + [True] + [False]


def test_windows_start_anew() -> None:
    pace = Pace(10, 1.0)
    pace.received += 1_000_000
    pace.waited(1.0)
    assert not pace.too_slow()
    pace.waited(1.0)
    assert pace.too_slow(), "what came long ago does not count for ever"


def test_what_comes_without_waiting_counts() -> None:
    """The caller was busy for long: what came meanwhile is the peer's credit, the time is not its debt."""
    pace = Pace(1000, 1.0)
    for _ in range(10):
        pace.received += 1000
        pace.waited(0.1)
        assert not pace.too_slow()


def test_never_waiting_is_never_slow() -> None:
    pace = Pace(1e9, 0.5)
    for _ in range(100):
        pace.received += 1
        assert not pace.too_slow()


def test_exactly_the_least_is_enough() -> None:
    pace = Pace(100, 1.0)
    pace.received += 100
    pace.waited(1.0)
    assert not pace.too_slow()
    pace.received += 99
    pace.waited(1.0)
    assert pace.too_slow()


def test_a_wait_longer_than_the_window_is_measured_whole() -> None:
    pace = Pace(100, 1.0)
    pace.received += 250
    pace.waited(3.0)
    assert pace.too_slow()


def test_a_loop_that_is_early_by_a_millisecond() -> None:
    pace = Pace(100, 1.0)
    pace.waited(0.999)
    assert pace.too_slow()


@pytest.mark.parametrize(("waited", "left"), [(0.0, 2.0), (0.5, 1.5), (1.9, 0.1)])
def test_what_is_left(waited: float, left: float) -> None:
    pace = Pace(1, 2.0)
    pace.waited(waited)
    assert not pace.too_slow()
    assert pace.left == pytest.approx(left)


def test_in_words() -> None:
    assert Pace(1000, 5).describe() == "the peer sent less than 1000 bytes per second over 5 s"
