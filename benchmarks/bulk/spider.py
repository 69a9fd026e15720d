"""Scrapy, with what it need not do switched off: the list as start requests, and the site with the same parser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from selectolax.lexbor import LexborHTMLParser

from ..measure import Meter, status_bytes
from .job import CONCURRENCY, PER_HOST, Count, Job, begin, output, report

SETTINGS: dict[str, Any] = {
    "CONCURRENT_REQUESTS": CONCURRENCY,
    "CONCURRENT_REQUESTS_PER_DOMAIN": PER_HOST,
    "CONCURRENT_ITEMS": 8,  # so many tasks are made for each page, and there are no items: 100 cost 5 % more
    "DOWNLOAD_DELAY": 0,
    "ROBOTSTXT_OBEY": False,
    "COOKIES_ENABLED": False,
    "REDIRECT_ENABLED": False,
    "REFERER_ENABLED": False,
    "RETRY_ENABLED": False,
    "AJAXCRAWL_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
    "LOG_ENABLED": False,
    "LOGSTATS_INTERVAL": 0,
    "MEMUSAGE_ENABLED": False,
    "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
}


class _Measured(scrapy.Spider):
    job: Job
    count: Count
    last = 0

    def page(self, response: Any) -> None:
        """A page came."""
        type(self).count.page(response.body)
        if type(self).count.count == type(self).count.pages:
            type(self).last = status_bytes("VmRSS")


class MapSpider(_Measured):
    """The list."""

    name = "map"

    async def start(self) -> AsyncIterator[Any]:
        """Scrapy reads it as it has room."""
        for url in self.job.lines():
            yield scrapy.Request(url, self.parse, dont_filter=True)

    def parse(self, response: Any) -> None:
        self.page(response)


class SiteSpider(_Measured):
    """The site."""

    name = "site"
    allowed_domains = ("127.0.0.1",)

    async def start(self) -> AsyncIterator[Any]:
        self.lines = output().open("a", buffering=1)
        yield scrapy.Request(self.job.start, self.parse)

    def parse(self, response: Any) -> Iterator[Any]:
        self.page(response)
        if response.headers.get("Content-Type", b"").startswith(b"text/html"):
            page = LexborHTMLParser(response.body)
            title = page.css_first("title")
            self.lines.write(json.dumps({"url": response.url, "title": title and title.text()}) + "\n")
            for link in page.css("a[href]"):
                yield scrapy.Request(response.urljoin(link.attributes["href"] or ""), self.parse)

    def closed(self, reason: str) -> None:
        self.lines.close()


def main() -> None:
    job = begin()
    spider: type[_Measured] = MapSpider if job.kind == "map" else SiteSpider
    spider.job, spider.count = job, Count(job.pages)
    with Meter() as meter:
        process = CrawlerProcess(SETTINGS)
        process.crawl(spider)
        process.start()
    report(meter, spider.count, spider.last)


if __name__ == "__main__":
    main()
