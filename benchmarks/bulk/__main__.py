"""Many requests, and a crawl: aiohttpconn, aiohttp and Scrapy on the same list and the same site.

    python -m benchmarks.bulk map        # 200,000 URLs of 2,000 origins
    python -m benchmarks.bulk crawl      # a site of 20,000 pages

Each client takes its turn in a process of its own on one core, nginx serves on the other. All have 100 requests under
way at most, 8 to an origin, and may keep as many connections open as they like; all run on uvloop. Scrapy is given the
first tenth of the list.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

from ..measure import raise_file_limit
from ..report import table
from .job import Job, command
from .servers import serve

PEERS = {"map": ("ours", "semaphore", "spider"), "crawl": ("ours", "spider")}
NAMES = {"ours": "aiohttpconn", "semaphore": "aiohttp", "spider": "Scrapy"}
BARS = {("map", "semaphore"): 3.0, ("map", "spider"): 5.0, ("crawl", "spider"): 5.0}
FLAT = 32 << 20
SLOW = {("map", "spider"): 10}
"""Who is given only the first so-many-th of the list: a round of half an hour would tell no more."""


def write_urls(path: Path, count: int, origins: int, port: int) -> None:
    """A list that goes through the origins in no order, each as often as the others."""
    order = [number % origins for number in range(count)]
    random.Random(1).shuffle(order)
    with path.open("w") as file:
        for number, origin in enumerate(order):
            file.write(f"http://127.1.{origin // 250}.{origin % 250 + 1}:{port}/item/{number}\n")


def run(job: Job, peer: str) -> dict[str, float]:
    """One client's turn."""
    done = subprocess.run(command(job, peer), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{NAMES[peer]}: {done.stderr.strip()[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{NAMES[peer]:12} {figures['pages'] / figures['wall']:8.0f} pages/s", file=sys.stderr, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=PEERS)
    parser.add_argument("--pages", type=int, help="how many to fetch (default 200,000; crawl: 20,000)")
    parser.add_argument("--origins", type=int, default=2000)
    parser.add_argument("--peers", help=f"clients beside it, with commas between: {','.join(PEERS['map'][1:])}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client-core", type=int, default=0)
    parser.add_argument("--server-core", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a file for all figures, as JSON")
    options = parser.parse_args()
    kind = options.kind
    pages = options.pages or (200_000 if kind == "map" else 20_000)
    if not {options.client_core, options.server_core} <= os.sched_getaffinity(0):
        parser.error("needs two cores: see --client-core and --server-core")
    rounds: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS[kind]}
    if options.peers:
        rounds = {peer: [] for peer in rounds if peer == "ours" or peer in options.peers.split(",")}
    with (
        serve(options.server_core, raise_file_limit(), pages if kind == "crawl" else 1) as port,
        tempfile.NamedTemporaryFile("w") as urls,
    ):
        if kind == "map":
            write_urls(Path(urls.name), pages, options.origins, port)
        job = Job(kind, options.client_core, pages, urls.name, f"http://127.0.0.1:{port}/p/0.html")
        for _ in range(options.rounds):
            for peer, results in rounds.items():
                results.append(run(replace(job, pages=pages // SLOW.get((kind, peer), 1)), peer))
    rates = {peer: median(one["pages"] / one["wall"] for one in results) for peer, results in rounds.items()}
    costs = {peer: median(one["cpu"] / one["pages"] for one in results) for peer, results in rounds.items()}
    rows = [
        [
            NAMES[peer],
            f"{rates[peer]:,.0f}",
            f"{costs[peer] * 1e6:,.0f} µs",
            f"{median(one['growth'] for one in results) / (1 << 20):.1f} MiB",
            f"{median(one['peak'] for one in results) / (1 << 20):.0f} MiB",
            "" if peer == "ours" else f"{rates['ours'] / rates[peer]:.1f}",
            "" if peer == "ours" else f"{costs[peer] / costs['ours']:.1f}",
        ]
        for peer, results in rounds.items()
    ]
    columns = [
        "client",
        "pages/s",
        "CPU a page",
        "growth after the first quarter",
        "peak",
        "aiohttpconn is × as fast",
        "by CPU",
    ]
    print("\n".join(table(columns, rows)))
    for (bar_kind, peer), times in BARS.items():
        if bar_kind == kind and peer in rounds:
            reached = rates["ours"] / rates[peer]
            print(f"{'ok    ' if reached >= times else 'MISSED'} {reached:.1f} × {NAMES[peer]} (at least {times:g})")
    if kind == "map":
        growth = max(one["growth"] for one in rounds["ours"])
        print(f"{'ok    ' if growth < FLAT else 'MISSED'} memory grew by {growth / (1 << 20):.1f} MiB (under 32)")
    if options.output:
        versions = {name: version(name) for name in ("aiohttpconn", "aiohttp", "scrapy", "selectolax", "uvloop")}
        options.output.write_text(json.dumps({"kind": kind, "versions": versions, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
