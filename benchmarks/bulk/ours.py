"""aiohttpconn: `Client.map` over a list, and the crawler that README shows."""

from __future__ import annotations

import json

import uvloop

from aiohttpconn import Client, Frontier, Limits

from ..measure import Meter, status_bytes
from .job import CONCURRENCY, KEPT, PER_HOST, Count, Job, begin, output, report


async def map_all(job: Job, count: Count) -> int:
    """The list."""
    async with Client(limits=Limits(max_connections=KEPT), trust_env=False) as client:
        async for result in client.map(job.lines(), concurrency=CONCURRENCY, per_host=PER_HOST):
            count.page(result.unwrap().raise_for_status().content)
        return status_bytes("VmRSS")


async def crawl(job: Job, count: Count) -> int:
    """The site."""
    from selectolax.lexbor import LexborHTMLParser

    frontier = Frontier([job.start], accept=lambda url: url.host == "127.0.0.1")
    with output().open("a", buffering=1) as lines:
        async with Client(limits=Limits(max_connections=KEPT), trust_env=False) as client:
            async for result in client.map(frontier, per_host=PER_HOST, concurrency=CONCURRENCY):
                response = result.unwrap().raise_for_status()
                count.page(response.content)
                if response.headers.get("Content-Type", "").lower().startswith("text/html"):
                    page = LexborHTMLParser(response.content)
                    base = page.css_first("base[href]")
                    links = [link.attributes["href"] for link in page.css("a[href]")]
                    frontier.add_links(result, links, base=base and base.attributes["href"])
                    title = page.css_first("title")
                    lines.write(json.dumps({"url": result.url, "title": title and title.text()}) + "\n")
            return status_bytes("VmRSS")


def main() -> None:
    job = begin()
    count = Count(job.pages)
    with Meter() as meter:
        last = uvloop.run((map_all if job.kind == "map" else crawl)(job, count))
    report(meter, count, last)


if __name__ == "__main__":
    main()
