"""The Keep-Alive field: for how long an idle connection may be used again."""

from __future__ import annotations

import math

import pytest

from aiohttpconn.wire.keep_alive import usable_for


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("timeout=5", 4.5),
        ("timeout=5, max=100", 4.5),
        ("max=99,timeout=10", 9.0),
        ("timeout=60", 59.0),
        ("Timeout = 60", 59.0),
        ('timeout="60"', 59.0),
        ("timeout=1", 0.9),
        ("timeout=0", 0.0),
        ("timeout=5, timeout=60", 4.5),
        ("timeout=60,timeout=5", 4.5),
        ("timeout=60, max=0", 0.0),
        ("timeout=60, max=1", 59.0),
        ("max=0", 0.0),
        ("max=5", math.inf),
        ("", math.inf),
        ("300", math.inf),  # as RFC 2068 never meant it
        ("timeout", math.inf),
        ("timeout=", math.inf),
        ("timeout=-5", math.inf),
        ("timeout=soon", math.inf),
        ("notimeout=5", math.inf),
        ("timeout=99999999999999", math.inf),
        ("timeout=\u0665", math.inf),
        ("timeout=999999999", 999999998.0),
    ],
)
def test_what_a_server_says_less_a_margin(value: str, seconds: float) -> None:
    assert usable_for(value) == seconds


def test_a_long_value_takes_no_long_time() -> None:
    assert usable_for("timeout=5," * 6000) == 4.5
    assert usable_for("t" * 65_000) == math.inf
