"""Numbers as they are written on a command line: counts, sizes, seconds, requests per second."""

from __future__ import annotations

import argparse
import math
import re

_SIZE = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)[ ]*(?P<unit>[kmgt]?)(i?b)?(/s)?", re.ASCII | re.IGNORECASE)
_TIME = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)[ ]*(?P<unit>ms|s|m|h|)", re.ASCII | re.IGNORECASE)
_RATE = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)(/[ ]*(?P<unit>s|m|h))?", re.ASCII | re.IGNORECASE)
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is wanted, not {text!r}")
    return int(text)


def count_or_none(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == "0" else count(text)


def size(text: str) -> int:
    """Bytes, as curl, wget and aria2 take them: K, M, G and T are powers of 1024.

    >>> size("5M"), size("1.5k"), size("200"), size("1MiB/s")
    (5242880, 1536, 200, 1048576)
    """
    match = _SIZE.fullmatch(text.strip())
    result = 0.0
    if match is not None:
        result = float(match["number"]) * 1024 ** " kmgt".index(match["unit"].lower() or " ")
    if not 1 <= result < math.inf:
        raise argparse.ArgumentTypeError(f"bytes are wanted, such as 500K or 5M, not {text!r}")
    return int(result)


def seconds(text: str) -> float:
    """Seconds.

    >>> seconds("2.5"), seconds("10s"), seconds("1m"), seconds("200ms")
    (2.5, 10.0, 60.0, 0.2)
    """
    match = _TIME.fullmatch(text.strip())
    result = 0.0 if match is None else float(match["number"]) * _SECONDS[match["unit"].lower()]
    if not 0 < result < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number of seconds is wanted, not {text!r}")
    return result


def rate(text: str) -> tuple[float, float]:
    """How many, in how many seconds.

    >>> rate("10"), rate("10/s"), rate("100/m")
    ((10.0, 1.0), (10.0, 1.0), (100.0, 60.0))
    """
    match = _RATE.fullmatch(text.strip())
    number = 0.0 if match is None else float(match["number"])
    if match is None or not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"requests per second are wanted, such as 10 or 100/m, not {text!r}")
    return number, _SECONDS[(match["unit"] or "s").lower()]
