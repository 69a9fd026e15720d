"""`Timeout`, `Limits`, and the deadline that travels down."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from aiohttpconn import DEFAULT, UNSET, Hedge, Limits, Retry, Timeout
from aiohttpconn.config import DEFAULT_TIMEOUT, NO_TIMEOUT, Deadline
from aiohttpconn.errors import ConnectTimeout, PoolTimeout, ReadTimeout, RequestTimeout, TotalTimeout, WriteTimeout

NAMES = ("total", "connect", "read", "write", "pool")

# --- Timeout ----------------------------------------------------------------------------------------------------------


def test_timeout_defaults() -> None:
    assert repr(Timeout()) == "Timeout(total=None, connect=10, read=30, write=30, pool=30, min_speed=None)"
    assert Timeout() == DEFAULT_TIMEOUT


def test_a_plain_number_sets_all_but_total() -> None:
    assert Timeout.of(5) == Timeout(total=None, connect=5, read=5, write=5, pool=5)
    assert Timeout.of(0.5).read == 0.5


def test_none_switches_all_off() -> None:
    assert Timeout.of(None) == NO_TIMEOUT
    assert all(getattr(NO_TIMEOUT, name) is None for name in NAMES)


def test_left_out_is_the_default() -> None:
    assert Timeout.of(UNSET) == Timeout()
    assert Timeout.of(DEFAULT) == Timeout()


def test_a_timeout_is_itself() -> None:
    timeout = Timeout(read=1)
    assert Timeout.of(timeout) is timeout


def test_timeout_with_some_limits_replaced() -> None:
    assert Timeout(read=1).replace(total=9) == Timeout(read=1, total=9)
    with pytest.raises(ValueError, match="negative"):
        Timeout().replace(read=-1)
    with pytest.raises(TypeError):
        Timeout().replace(nonsense=1)


def test_timeout_is_frozen_hashable_and_pickles() -> None:
    timeout = Timeout(read=1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        timeout.read = 2  # type: ignore[misc]
    assert len({timeout, Timeout(read=1), Timeout()}) == 2
    assert pickle.loads(pickle.dumps(timeout)) == timeout


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 0.0, 1, 1e9, math.inf, None])
def test_seconds_taken(name: str, value: float | None) -> None:
    assert getattr(Timeout(**{name: value}), name) == value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, -math.inf])
def test_seconds_refused_by_value(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Timeout(**{name: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["5", True, b"5", (1, 2), UNSET])
def test_seconds_refused_by_type(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=name):
        Timeout(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["5", True, (1, 2)])
def test_what_is_no_timeout_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="timeout"):
        Timeout.of(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        Timeout.of(-1)


def test_unset_says_its_name() -> None:
    assert repr(UNSET) == "UNSET"
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_limits_defaults() -> None:
    assert repr(Limits()) == (
        "Limits(max_connections=100, max_per_host=None, max_idle=None, keepalive=60.0, "
        "max_age=None, max_requests=None, jitter=0.1)"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"max_connections": 1},
        {"max_connections": None},
        {"max_per_host": 1},
        {"max_idle": 0},
        {"keepalive": 0},
        {"keepalive": None},
        {"keepalive": 0.5},
    ],
)
def test_limits_taken(options: dict[str, float | None]) -> None:
    limits = Limits(**options)  # type: ignore[arg-type]
    for name, value in options.items():
        assert getattr(limits, name) == value


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("max_connections", 0, ValueError),
        ("max_connections", -1, ValueError),
        ("max_connections", 1.5, TypeError),
        ("max_connections", True, TypeError),
        ("max_connections", "5", TypeError),
        ("max_per_host", 0, ValueError),
        ("max_per_host", 2.0, TypeError),
        ("max_idle", -1, ValueError),
        ("keepalive", -1, ValueError),
        ("keepalive", math.nan, ValueError),
        ("keepalive", "60", TypeError),
    ],
)
def test_limits_refused(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_limits_are_frozen_and_pickle() -> None:
    limits = Limits(max_connections=3)
    with pytest.raises(AttributeError, match="cannot be changed"):
        limits.max_idle = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(limits)) == limits


# --- min_speed --------------------------------------------------------------------------------------------------------


def test_min_speed() -> None:
    assert Timeout(min_speed=(1000, 5)).min_speed == (1000, 5)
    assert Timeout().min_speed is None
    assert Deadline(Timeout(min_speed=(1000, 5)), 0.0).min_speed == (1000, 5)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (1000, TypeError),
        ((1000,), TypeError),
        ((1000, 5, 1), TypeError),
        ([1000, 5], TypeError),
        (("1000", 5), TypeError),
        ((1000, True), TypeError),
        ((0, 5), ValueError),
        ((1000, 0), ValueError),
        ((-1, 5), ValueError),
        ((1000, math.inf), ValueError),
        ((math.nan, 5), ValueError),
    ],
)
def test_min_speed_refused(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="min_speed"):
        Timeout(min_speed=value)  # type: ignore[arg-type]


# --- Retry, Hedge -----------------------------------------------------------------------------------------------------


def test_retry_defaults() -> None:
    retry = Retry()
    assert (retry.attempts, retry.statuses) == (3, frozenset({429, 502, 503, 504}))
    assert (retry.backoff, retry.jitter, retry.max_delay, retry.budget) == (0.5, 0.5, 30, 0.2)
    assert Retry(statuses=[500, 500]).statuses == {500}


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 1},
        {"statuses": ()},
        {"backoff": 0},
        {"jitter": 0},
        {"jitter": 1},
        {"max_delay": 0},
        {"max_delay": math.inf},
        {"budget": None},
        {"budget": 0},
        {"budget": 3.0},
    ],
)
def test_retry_taken(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    assert getattr(Retry(**options), name) == (frozenset() if name == "statuses" else value)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("attempts", 0, ValueError),
        ("attempts", -1, ValueError),
        ("attempts", 1.5, TypeError),
        ("attempts", True, TypeError),
        ("attempts", None, TypeError),
        ("statuses", "503", TypeError),
        ("statuses", [True], TypeError),
        ("statuses", ["503"], TypeError),
        ("backoff", -1, ValueError),
        ("backoff", None, TypeError),
        ("backoff", "1", TypeError),
        ("jitter", 1.1, ValueError),
        ("jitter", -0.1, ValueError),
        ("jitter", None, TypeError),
        ("max_delay", None, TypeError),
        ("max_delay", math.nan, ValueError),
        ("budget", -0.1, ValueError),
        ("budget", math.nan, ValueError),
        ("budget", math.inf, ValueError),
        ("budget", "1", TypeError),
        ("budget", True, TypeError),
    ],
)
def test_retry_refused(name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        Retry(**{name: value})  # type: ignore[arg-type]


def test_hedge() -> None:
    assert repr(Hedge()) == "Hedge(after='p95', budget=0.2)"
    assert (Hedge(0.2).after, Hedge(0.2, budget=None).budget) == (0.2, None)
    assert Hedge(0).after == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("p99",), ValueError),
        ((-1,), ValueError),
        ((math.nan,), ValueError),
        ((None,), TypeError),
        ((True,), TypeError),
        ((1, -1), ValueError),
        ((1, "1"), TypeError),
    ],
)
def test_hedge_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"after|budget"):
        Hedge(*arguments)


@pytest.mark.parametrize("value", [Retry(attempts=5), Hedge(0.5)])
def test_retry_and_hedge_are_frozen_and_pickle(value: Any) -> None:
    with pytest.raises(AttributeError, match="cannot be changed"):
        value.budget = 1
    assert pickle.loads(pickle.dumps(value)) == value
    assert hash(pickle.loads(pickle.dumps(value))) == hash(value)


# --- Deadline ---------------------------------------------------------------------------------------------------------


def test_deadline_of_a_total() -> None:
    deadline = Deadline(Timeout(total=5, connect=1, read=2, write=3, pool=4), now=100.0)
    assert deadline.at == 105.0
    assert (deadline.connect, deadline.read, deadline.write, deadline.pool) == (1, 2, 3, 4)


def test_deadline_without_limits_is_infinite() -> None:
    deadline = Deadline(NO_TIMEOUT, now=100.0)
    assert {deadline.at, deadline.connect, deadline.read, deadline.write, deadline.pool} == {math.inf}


@pytest.mark.parametrize("kind", [ConnectTimeout, ReadTimeout, WriteTimeout, PoolTimeout])
def test_expiry_of_one_wait_is_its_own_class(kind: type[RequestTimeout]) -> None:
    deadline = Deadline(Timeout(total=50, connect=1.5, read=2.5, write=3.5, pool=4.5), now=100.0)
    error = deadline.expiry(kind, 110.0, "GET http://example.org/")
    assert type(error) is kind
    seconds = {ConnectTimeout: "1.5", ReadTimeout: "2.5", WriteTimeout: "3.5", PoolTimeout: "4.5"}[kind]
    assert f"{seconds} s" in str(error)
    assert "GET http://example.org/" in str(error)


@pytest.mark.parametrize("kind", [ConnectTimeout, ReadTimeout, WriteTimeout, PoolTimeout])
def test_expiry_of_everything_is_the_total_whatever_was_waited_for(kind: type[RequestTimeout]) -> None:
    error = Deadline(Timeout(total=5), now=100.0).expiry(kind, 105.0, None)
    assert type(error) is TotalTimeout
    assert "5 s" in str(error)
