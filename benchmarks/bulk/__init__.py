"""Many requests and crawling, beside Scrapy and aiohttp: ``python -m benchmarks.bulk`` (see `__main__`)."""
