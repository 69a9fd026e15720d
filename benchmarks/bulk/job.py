"""What every client is given, and what it reports: a job in one process of its own, pinned to one core."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from ..measure import Meter, pin, raise_file_limit, status_bytes

CONCURRENCY = 100
PER_HOST = 8
KEPT = 4096
"""Connections that a client may keep open: more than there are origins."""


@dataclass(frozen=True)
class Job:
    """`kind`: map or crawl. `urls`: a file of URLs, one a line (map). `start`: the first page (crawl). `pages`: how
    many there are to fetch."""

    kind: str
    core: int
    pages: int
    urls: str = ""
    start: str = ""

    def lines(self) -> Iterator[str]:
        """The URLs, read as they are asked for."""
        with open(self.urls, encoding="ascii") as file:
            for line in islice(file, self.pages):
                yield line.rstrip("\n")


class Count:
    """Counts the pages, and looks at the memory at a quarter of them and at the last."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.count = 0
        self.size = 0
        self.quarter = 0
        self._quarter_at = pages // 4

    def page(self, body: bytes) -> None:
        """A page came."""
        self.count += 1
        self.size += len(body)
        if self.count == self._quarter_at:
            self.quarter = status_bytes("VmRSS")


def begin() -> Job:
    """The job of this process."""
    job = Job(**json.loads(sys.argv[1]))
    pin(job.core)
    raise_file_limit()
    return job


def report(meter: Meter, count: Count, last: int) -> None:
    """Print the figures. `last`: resident memory when the last page had come."""
    if count.count != count.pages:
        raise SystemExit(f"{count.count} pages instead of {count.pages}")
    print(
        json.dumps(
            {
                "wall": meter.wall,
                "cpu": meter.cpu,
                "pages": count.count,
                "bytes": count.size,
                "growth": last - count.quarter,
                "peak": meter.memory,
            }
        )
    )


def command(job: Job, module: str) -> list[str]:
    """How a client's process is started."""
    return [sys.executable, "-m", f"{__package__}.{module}", json.dumps(asdict(job))]


def output(path: str = "/dev/null") -> Path:
    """Where the crawlers write their lines: what a disk costs is not compared."""
    return Path(path)
