"""aiohttp, as it is used for many requests: a task for each, a semaphore around, read in batches of tasks."""

from __future__ import annotations

import asyncio

import aiohttp
import uvloop

from ..measure import Meter, status_bytes
from .job import CONCURRENCY, PER_HOST, Count, Job, begin, report


async def map_all(job: Job, count: Count) -> int:
    """The list. The task of a URL is made when there is room for it: 200,000 at once would be 200,000 tasks."""
    semaphore = asyncio.Semaphore(CONCURRENCY)
    connector = aiohttp.TCPConnector(limit=CONCURRENCY, limit_per_host=PER_HOST)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def fetch(url: str) -> None:
            try:
                async with session.get(url) as response:
                    response.raise_for_status()
                    count.page(await response.read())
            finally:
                semaphore.release()

        async with asyncio.TaskGroup() as group:
            for url in job.lines():
                await semaphore.acquire()
                group.create_task(fetch(url))
        return status_bytes("VmRSS")


def main() -> None:
    job = begin()
    count = Count(job.pages)
    with Meter() as meter:
        last = uvloop.run(map_all(job, count))
    report(meter, count, last)


if __name__ == "__main__":
    main()
