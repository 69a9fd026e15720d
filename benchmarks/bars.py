"""The bars that aiohttpconn is held to, and whether it reaches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from .imports import STANDARD_LIBRARY
from .measure import Sample
from .peers import BEFORE, OURS

NO_WORSE: Final = 1.05
"""What a change may cost, against the checkout before it."""

Samples = Mapping[str, Mapping[str, Sequence[Sample | None]]]
"""By workload and peer, one for each round; None where a measurement failed."""


@dataclass(frozen=True, slots=True)
class Bar:
    """`figure` of ours is at most `limit`: times that of the peer `against`, or, where that is None, as it stands."""

    workload: str
    figure: str
    limit: float
    against: str | None = None

    def __str__(self) -> str:
        return f"{self.figure} ≤ {self.limit:,.10g}" + (f" × {self.against}" if self.against else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reached` is the median of the rounds, each round's ratio taken by itself; None if it was not measured."""

    bar: Bar
    reached: float | None

    @property
    def met(self) -> bool | None:
        return None if self.reached is None else self.reached <= self.bar.limit


BARS: Final = (
    Bar("get", "cpu", 1.5, "bare-streams"),
    Bar("get", "cpu", 0.55, "pyreqwest"),
    Bar("get", "cpu", 0.25, "aiohttp"),
    Bar("get-512", "cpu", 0.6, "pyreqwest"),
    Bar("get-distinct", "cpu", 0.6, "pyreqwest"),
    Bar("get-cookies", "cpu", 1.3, "aiohttpconn-plain"),
    Bar("latency", "p50", 1.0, "pyreqwest"),
    Bar("latency", "p50", 1.3, "bare-protocol"),
    Bar("stream", "cpu", 1.0, "pyreqwest"),
    Bar("stream", "cpu", 1.6, "bare-buffered"),
    Bar("stream-tls", "cpu", 1.25, "pyreqwest"),
    Bar("stream-tls", "cpu", 1.4, "bare-buffered"),
    Bar("stream-connect", "cpu", 1.3, "aiohttpconn-direct"),
    # danted hands on 64 KiB at a time, where nginx lets a reader fall behind and find more: a bare Protocol takes 1.1
    # times the CPU itself.
    Bar("stream-socks", "cpu", 1.3, "aiohttpconn-direct"),
    Bar("stream-socks-tls", "cpu", 1.3, "aiohttpconn-direct"),
    Bar("stream-tls-in-tls", "cpu", 2.2, "aiohttpconn-direct"),  # every byte is deciphered twice
    Bar("get-tls", "cpu", 1.0, "pyreqwest"),
    # Neither is reached. OpenSSL's part of a full handshake takes 0.56 ms (3.0; 3.5 and 4.0: 0.5), a third of it to
    # decode the server's certificate; rustls' whole connection takes 0.45. A resumed one takes 0.39, of which 0.15 go
    # into encoding and decoding the session, which Python does each time that one is offered: 0.69 of a full handshake
    # before anything of ours is counted, and 0.43 if it did not.
    Bar("connect-tls", "cpu", 1.1, "pyreqwest"),
    Bar("connect-tls-resumed", "cpu", 0.6, "aiohttpconn-unresumed"),
    Bar("chunked", "cpu", 1.0, "pyreqwest"),
    Bar("gzip", "cpu", 0.6, "pyreqwest"),
    Bar("upload", "cpu", 1.0, "pyreqwest"),
    Bar("form", "memory", 8 << 20),
    Bar("bomb", "memory", 4 << 20),
    Bar("origins", "cpu", 1.0, "pyreqwest"),
    Bar("origins", "growth", 1.15),  # the last quarter against the first: 1, and what a shared machine adds to it
    Bar("idle-memory", "each", 8192),
    Bar("import", "cpu", 1.5, STANDARD_LIBRARY),
    Bar("import", "unwanted", 0),
)


def ratios(samples: Samples, workload: str, figure: str, against: str | None, name: str = OURS) -> list[float]:
    """The figure in each round, divided by that of the peer `against` in the same round (by 1 if None)."""
    rounds = samples.get(workload, {})
    mine = rounds.get(name, ())
    theirs: Sequence[Sample | None] = rounds.get(against, ()) if against else mine
    found: list[float] = []
    for ours, peer in zip(mine, theirs, strict=False):
        value = ours.figure(figure) if ours else None
        divisor = (peer.figure(figure) if peer else None) if against else 1.0
        if value is not None and divisor:
            found.append(value / divisor)
    return found


def judge(samples: Samples) -> list[Verdict]:
    """A verdict on every bar of the workloads that were run."""
    verdicts: list[Verdict] = []
    changes = [Bar(workload, "cpu", NO_WORSE, BEFORE) for workload, peers in samples.items() if BEFORE in peers]
    for bar in (*BARS, *changes):
        if bar.workload in samples:
            found = ratios(samples, bar.workload, bar.figure, bar.against)
            verdicts.append(Verdict(bar, median(found) if found else None))
    return verdicts
