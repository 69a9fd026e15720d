"""``aiohttpconn bench``: the figures are of what happened, and their memory is bounded."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from aiohttpconn.cli.bench import BenchOptions, parse_arguments
from aiohttpconn.cli.exits import UsageError
from aiohttpconn.cli.histogram import Histogram
from aiohttpconn.cli.quantities import rate, seconds, size
from tests.cli.command import finish, run, start
from tests.servers.origin import Reply

if TYPE_CHECKING:
    from tests.servers.origin import OriginServer
    from tests.servers.raw import Received

URL = "http://example.org/"


async def test_figures_as_json(http_server: OriginServer) -> None:
    url = f"{http_server.url}/bytes/1000"
    outcome = await run("bench", url, "-c", 4, "-n", 60, "--warm-up", 8, "--json")
    assert (outcome.code, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    assert len(http_server.requests) == 68
    assert [found[name] for name in ("url", "concurrency", "requests", "bytes")] == [url, 4, 60, 60_000]
    assert (found["statuses"], found["errors"]) == ({"200": 60}, {})
    assert found["connections"] <= 4
    latency = found["latency"]
    ordered = [latency[name] for name in ("min", "p50", "p75", "p90", "p95", "p99", "p99.9", "max")]
    assert ordered == sorted(ordered)
    assert 0 < latency["mean"] <= latency["max"] <= found["seconds"]
    assert sum(row["count"] for row in found["histogram"]) == 60
    assert found["requests_per_second"] == pytest.approx(60 / found["seconds"], rel=0.01)


async def test_errors_by_kind_and_statuses_in_a_report(http_server: OriginServer) -> None:
    def answer(request: Received) -> Reply:
        return Reply(b"x", status=503 if len(http_server.requests) % 4 == 0 else 200)

    http_server.fallback = answer
    url = f"{http_server.url}/x"
    outcome = await run("bench", url, "-c", 1, "-n", 8, "-X", "POST")
    assert outcome.stderr == ""
    text = outcome.stdout.decode()
    assert f"POST {url}, 1 at a time\n8 requests in " in text
    assert re.search(r"^6 × 200$", text, re.MULTILINE)
    assert re.search(r"^2 × 503$", text, re.MULTILINE)
    assert re.search(r"^ +50 % +[\d.,]+$", text, re.MULTILINE)
    assert "█" in text
    outcome = await run("bench", "http://127.0.0.1:1/", "-c", 2, "-n", 5)
    assert outcome.code == 3
    assert "5 × ConnectError" in outcome.stdout.decode()
    assert "0 connections opened" in outcome.stdout.decode()


async def test_on_time_and_for_a_time(http_server: OriginServer) -> None:
    outcome = await run("bench", http_server.url, "-t", "0.3", "--rate", "100", "--json", "-c", 2)
    assert outcome.code == 0
    assert 1 <= json.loads(outcome.stdout)["requests"] <= 31


async def test_interrupted_it_shows_what_was_measured(http_server: OriginServer) -> None:
    async def answer(request: Received) -> Reply:
        if len(http_server.requests) > 5:
            await asyncio.Event().wait()
        return Reply(b"x")

    http_server.fallback = answer
    process = start("bench", f"{http_server.url}/x", "-c", 1, "-t", "50s")
    while len(http_server.requests) < 6:
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert (outcome.code, outcome.complaint) == (130, "interrupted: these are the figures until then")
    assert b"\n5 requests in " in outcome.stdout


# --- what it is made of -----------------------------------------------------------------------------------------------


def test_a_histogram_is_right_to_one_in_128_however_many_are_counted() -> None:
    chance = random.Random(5)
    values = sorted(int(chance.lognormvariate(8, 3)) for _ in range(20_000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for share in (1, 50, 90, 99.9, 100):
        exact = values[max(0, -int(-share * len(values) // 100) - 1)]
        assert abs(histogram.percentile(share) - exact) <= exact / 128
    assert (histogram.count, histogram.least, histogram.most) == (20_000, values[0], values[-1])
    assert histogram.mean == pytest.approx(sum(values) / len(values))
    rows = histogram.rows()
    assert sum(number for _, _, number in rows) == 20_000
    assert all(before[1] == after[0] for before, after in pairwise(rows))
    for power in range(60):
        histogram.add(1 << power)
    assert sys.getsizeof(histogram._counts) < 300_000
    assert (Histogram().rows(), Histogram().percentile(50), Histogram().mean) == ([], 0, 0.0)


def test_options_set_their_fields() -> None:
    assert parse_arguments([URL]) == BenchOptions(url=URL, follow_redirects=False)
    given = "-c 5 -n 7 -t 2m --warm-up 3 --rate 30/m -d x -H Content-Type:a/b --json -f"
    assert parse_arguments([*given.split(), URL]) == BenchOptions(
        url=URL, concurrency=5, requests=7, duration=120.0, warm_up=3, rate=0.5, method="POST", data=b"x", json=True,
        fail=True, quiet=True, headers=(("Content-Type", b"a/b"),), follow_redirects=False,
    )  # fmt: skip
    assert parse_arguments(["-t", "1s", URL]).requests is None
    for wrong in ([], [URL, URL], ["-n", "0", URL], ["-t", "soon", URL]):
        with pytest.raises(UsageError):
            parse_arguments(wrong)


def test_quantities() -> None:
    assert [size(text) for text in ("1", "2k", "2K", "1.5M", "1GiB", "3MB/s")] == [
        1, 2048, 2048, 3 << 19, 1 << 30, 3 << 20,
    ]  # fmt: skip
    assert [seconds(text) for text in ("1", "0.5", "200ms", "2m", "1H")] == [1, 0.5, 0.2, 120, 3600]
    assert [rate(text) for text in ("1", "2/s", "3/m", "4/h")] == [(1, 1), (2, 1), (3, 60), (4, 3600)]
    for parse in (size, seconds, rate):
        for wrong in ("", "x", "-1", "0", "1x", "nan", "inf", "1e400", "1/2", "٣"):
            with pytest.raises(Exception, match="wanted, "):
                parse(wrong)
