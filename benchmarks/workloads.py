"""The workloads: what each asks of a client, and what it measures."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
import urllib.request
import zlib
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .contents import BLOCK, DOCUMENT_SIZE, PAGE, SAMPLE_MIB, UPLOAD_BLOCK, Targets
from .imports import STANDARD_LIBRARY
from .measure import Meter, Sample, cpu_seconds, resident
from .peers import CLIENTS, FLOORS, OURS, Peer, Settings

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to do: `seconds` of measuring where a workload has no size of its own, `origins` to visit."""

    seconds: float
    origins: int


Run = Callable[[Peer, Targets, Plan], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the comparison.

    `operation` is what the CPU is counted per. `run` is None where not a client is measured but its import
    (imports.py). `least` is how many measurements of each peer there are at least, however few the rounds. `proxy` is
    the scheme of the proxy that it goes through.
    """

    name: str
    title: str
    operation: str
    run: Run | None
    peers: tuple[str, ...]
    least: int = 1
    proxy: str | None = None


def check(what: str, got: object, expected: object) -> None:
    """No measurement of a client that does not deliver."""
    if got != expected:
        raise RuntimeError(f"{what}: {got!r} instead of {expected!r}")


# --- many small requests ----------------------------------------------------------------------------------------------


def slots(count: int) -> array[float]:
    """Room for so many latencies: the memory is the benchmark's own, so it is there before any is measured."""
    return array("d", bytes(8 * count))


async def drive(peer: Peer, urls: Iterator[str], size: int, tasks: int, latencies: array[float]) -> None:
    """Fetch as many of `urls` as there are `latencies` (in seconds) to fill, by so many tasks; check every size."""
    shared = zip(range(len(latencies)), urls, strict=False)
    clock = time.perf_counter

    async def work() -> None:
        for n, url in shared:
            started = clock()
            body = await peer.get(url)
            latencies[n] = clock() - started
            if len(body) != size:  # type: ignore[arg-type]
                check(url, len(body), size)  # type: ignore[arg-type]

    await asyncio.gather(*(work() for _ in range(tasks)))
    if min(latencies) <= 0:
        raise RuntimeError("requests were left out")


async def warm_up(peer: Peer, urls: Iterator[str], size: int, tasks: int, seconds: float) -> float:
    """Fetch for about so many seconds, and return how many requests a second there were at last."""
    await drive(peer, urls, size, tasks, slots(tasks))  # opens the connections
    count = tasks
    while True:
        started = time.perf_counter()
        await drive(peer, urls, size, tasks, slots(count))
        elapsed = time.perf_counter() - started
        if elapsed >= seconds / 2:
            return count / elapsed
        count *= 2


async def fetch_many(
    peer: Peer, settings: Settings, urls: Iterator[str], size: int, crc: int, tasks: int, plan: Plan
) -> Sample:
    """Measure about `plan.seconds` of keep-alive GETs."""
    await peer.open(settings)
    try:
        check("checksum", zlib.crc32(await peer.get(next(urls))), crc)
        rate = await warm_up(peer, urls, size, tasks, plan.seconds / 2)
        count = max(int(rate * plan.seconds), 2 * tasks)
        latencies = slots(count)
        with Meter() as meter:
            await drive(peer, urls, size, tasks, latencies)
    finally:
        await peer.close()
    return meter.sample(count, size, latencies)


def pages(
    base: str,
    *,
    tasks: int,
    connections: int | None = None,
    distinct: bool = False,
    path: str = "page",
    fresh: bool = False,
) -> Run:
    """A workload of GETs of 1 KiB. `fresh`: each over a new connection."""

    async def run(peer: Peer, targets: Targets, plan: Plan) -> Sample:
        url = getattr(targets, base)
        urls = (f"{url}/distinct/{n}" for n in itertools.count()) if distinct else itertools.repeat(f"{url}/{path}")
        settings = Settings(connections or tasks, targets.authority, fresh=fresh)
        return await fetch_many(peer, settings, urls, len(PAGE), targets.page_crc, tasks, plan)

    return run


async def documents(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    """GETs of a compressed JSON document, 32 at a time."""
    settings = Settings(32, targets.authority, decode=True)
    urls = itertools.repeat(f"{targets.http}/document")
    return await fetch_many(peer, settings, urls, DOCUMENT_SIZE, targets.document_crc, 32, plan)


async def origins(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    """One GET to each of many origins, 500 at a time: the first quarter and the last quarter are compared."""
    count = plan.origins
    quarter = count // 4
    connections = min(500, quarter)

    def urls(network: int, start: int, stop: int) -> Iterator[str]:
        for n in range(start, stop):
            yield f"http://127.{network}.{n >> 8}.{n & 255}:{targets.port}/page"

    await peer.open(Settings(connections, targets.authority, revisits=False))
    try:
        await drive(peer, urls(200, 0, connections), len(PAGE), connections, slots(connections))
        costs: list[float] = []
        parts = [slots(quarter), slots(count - 2 * quarter), slots(quarter)]
        visits = urls(100, 0, count)
        with Meter() as meter:
            for part in parts:
                before = cpu_seconds()
                await drive(peer, visits, len(PAGE), connections, part)
                costs.append((cpu_seconds() - before) / len(part))
    finally:
        await peer.close()
    sample = meter.sample(count, len(PAGE), list(itertools.chain(*parts)))
    sample.extra = {"first": costs[0], "last": costs[-1], "growth": costs[-1] / costs[0]}
    return sample


# --- large bodies -----------------------------------------------------------------------------------------------------


class Checksum:
    """The checksum of the pieces that it is called with."""

    crc = 0

    def __call__(self, data: Buffer) -> None:
        self.crc = zlib.crc32(data, self.crc)


async def download(peer: Peer, targets: Targets, small: str, large: str, size: int, proxy: str | None = None) -> Sample:
    """Measure one large download, after a small one whose checksum is compared."""
    await peer.open(Settings(1, targets.authority, proxy=proxy))
    try:
        checksum = Checksum()
        check("size", await peer.stream(small, checksum), targets.sample_size)
        check("checksum", checksum.crc, targets.sample_crc)
        with Meter() as meter:
            received = await peer.stream(large)
        check("size", received, size)
    finally:
        await peer.close()
    return meter.sample(1, size)


async def stream(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    base = targets.http
    return await download(peer, targets, f"{base}/sample", f"{base}/large", targets.stream_size)


async def stream_tls(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    base = targets.https
    return await download(peer, targets, f"{base}/sample", f"{base}/large", targets.stream_size)


def tunnelled(base: str, proxy: str) -> Run:
    """A workload of one large body through a proxy that passes bytes on: CONNECT or SOCKS."""

    async def run(peer: Peer, targets: Targets, plan: Plan) -> Sample:
        url = getattr(targets, base)
        small, large = f"{url}/sample", f"{url}/tunnelled"
        return await download(peer, targets, small, large, targets.tunnel_size, targets.proxies[proxy])

    return run


async def chunked(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    size = targets.chunked_size
    base = f"{targets.raw}/chunked"
    return await download(peer, targets, f"{base}/{SAMPLE_MIB}", f"{base}/{size >> 20}", size)


async def blocks(block: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield block


async def upload(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    """POST an async iterator; the answer says how much arrived."""
    await peer.open(Settings(1, targets.authority))
    try:
        answer = bytes(await peer.upload(f"{targets.raw}/sink/crc", blocks(BLOCK, SAMPLE_MIB)))
        check("answer", answer, b"%d %d" % (targets.sample_size, targets.sample_crc))
        with Meter() as meter:
            body = blocks(UPLOAD_BLOCK, targets.upload_size // len(UPLOAD_BLOCK))
            answer = bytes(await peer.upload(f"{targets.raw}/sink", body))
        check("answer", answer, b"%d 0" % targets.upload_size)
    finally:
        await peer.close()
    return meter.sample(1, targets.upload_size)


FORM_SIZE: Final = 1 << 30
BOMB_MIB: Final = 10_240


async def form(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    """POST a file of 1 GiB (a hole, which costs no disk) as multipart/form-data."""
    await peer.open(Settings(1, targets.authority))
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "large"
            with file.open("wb") as opened:
                opened.truncate(FORM_SIZE)
            await peer.get(f"{targets.http}/page")
            with Meter() as meter:
                answer = bytes(await peer.upload_form(f"{targets.raw}/sink", file))  # type: ignore[arg-type]
        if not FORM_SIZE < int(answer.split()[0]) < FORM_SIZE + 1000:
            raise RuntimeError(f"the server got {answer!r}")
    finally:
        await peer.close()
    return meter.sample(1, FORM_SIZE)


async def bomb(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    """Read 1 MiB of a body of 10 GiB of zeros, gzip, and stop."""
    await peer.open(Settings(1, targets.authority, decode=True))
    try:
        await peer.get(f"{targets.http}/document")
        with Meter() as meter:
            size = await peer.begin(f"{targets.raw}/bomb/{BOMB_MIB}", 1 << 20)
    finally:
        await peer.close()
    return meter.sample(1, size)


# --- connections that wait --------------------------------------------------------------------------------------------

IDLE_CONNECTIONS: Final = 1000


async def idle_memory(peer: Peer, targets: Targets, plan: Plan) -> Sample:
    """Resident memory of 1,000 idle connections; the server answers once it has as many requests."""
    await peer.open(Settings(IDLE_CONNECTIONS, targets.authority))
    try:
        await peer.get(f"{targets.raw}/hold/1")
        # The tasks are the benchmark's own: their memory is taken before, and used again.
        await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(IDLE_CONNECTIONS)))
        before = resident()
        url = f"{targets.raw}/hold/{IDLE_CONNECTIONS}"
        with Meter() as meter:
            await asyncio.gather(*(peer.get(url) for _ in range(IDLE_CONNECTIONS)))
        after = resident()
        with urllib.request.urlopen(f"{targets.raw}/open") as answer:
            check("open connections", int(answer.read()), IDLE_CONNECTIONS)
    finally:
        await peer.close()
    sample = meter.sample(IDLE_CONNECTIONS)
    sample.extra = {"each": (after - before) / IDLE_CONNECTIONS}
    return sample


TUNNELLERS: Final = ("aiohttpconn", "aiohttpconn-direct", "pyreqwest", "aiohttp", "httpx")
SOCKS_TUNNELLERS: Final = ("aiohttpconn", "aiohttpconn-direct", "pyreqwest", "httpx")  # aiohttp knows no SOCKS

WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload(
            "get",
            "1 KiB keep-alive GET, 64 at a time",
            "request",
            pages("http", tasks=64),
            (*CLIENTS, "bare-streams", "bare-protocol"),
        ),
        Workload(
            "get-512",
            "1 KiB keep-alive GET, 512 tasks over 100 connections",
            "request",
            pages("http", tasks=512, connections=100),
            (*CLIENTS, "bare-streams"),
        ),
        Workload(
            "get-distinct",
            "1 KiB keep-alive GET, 64 at a time, every URL different",
            "request",
            pages("http", tasks=64, distinct=True),
            (*CLIENTS, "bare-streams"),
        ),
        Workload(
            "get-cookies",
            "1 KiB keep-alive GET, 64 at a time, a cookie sent with each and set by each response",
            "request",
            pages("http", tasks=64, path="cookies"),
            ("aiohttpconn", "aiohttpconn-plain", "aiohttp"),
        ),
        Workload(
            "get-polite",
            "1 KiB keep-alive GET, 64 at a time, with a rule of politeness that never holds back",
            "request",
            pages("http", tasks=64),
            ("aiohttpconn", "aiohttpconn-rate-limit", "aiohttpconn-host-concurrency"),
        ),
        Workload(
            "get-cached",
            "1 KiB GET, 64 at a time, from a cache",
            "request",
            pages("http", tasks=64, path="cached"),
            ("aiohttpconn", "aiohttpconn-memory-cache", "aiohttpconn-sqlite-cache"),
        ),
        Workload(
            "latency",
            "1 KiB keep-alive GET, one at a time",
            "request",
            pages("http", tasks=1),
            (*CLIENTS, "bare-streams", "bare-protocol"),
        ),
        Workload("stream", "a large body streamed, plain", "transfer", stream, (*CLIENTS, *FLOORS)),
        Workload("stream-tls", "a large body streamed over TLS", "transfer", stream_tls, (*CLIENTS, *FLOORS)),
        Workload(
            "stream-connect",
            "a body streamed over TLS through an HTTP proxy",
            "transfer",
            tunnelled("https", "http"),
            TUNNELLERS,
            proxy="http",
        ),
        Workload(
            "stream-socks",
            "a body streamed, plain, through a SOCKS 5 proxy",
            "transfer",
            tunnelled("http", "socks5"),
            SOCKS_TUNNELLERS,
            proxy="socks5",
        ),
        Workload(
            "stream-socks-tls",
            "a body streamed over TLS through a SOCKS 5 proxy",
            "transfer",
            tunnelled("https", "socks5"),
            SOCKS_TUNNELLERS,
            proxy="socks5",
        ),
        Workload(
            "stream-tls-in-tls",
            "a body streamed over TLS through an HTTPS proxy: TLS inside TLS",
            "transfer",
            tunnelled("https", "https"),
            TUNNELLERS,
            proxy="https",
        ),
        Workload(
            "get-tls",
            "1 KiB keep-alive GET over TLS, 64 at a time",
            "request",
            pages("https", tasks=64),
            (*CLIENTS, "bare-streams", "bare-protocol"),
        ),
        Workload(
            "connect-tls",
            "1 KiB GET over a new TLS connection each, verified in full, 16 at a time",
            "connection",
            pages("https_full", tasks=16, fresh=True),
            ("aiohttpconn", "pyreqwest", "aiohttp", "httpx"),
        ),
        Workload(
            "connect-tls-resumed",
            "1 KiB GET over a new TLS connection each, its session resumed, 16 at a time",
            "connection",
            pages("https", tasks=16, fresh=True),
            ("aiohttpconn", "aiohttpconn-unresumed", "pyreqwest", "aiohttp"),
        ),
        Workload("chunked", "a body streamed in 16 KiB chunks", "transfer", chunked, (*CLIENTS, "bare-streams")),
        Workload("gzip", "gzip JSON of 119 kB, 32 at a time", "request", documents, CLIENTS),
        Workload("upload", "an upload from an async iterator", "transfer", upload, (*CLIENTS, "bare-streams")),
        Workload("form", "1 GiB as a file in multipart/form-data", "transfer", form, (OURS,)),
        Workload("bomb", "a gzip bomb of 10 GiB, left after 1 MiB", "transfer", bomb, (OURS,)),
        Workload(
            "origins", "one GET to each of many origins, 500 at a time", "request", origins, (*CLIENTS, "bare-streams")
        ),
        Workload(
            "idle-memory",
            "1,000 idle plain connections",
            "connection",
            idle_memory,
            # Not httpx and httpx2, which need half a minute to open so many.
            ("aiohttpconn", "pyreqwest", "aiohttp", "bare-streams", "bare-protocol"),
        ),
        Workload("import", "importing it, in a fresh interpreter", "import", None, (*CLIENTS, STANDARD_LIBRARY), 15),
    )
}
