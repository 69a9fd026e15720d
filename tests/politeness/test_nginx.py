"""Rules against the limits of the real nginx: what its log says of what went out, and when."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import AdaptiveThrottle, Client, HostConcurrency, RateLimit, Retry, RobotsDenied, RobotsTxt
from tests.servers.logged_nginx import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme

    from tests.servers.logged_nginx import LoggedNginx

pytestmark = pytest.mark.interop

_calls = itertools.count()

LIMIT = 4
DELAY = 0.05
CLOCKS = 0.005
"""Seconds by which nginx's clock, which it reads once a turn, and ours may differ over one second."""

ZONES = """
  limit_req_zone $args zone=refusing:64k rate=10r/s;
  limit_req_zone $args zone=paced:64k rate=100r/s;
  limit_req_status 429;
  limit_conn_zone $server_port zone=few:64k;
  map $status $after { 429 1; }
"""
LOCATIONS = f"""
    location /refusing/ {{
      limit_req zone=refusing burst=9 nodelay; add_header Retry-After $after always; try_files /f =404;
    }}
    location /paced/ {{ limit_req zone=paced burst=30 nodelay; try_files /f =404; }}
    location /few/ {{ limit_conn few {LIMIT}; try_files /f =404; }}
    location = /robots.txt {{ return 200 "User-agent: *\\nDisallow: /private\\nCrawl-delay: {DELAY}\\n"; }}
    location / {{ try_files /f =404; }}
"""


@pytest.fixture(scope="module")
def running(ca: trustme.CA) -> Iterator[LoggedNginx]:
    with serving(ca, LOCATIONS, ZONES) as server:
        yield server


@pytest.fixture
def server(running: LoggedNginx) -> LoggedNginx:
    """Its file is small; nothing is in its log yet."""
    running.put(b"a page", 1_600_000_000)
    running.logged()
    return running


def several(server: LoggedNginx, location: str, count: int) -> list[str]:
    """So many URLs there; nginx's limits of a rate begin anew with each call, for it counts by the query."""
    call = next(_calls)
    return [f"{server.url}/{location}/{number}?{call}" for number in range(count)]


async def statuses(client: Client, urls: list[str]) -> list[int]:
    return [response.status for response in await asyncio.gather(*map(client.get, urls))]


async def test_all_of_it_is_fetched_from_who_refuses_some(server: LoggedNginx) -> None:
    # It takes ten at once, and ten more when the second is over that it asks for.
    throttle = AdaptiveThrottle(start=20, limit=20, slow=None)
    again = Retry(attempts=5, backoff=0.0, budget=None)
    async with (
        Client(trust_env=False, politeness=throttle, retries=again) as client,
        Client(trust_env=False, politeness=throttle) as other,
    ):
        pages = asyncio.create_task(statuses(client, several(server, "refusing", 20)))
        while throttle.window("127.0.0.1") == 20:
            await asyncio.sleep(0.001)
        # From here on, the host is to be left in peace: by another client, and where it refuses nothing, too.
        assert (await other.get(f"{server.url}/elsewhere")).status == 200
        assert await pages == [200] * 20
    log = server.logged()
    first, later = log[:20], log[20:]
    refused = [each.at for each in first if each.status == 429]
    assert refused
    assert {each.target for each in later} >= {"/elsewhere"}
    assert min(each.at for each in later) - max(refused) > 1 - CLOCKS


async def test_who_keeps_to_the_rate_is_never_refused(server: LoggedNginx) -> None:
    rule = RateLimit(80, burst=10)
    urls = several(server, "paced", 50)
    async with (
        Client(trust_env=False, politeness=rule) as client,
        Client(trust_env=False, politeness=rule) as other,
    ):
        found = await asyncio.gather(statuses(client, urls[::2]), statuses(other, urls[1::2]))
    assert list(itertools.chain(*found)) == [200] * 50
    assert {each.status for each in server.logged()} == {200}


async def test_robots_txt_is_fetched_once_and_kept_to(server: LoggedNginx) -> None:
    targets = ["/a", "/private/a", "/b", "/private/b", "/c", "/d"]
    async with Client(trust_env=False, politeness=RobotsTxt("tests")) as client:
        got = await asyncio.gather(*[client.get(server.url + target) for target in targets], return_exceptions=True)
    assert [isinstance(each, RobotsDenied) for each in got] == ["private" in target for target in targets]
    log = server.logged()
    assert log[0].target == "/robots.txt"
    assert sorted(each.target for each in log[1:]) == ["/a", "/b", "/c", "/d"]
    # Its answer came before the first of the pages was sent: however long that took, between them lie three delays.
    assert log[-1].at - log[0].at > 3 * DELAY - CLOCKS


async def test_who_keeps_to_the_number_is_never_refused(server: LoggedNginx) -> None:
    server.put(bytes(1 << 20), 1_600_000_001)
    urls = several(server, "few", 6 * LIMIT)
    async with Client(trust_env=False, politeness=HostConcurrency(LIMIT)) as client:
        assert await statuses(client, urls) == [200] * len(urls)
    assert {each.status for each in server.logged()} == {200}
