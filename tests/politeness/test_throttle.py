"""`AdaptiveThrottle`: the arithmetic, on moments."""

from __future__ import annotations

import math
from typing import Any

import pytest
from multidict import CIMultiDict

from aiohttpconn import AdaptiveThrottle, ConnectError, Headers, ReadTimeout, RemoteDisconnected, ResponseHead
from aiohttpconn.politeness.hosts import KEPT
from aiohttpconn.politeness.throttle import LEARNT, LEAST_WINDOW


def head(status: int = 200, **fields: str) -> ResponseHead:
    return ResponseHead(11, status, "", Headers(CIMultiDict({n.replace("_", "-"): v for n, v in fields.items()})))


class Host:
    """One host under a throttle, and the clock."""

    def __init__(self, **options: Any) -> None:
        self.rule = AdaptiveThrottle(**options)
        self.now = 100.0

    def round(self, outcome: ResponseHead | Exception | None = None, seconds: float = 0.01) -> int:
        """Send as many as may go at once, and have all answered; how many they were."""
        self.now += 0.001  # what goes out in the very moment of a complaint counts as before it
        self.now = max(self.now, self.rule.ready_at("a", self.now))
        began, sent = self.now, 0
        while self.rule.ready_at("a", self.now) <= self.now:
            self.rule.began("a", self.now)
            sent += 1
        self.now += seconds
        for _ in range(sent):
            self.rule.answered("a", outcome or head(), began, seconds, self.now)
        for _ in range(sent):
            self.rule.over("a", self.now)
        return sent


def test_good_answers_let_one_more_go_each_round_up_to_the_limit() -> None:
    host = Host(limit=5)
    assert [host.round() for _ in range(7)] == [1, 2, 3, 4, 5, 5, 5]


def test_a_complaint_halves_once_a_round() -> None:
    host = Host(start=8)
    host.round(head(503))
    assert host.rule.window("a") == 4, "eight refusals of one round are one complaint"
    assert host.round() == 4
    assert host.round(ReadTimeout()) == 5
    assert host.rule.window("a") == 2.5


def test_timeouts_add_no_pauses_to_those_that_they_are() -> None:
    host = Host(start=4)
    for _ in range(5):
        host.round(ReadTimeout(), seconds=1.0)
    assert host.rule.window("a") == 1
    for _ in range(3):
        host.round(head(503))
    low = host.rule.window("a")
    assert low == 1 / 8
    host.round(ReadTimeout(), seconds=1.0)
    assert host.rule.window("a") == low
    host.round(RemoteDisconnected(""))
    assert host.rule.window("a") == low / 2, "which takes no time"


def test_errors_that_tell_nothing_about_load_change_nothing() -> None:
    host = Host(start=4)
    host.round(ConnectError("refused"))
    assert host.rule.window("a") == 4


def test_less_than_one_at_a_time_is_a_pause() -> None:
    host = Host(cooldown=0)
    for _ in range(3):
        host.round(head(429), seconds=0.2)
    assert host.rule.window("a") == 1 / 8
    host.round(head(200), seconds=0.2)
    before = host.now
    host.round(head(200), seconds=0.2)
    assert host.now - before > 0.15, "one at a time, with nothing between"
    for _ in range(30):
        host.round(head(429))
    assert host.rule.window("a") == LEAST_WINDOW


def test_retry_after_holds_everything_back() -> None:
    host = Host(start=4)
    host.round(head(429, Retry_After="7"))
    assert host.rule.ready_at("a", host.now) == host.now + 7
    assert host.rule.ready_at("b", host.now) == host.now, "another host is not concerned"


def test_a_longer_retry_after_counts_even_of_an_older_request() -> None:
    host = Host(start=2)
    host.rule.began("a", 0.0)
    host.rule.began("a", 0.0)
    host.rule.answered("a", head(503, Retry_After="3"), 0.0, 1.0, 1.0)
    host.rule.answered("a", head(503, Retry_After="9"), 0.0, 2.0, 2.0)
    host.rule.over("a", 2.0)
    host.rule.over("a", 2.0)
    assert host.rule.ready_at("a", 2.0) == 11.0


def test_without_retry_after_the_silence_doubles_until_a_good_answer() -> None:
    host = Host(start=16, cooldown=10.0, max_cooldown=30.0)
    host.round(head(503))
    assert host.rule.ready_at("a", host.now) <= host.now, "half as many is enough of an answer to the first"
    pauses = []
    for _ in range(4):
        host.round(head(503))
        pauses.append(host.rule._hosts["a"].cooling_until - host.now)
    assert pauses == pytest.approx([10.0, 20.0, 30.0, 30.0])
    host.round(head(200))
    host.round(head(503))
    assert host.rule._hosts["a"].cooling_until < host.now
    host.round(head(503, Retry_After="100000"))
    assert host.rule._hosts["a"].cooling_until - host.now == pytest.approx(30.0), "a day is not waited for"


def test_where_a_complaint_came_more_is_tried_slowly() -> None:
    host = Host(start=8, limit=16)
    host.round(head(503))
    assert [host.round() for _ in range(8)] == [4, 5, 6, 7, 7, 7, 7, 7]
    for _ in range(60):
        host.round()
    assert host.rule.window("a") == 16, "but it is tried"


def test_answers_that_become_slow_are_a_complaint() -> None:
    host = Host(start=8, limit=8)
    for _ in range(5):
        host.round(seconds=0.1)
    assert host.rule.window("a") == 8
    host.round(seconds=1.0)
    assert host.rule.window("a") < 8
    indifferent = Host(start=8, limit=8, slow=None)
    indifferent.round(seconds=0.1)
    indifferent.round(seconds=5.0)
    assert indifferent.rule.window("a") == 8


def test_a_host_that_is_slow_for_good_is_not_held_down() -> None:
    host = Host(limit=8)
    host.round(seconds=0.1)
    for _ in range(600):
        host.round(seconds=1.0)
    assert host.rule.window("a") == 8


def test_what_nobody_asks_for_does_not_grow() -> None:
    rule = AdaptiveThrottle(start=4)
    for moment in range(20):  # one at a time, where four might be
        rule.began("a", moment)
        rule.answered("a", head(), moment, 0.01, moment)
        rule.over("a", moment)
    assert rule.window("a") == 4


def test_what_is_known_of_hosts_is_bounded() -> None:
    rule = AdaptiveThrottle()
    for number in range(4 * KEPT):
        now = number * LEARNT / KEPT
        rule.began(number, now)
        rule.answered(number, head(429), now, 0.01, now)
        rule.over(number, now)
    assert len(rule._hosts) <= 3 * KEPT


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"start": 0}, ValueError, id="start"),
        pytest.param({"start": 20}, ValueError, id="start-above-limit"),
        pytest.param({"slow": 1.0}, ValueError, id="slow"),
        pytest.param({"backoff": 1.0}, ValueError, id="backoff"),
        pytest.param({"cooldown": -1}, ValueError, id="cooldown"),
        pytest.param({"max_cooldown": None}, TypeError, id="max-cooldown"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        AdaptiveThrottle(**options)
    assert math.isfinite(AdaptiveThrottle().window("a"))
