"""``aiohttpconn bench``: how fast a server answers, and how long its answers take."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .. import ConnectError, ConnectTimeout, HTTPException
from .exits import Exit, Interrupted, StandardOutputError
from .histogram import Histogram
from .network import (
    Network,
    Parser,
    add_body_options,
    add_network_options,
    add_other_options,
    add_request_options,
    body_of,
    make_client,
    make_requests,
    network_of,
)
from .progress import human_size, one_line
from .quantities import count, count_or_none, rate, seconds
from .ticker import shown

if TYPE_CHECKING:
    from .. import Client
    from ..messages import Request

CONCURRENCY = 64
REQUESTS = 10_000
PERCENTILES = (50, 75, 90, 95, 99, 99.9)
_WIDTH = 40

_EPILOG = """\
A latency is the time from sending a request to the end of the response's body, this program's own
time included; with --rate from the moment at which the request was due, so that a server that falls
behind does not look better for it. Redirects are answers, and not followed. Memory does not grow
with the number of requests, nor with bodies.

exit codes: 0 all were answered, 1 some with 4xx or 5xx (with --fail), 2 usage, 3 some not at all,
130 interrupted (what was measured until then is shown).
"""


@dataclass(frozen=True, slots=True)
class BenchOptions(Network):
    """What the command line asks for. `requests` is None when `duration` (seconds) ends it; `rate` is requests per
    second, None for as many as there are answers."""

    url: str
    concurrency: int = CONCURRENCY
    requests: int | None = REQUESTS
    duration: float | None = None
    warm_up: int = 0
    rate: float | None = None
    method: str = "GET"
    data: bytes | None = None
    json: bool = False
    fail: bool = False
    quiet: bool = False


def parse_arguments(argv: Sequence[str]) -> BenchOptions:
    """The options that `argv` stands for. Raises `UsageError`; ``--help`` prints and raises SystemExit."""
    found = _parser().parse_intermixed_args(argv)
    data = body_of(found)
    requests = found.requests
    if requests is None and found.duration is None:
        requests = REQUESTS
    network = {**network_of(found), "follow_redirects": False}
    return BenchOptions(
        url=found.url,
        concurrency=found.concurrency,
        requests=requests,
        duration=found.duration,
        warm_up=found.warm_up,
        rate=None if found.rate is None else found.rate[0] / found.rate[1],
        method=found.method or ("GET" if data is None else "POST"),
        data=data,
        json=found.json,
        fail=found.fail,
        quiet=found.quiet or found.json,
        **network,
    )


def _parser() -> Parser:
    parser = Parser(
        prog="aiohttpconn bench",
        usage="aiohttpconn bench [options] URL",
        description="Send a request many times, and show how fast it is answered.",
        epilog=_EPILOG,
    )
    parser.add_argument("url", metavar="URL", help=argparse.SUPPRESS)
    load = parser.add_argument_group("the load")
    load.add_argument(
        "-c", "--concurrency", metavar="N", type=count, default=CONCURRENCY, help=f"connections ({CONCURRENCY})"
    )
    load.add_argument("-n", "--requests", metavar="N", type=count, help=f"how many ({REQUESTS:,}, unless -t)")
    load.add_argument("-t", "--duration", metavar="TIME", type=seconds, help="for how long at most, as 10s or 1m")
    load.add_argument(
        "--warm-up", metavar="N", type=count_or_none, default=0, help="requests before, that are not counted (0)"
    )
    load.add_argument("--rate", metavar="N", type=rate, help="send so many a second, as 500 or 100/m, on time")
    load.add_argument("-f", "--fail", action="store_true", help="exit code 1 if there was a 4xx or 5xx")
    load.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_body_options(add_request_options(parser))
    add_network_options(parser)
    add_other_options(parser)
    return parser


async def bench(options: BenchOptions) -> Exit:
    """Measure. Raises `UsageError` before anything is sent, and `Interrupted`."""
    async with make_client(options, options.concurrency, cookies=False) as client:
        (request,) = make_requests(client, options.method, [options.url], options.data)
        if options.warm_up:
            await Bench(client, request, options.concurrency, options.warm_up).run()
        run = Bench(client, request, options.concurrency, options.requests, options.duration, options.rate)
        try:
            async with shown(run, quiet=options.quiet):
                await run.run()
        except asyncio.CancelledError:
            _print(run, options)
            raise Interrupted("these are the figures until then") from None
        _print(run, options)
        if run.errors:
            return Exit.FAILED
        return Exit.HTTP_ERROR if options.fail and any(status >= 400 for status in run.statuses) else Exit.OK


class Bench:
    """One measurement."""

    def __init__(
        self,
        client: Client,
        request: Request,
        concurrency: int,
        requests: int | None,
        duration: float | None = None,
        rate: float | None = None,
    ) -> None:
        self._client = client
        self._request = request
        self._concurrency = concurrency
        self._requests = requests
        self._duration = duration
        self._interval = None if rate is None else 1 / rate
        self._begun = 0
        self._began = perf_counter()
        self._opened = client.stats().opened_total
        self._refused = 0
        self._seconds: float | None = None
        self.latencies = Histogram()
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.received = 0

    async def run(self) -> None:
        """Send all requests; those that are under way when time is up are not counted."""
        self._began = perf_counter()
        workers = min(self._concurrency, self._requests or self._concurrency)
        tasks = [asyncio.get_running_loop().create_task(self._work()) for _ in range(workers)]
        try:
            await asyncio.wait(tasks, timeout=self._duration)
        finally:
            self._seconds = perf_counter() - self._began
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ended:
            if isinstance(end, Exception):
                raise end

    async def _work(self) -> None:
        client, request, add = self._client, self._request, self.latencies.add
        while self._requests is None or self._begun < self._requests:
            began = perf_counter()
            if self._interval is not None:
                due = self._began + self._begun * self._interval
                self._begun += 1
                if due > began:
                    await asyncio.sleep(due - began)
                began = due
            else:
                self._begun += 1
            try:
                response = await client.send(request, stream=True)
                try:
                    async for piece in response.iter_raw():
                        self.received += len(piece)
                finally:
                    await response.close()
            except (HTTPException, OSError) as error:
                self.errors[type(error).__name__] += 1
                self._refused += isinstance(error, (ConnectError, ConnectTimeout))
            else:
                add(int((perf_counter() - began) * 1e6))
                self.statuses[response.status] += 1

    # --- what has come of it ---

    @property
    def done(self) -> int:
        """Requests that are over."""
        return self.latencies.count + sum(self.errors.values())

    @property
    def connections(self) -> int:
        """Those that were made."""
        return self._client.stats().opened_total - self._opened - self._refused

    @property
    def seconds(self) -> float:
        """How long it took, or has taken."""
        return perf_counter() - self._began if self._seconds is None else self._seconds

    def text(self) -> str:
        """See `Counter`."""
        failed = sum(self.errors.values())
        return f"{self.done:,} requests, {self.done / self.seconds:,.0f}/s" + (f", {failed:,} failed" if failed else "")

    def share(self) -> float | None:
        """See `Counter`."""
        by_time = self.seconds / self._duration if self._duration else 0.0
        return min(1.0, max(by_time, self.done / self._requests if self._requests else 0.0))

    def figures(self) -> dict[str, Any]:
        """The figures, for JSON: seconds and bytes."""
        latencies = self.latencies
        return {
            "url": str(self._request.url.without_userinfo()),
            "concurrency": self._concurrency,
            "requests": self.done,
            "seconds": round(self.seconds, 6),
            "requests_per_second": round(latencies.count / self.seconds, 3),
            "bytes": self.received,
            "bytes_per_second": round(self.received / self.seconds, 3),
            "connections": self.connections,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "errors": dict(self.errors.most_common()),
            "latency": {
                "min": latencies.least / 1e6,
                "mean": round(latencies.mean / 1e6, 9),
                **{f"p{share}": latencies.percentile(share) / 1e6 for share in PERCENTILES},
                "max": latencies.most / 1e6,
            },
            "histogram": [
                {"from": start / 1e6, "to": end / 1e6, "count": number} for start, end, number in latencies.rows()
            ],
        }

    def report(self) -> str:
        """The figures, for people."""
        latencies, seconds = self.latencies, self.seconds
        lines = [
            f"{one_line(self._request.method)} {self._request.url.shown}, {self._concurrency:,} at a time",
            f"{self.done:,} requests in {seconds:.2f} s: {latencies.count / seconds:,.0f} answers/s, "
            f"{human_size(self.received / seconds)}/s of bodies",
            f"{self.connections:,} connections opened",
        ]
        lines += [f"{number:,} × {status}" for status, number in sorted(self.statuses.items())]
        lines += [f"{number:,} × {name}" for name, number in self.errors.most_common()]
        if latencies.count:
            named = [("least", latencies.least), ("mean", latencies.mean)]
            named += [(f"{share} %", latencies.percentile(share)) for share in PERCENTILES]
            named += [("most", latencies.most)]
            lines += ["", "latency in ms", *(f"  {name:>6}  {_ms(value):>10}" for name, value in named), ""]
            rows = latencies.rows()
            most = max(number for _, _, number in rows)
            lines += [
                f"  {_ms(start):>10} - {_ms(end):<10} {_bar(number / most)} {number:,}" for start, end, number in rows
            ]
        return "\n".join(lines)


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:,.3f}"


def _bar(share: float) -> str:
    eighths = round(share * _WIDTH * 8)
    if share and not eighths:
        eighths = 1
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(_WIDTH)


def _print(run: Bench, options: BenchOptions) -> None:
    text = json.dumps(run.figures(), indent=2) if options.json else run.report()
    if sys.stdout is None:
        raise StandardOutputError from OSError("it is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without █ gets question marks
    try:
        print(text, flush=True)
    except OSError as error:
        raise StandardOutputError from error
