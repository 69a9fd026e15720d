"""`RateLimit` and `HostConcurrency`: the arithmetic, on moments."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aiohttpconn import AdaptiveThrottle, HostConcurrency, PoliteTransport, RateLimit, Request, RobotsTxt
from aiohttpconn.politeness.hosts import KEPT
from aiohttpconn.politeness.rule import Rule
from aiohttpconn.testing import MockResponse, MockTransport


def departures(rule: Rule, moments: list[float], key: str = "host") -> list[float]:
    """When requests go that come at these moments, each after the one before it."""
    found: list[float] = []
    for moment in moments:
        at = max(moment, *found[-1:], 0.0)
        at = max(at, rule.ready_at(key, at))
        rule.began(key, at)
        found.append(round(at, 6))
    return found


def test_requests_go_out_evenly() -> None:
    assert departures(RateLimit(10), [0.0] * 4) == [0.0, 0.1, 0.2, 0.3]
    assert departures(RateLimit(1, per=60), [5.0, 5.0, 200.0, 201.0]) == [5.0, 65.0, 200.0, 260.0]


def test_a_burst_comes_back_by_the_rate() -> None:
    rule = RateLimit(10, burst=3)
    assert departures(rule, [0.0] * 5) == [0.0, 0.0, 0.0, 0.1, 0.2]
    # After 0.2 s of rest two of three are back, after a second all of them and no more.
    assert departures(rule, [0.4] * 4) == [0.4, 0.4, 0.5, 0.6]
    assert departures(rule, [9.0] * 5) == [9.0, 9.0, 9.0, 9.1, 9.2]


def test_in_any_window_there_are_no_more_than_the_rate_and_a_burst() -> None:
    rule = RateLimit(7, per=2.0, burst=5)
    out = departures(rule, [number * 0.05 for number in range(400)])
    for first in out:
        assert len([at for at in out if first <= at < first + 2.0 - 1e-6]) <= 7 + 5


def test_hosts_are_counted_by_themselves_or_by_a_key() -> None:
    rule = RateLimit(1)
    one, other = Request("GET", "http://a.example/"), Request("GET", "https://b.example:8443/x")
    assert (rule.key(one), rule.key(other)) == ("a.example", "b.example")
    rule.began("a.example", 0.0)
    assert rule.ready_at("b.example", 0.0) == 0.0
    by_site = HostConcurrency(1, key=lambda request: request.url.host.partition(".")[2])
    assert by_site.key(one) == by_site.key(other) == "example"


def test_concurrency_holds_until_one_is_over() -> None:
    rule = HostConcurrency(2)
    rule.began("a", 0.0)
    assert rule.ready_at("a", 0.0) == 0.0
    rule.began("a", 0.0)
    assert rule.ready_at("a", 0.0) == math.inf
    assert rule.ready_at("b", 0.0) == 0.0
    rule.over("a", 1.0)
    assert rule.ready_at("a", 1.0) == 1.0
    rule.over("a", 1.0)
    assert rule._active == {}


def test_what_is_known_of_hosts_is_bounded() -> None:
    rule = RateLimit(100)
    for number in range(50 * KEPT):
        rule.began(f"host{number}", number / 1000)
    assert len(rule._full_at) <= KEPT
    assert rule.ready_at(f"host{50 * KEPT - 1}", 51.199) > 51.199, "one that still holds was forgotten"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda: RateLimit(0), ValueError, id="no-requests"),
        pytest.param(lambda: RateLimit(True), TypeError, id="a-bool"),
        pytest.param(lambda: RateLimit(1, per=math.inf), ValueError, id="for-ever"),
        pytest.param(lambda: RateLimit(1, burst=0), ValueError, id="no-burst"),
        pytest.param(lambda: HostConcurrency(0), ValueError, id="none-at-a-time"),
        pytest.param(lambda: HostConcurrency(1.5), TypeError, id="one-and-a-half"),  # type: ignore[arg-type]
        pytest.param(lambda: AdaptiveThrottle(statuses=429), TypeError, id="one-status"),  # type: ignore[arg-type]
        pytest.param(lambda: AdaptiveThrottle(statuses=["429"]), TypeError, id="text"),  # type: ignore[list-item]
        pytest.param(lambda: AdaptiveThrottle(statuses=[42]), ValueError, id="no-status"),
        pytest.param(lambda: AdaptiveThrottle(slow="x"), TypeError, id="slow"),  # type: ignore[arg-type]
        pytest.param(lambda: AdaptiveThrottle(backoff="x"), TypeError, id="backoff"),  # type: ignore[arg-type]
        pytest.param(lambda: RobotsTxt(5), TypeError, id="agent"),  # type: ignore[arg-type]
        pytest.param(lambda: RobotsTxt(""), ValueError, id="no-agent"),
        pytest.param(lambda: RateLimit(1, key="host"), TypeError, id="key-of-a-rate"),  # type: ignore[arg-type]
        pytest.param(lambda: HostConcurrency(1, key="host"), TypeError, id="key-of-a-number"),  # type: ignore[arg-type]
        pytest.param(lambda: AdaptiveThrottle(key="host"), TypeError, id="key-of-a-throttle"),  # type: ignore[arg-type]
        pytest.param(lambda: RobotsTxt(max_age=None), TypeError, id="age"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"must be|no status"):
        make()


@pytest.mark.parametrize("value", [5, "x", HostConcurrency, [RateLimit], [5]], ids=repr)
def test_what_is_no_rule_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="politeness must be an instance of Rule"):
        PoliteTransport(MockTransport(lambda request: MockResponse()), value)
