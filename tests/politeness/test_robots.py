"""`RobotsTxt`: what is asked for, how often, and what follows from the answer (RFC 9309)."""

from __future__ import annotations

import asyncio
import gzip
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Client,
    ConnectError,
    HostConcurrency,
    RateLimit,
    ReadTimeout,
    Retry,
    RobotsDenied,
    RobotsTxt,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.politeness import robots
from aiohttpconn.politeness.admission import running_admission
from tests.auditing import audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.servers import raw
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.raw import Received

FILE = b"""
User-agent: *
Disallow: /private
Allow: /private/open

User-agent: goodbot
Disallow: /goodbots-not
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that do not take the tests' time."""
    retry = robots._RETRY
    quick = Retry(retry.attempts, retry.statuses, 0.001, max_delay=retry.max_delay, budget=retry.budget)
    monkeypatch.setattr(robots, "_RETRY", quick)


async def test_what_is_forbidden_is_named_without_its_secrets(http_server: OriginServer) -> None:
    Robots(http_server)
    async with crawler() as client:
        with pytest.raises(RobotsDenied, match="forbids /private/1") as caught:
            await client.get(f"{http_server.url}/private/1?token=s3cret")
    assert "s3cret" not in str(caught.value)


class Robots:
    """A server's robots.txt, and how often it was asked for."""

    def __init__(self, server: OriginServer, reply: Reply | None = None) -> None:
        self.reply = Reply(FILE) if reply is None else reply
        self.asked: list[Received] = []
        server.routes["/robots.txt"] = self.answer

    async def answer(self, request: Received) -> Reply:
        self.asked.append(request)
        await settle(3)
        return self.reply


@asynccontextmanager
async def crawler(rule: RobotsTxt | None = None, **options: Any) -> AsyncIterator[Client]:
    async with Client(trust_env=False, politeness=rule or RobotsTxt(), **options) as client:
        yield client
        await settle()
        assert client.pool is not None
        audit_quiet(client.pool)
        assert not running_admission()._lines


async def test_what_is_forbidden_is_not_sent(http_server: OriginServer) -> None:
    asked = Robots(http_server).asked
    async with crawler() as client:
        assert (await client.get(http_server.url)).status == 200
        with pytest.raises(RobotsDenied, match="forbids /private/x to aiohttpconn") as caught:
            await client.get(f"{http_server.url}/private/x")
        assert caught.value.request.url.path == "/private/x"
        assert (await client.get(f"{http_server.url}/private/open/x")).status == 404
        assert (await client.get(f"{http_server.url}/robots.txt")).content == FILE
    assert len(asked) == 2, "once for the rule, once for the caller"
    assert [request.path for request in http_server.requests].count("/private/x") == 0


@pytest.mark.parametrize("how", ["argument", "field"])
async def test_the_group_is_that_of_the_user_agent(how: str, http_server: OriginServer) -> None:
    Robots(http_server)
    rule = RobotsTxt("goodbot") if how == "argument" else RobotsTxt()
    fields = {} if how == "argument" else {"User-Agent": "Mozilla/5.0 (compatible; GoodBot/2.1)"}
    async with crawler(rule, headers=fields) as client:
        assert (await client.get(f"{http_server.url}/private/x")).status == 404
        with pytest.raises(RobotsDenied):
            await client.get(f"{http_server.url}/goodbots-not")


async def test_fetched_once_for_all_who_ask_at_a_time(http_server: OriginServer) -> None:
    asked = Robots(http_server).asked
    async with crawler() as client:
        answers = await asyncio.gather(*[client.get(http_server.url) for _ in range(20)])
    assert [answer.status for answer in answers] == [200] * 20
    assert len(asked) == 1


async def test_each_origin_has_its_own(http_server: OriginServer) -> None:
    Robots(http_server)
    async with OriginServer() as other, crawler() as client:
        allowing = Robots(other, Reply(status=404))
        assert (await client.get(f"{other.url}/private/x")).status == 404
        with pytest.raises(RobotsDenied):
            await client.get(f"{other.url}/redirect/302?{http_server.url}/private/x")
    assert len(allowing.asked) == 1


STATUSES = [
    pytest.param(401, True, id="401-is-no-file"),
    pytest.param(404, True, id="404-is-no-file"),
    pytest.param(410, True, id="410-is-no-file"),
    pytest.param(429, False, id="429-comes-from-load"),
    pytest.param(500, False, id="500-forbids-everything"),
    pytest.param(503, False, id="503-forbids-everything"),
]


@pytest.mark.parametrize(("status", "allowed"), STATUSES)
async def test_what_follows_from_the_status(status: int, allowed: bool, http_server: OriginServer) -> None:
    asked = Robots(http_server, Reply(FILE, status=status)).asked
    async with crawler() as client:
        for _ in range(2):
            if allowed:
                assert (await client.get(f"{http_server.url}/private/x")).status == 404
            else:
                with pytest.raises(RobotsDenied, match=f"could not be had.*status {status}"):
                    await client.get(http_server.url)
    assert len(asked) == (1 if allowed else 4), "tried again for the first who asks, and then not for a minute"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_all_who_ask_wait_until_it_is_there(status: int, http_server: OriginServer) -> None:
    server = Robots(http_server, Reply(status=status))

    async def third(request: Received) -> Reply:
        answer = await server.answer(request)
        return Reply(FILE) if len(server.asked) > 2 else answer

    http_server.routes["/robots.txt"] = third
    async with crawler() as client:
        answers = await asyncio.gather(
            *[client.get(f"{http_server.url}/{path}") for path in ("", "bytes/100", "private")], return_exceptions=True
        )
    assert [type(answer).__name__ for answer in answers] == ["Response", "Response", "RobotsDenied"]
    assert len(server.asked) == 3


async def test_it_is_asked_for_again_when_retry_after_says(
    http_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    server = Robots(http_server, Reply(status=503, fields=[("Retry-After", "45")]))
    async with crawler() as client:
        with monkeypatch.context() as patch, pytest.raises(RobotsDenied, match="status 503"):
            patch.setattr(asyncio, "sleep", noted)
            await client.get(http_server.url)
    assert pauses == [45.0] * 3
    server.asked.clear()
    server.reply = Reply(status=429, fields=[("Retry-After", "600")])
    rule = RobotsTxt()
    async with crawler(rule) as client:
        with pytest.raises(RobotsDenied, match="status 429"):
            await client.get(http_server.url)
        (said,) = rule._said.values()
        assert 590 < said.until - asyncio.get_running_loop().time() < 600.1, "nor is it asked for before that"
    assert len(server.asked) == 1, "nobody waits that long"


async def test_the_wait_for_it_counts_within_the_total(http_server: OriginServer) -> None:
    Robots(http_server, Reply(status=503, fields=[("Retry-After", "45")]))
    async with crawler() as client:
        with pytest.raises(TotalTimeout, match="waiting for the turn"):
            await client.get(http_server.url, timeout=Timeout(total=0.05))
        await settle(10)
        assert not [task for task in asyncio.all_tasks() if "RobotsTxt._fetch" in repr(task)], "nobody waits for it"


async def test_a_lost_connection_is_tried_again_a_timeout_is_not(raw_server: Any, http_server: OriginServer) -> None:
    lost = [raw.Request(), raw.Close()]
    none, page = [raw.Send(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status) for status in (b"404 None", b"200 OK")]
    server = await raw_server(lost, lost, [raw.Request(), none, raw.Request(), page])
    async with crawler() as client:
        assert (await client.get(server.url)).status == 200

    asked = 0

    async def silent(request: Received) -> Reply:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError

    http_server.routes["/robots.txt"] = silent
    async with crawler(timeout=Timeout(read=0.05)) as client:
        with pytest.raises(ReadTimeout):
            await client.get(http_server.url)
    assert asked == 1


async def test_an_older_file_holds_on_where_a_new_one_cannot_be_had(http_server: OriginServer) -> None:
    server = Robots(http_server)
    async with crawler(RobotsTxt(max_age=0)) as client:
        assert (await client.get(http_server.url)).status == 200
        server.reply = Reply(status=503)
        assert (await client.get(http_server.url)).status == 200
        with pytest.raises(RobotsDenied, match="forbids /private"):
            await client.get(f"{http_server.url}/private")
    assert len(server.asked) == 2, "after max_age it is asked for again, after a failure not at once"


async def test_an_origin_that_cannot_be_reached_fails_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    class Counted(RobotsTxt):
        async def _ask(self, *args: Any) -> Any:
            nonlocal tries
            tries += 1
            return await super()._ask(*args)

    async with crawler(Counted()) as client:
        errors = await asyncio.gather(
            *[client.get(f"http://127.0.0.1:1/{number}") for number in range(3)], return_exceptions=True
        )
        assert tries == 4
        with pytest.raises(ConnectError):
            await client.get("http://127.0.0.1:1/")
        assert tries == 5, "whoever asks next does not wait again"
    assert [type(error) for error in errors] == [ConnectError] * 3
    assert sorted(error.request.url.path for error in errors) == ["/0", "/1", "/2"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("hops", "allowed"), [(5, True), (6, False)])
async def test_redirects_of_the_file(hops: int, allowed: bool, http_server: OriginServer) -> None:
    target = "/rules"
    for _ in range(hops - 1):
        target = f"/redirect/302?{target}"
    Robots(http_server, Reply(status=301, fields=[("Location", target)]))
    http_server.routes["/rules"] = Reply(FILE)
    async with crawler() as client:
        with pytest.raises(RobotsDenied, match="forbids /private" if allowed else "more than 5 redirects"):
            await client.get(f"{http_server.url}/private")


async def test_it_is_asked_for_without_credentials(http_server: OriginServer) -> None:
    asked = Robots(http_server).asked
    async with crawler(auth=("user", "secret"), cookies={"session": "1"}, headers={"X-Key": "k"}) as client:
        await client.get(f"http://name:word@127.0.0.1:{http_server.port}/")
    names = {name.lower() for name, _ in asked[0].fields}
    assert names == {"host", "user-agent", "accept", "accept-encoding"}


async def test_a_long_file_is_read_in_part(http_server: OriginServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "MAX_BYTES", 1000)
    body = gzip.compress(b"User-agent: *\nDisallow: /early\n" + b"#" * 5000 + b"\nDisallow: /late\n" + b"#" * 100_000)
    Robots(http_server, Reply(body, fields=[("Content-Encoding", "gzip")]))
    async with crawler() as client:
        with pytest.raises(RobotsDenied):
            await client.get(f"{http_server.url}/early")
        assert (await client.get(f"{http_server.url}/late")).status == 404


async def test_a_file_that_takes_long_to_parse_is_parsed_in_a_thread(http_server: OriginServer) -> None:
    lines = b"".join(b"Disallow: /long/path/number/%d\n" % number for number in range(1000))
    Robots(http_server, Reply(b"\xef\xbb\xbfUser-agent: *\n" + lines))
    async with crawler() as client:
        with pytest.raises(RobotsDenied):
            await client.get(f"{http_server.url}/long/path/number/999")


async def test_any_bytes_are_some_file(http_server: OriginServer) -> None:
    Robots(http_server, Reply(bytes(range(256)) * 3 + b"\nUser-agent: *\r\nDisallow: /\xe4\n\0\n"))
    async with crawler() as client:
        assert (await client.get(http_server.url)).status == 200


async def test_crawl_delay_is_kept(http_server: OriginServer) -> None:
    Robots(http_server, Reply(b"User-agent: *\nCrawl-delay: 0.01\n"))
    async with crawler() as client:
        await client.get(http_server.url)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*[client.get(http_server.url) for _ in range(3)])
        assert loop.time() - began >= 0.018


async def test_a_crawl_delay_of_a_day_is_bounded(http_server: OriginServer) -> None:
    Robots(http_server, Reply(b"User-agent: *\nCrawl-delay: 86400\n"))
    async with crawler(RobotsTxt(max_crawl_delay=0.001)) as client:
        for _ in range(3):
            await client.get(http_server.url)
    async with crawler(RobotsTxt()) as client:
        await client.get(http_server.url)
        with pytest.raises(TotalTimeout, match="waiting for the turn"):
            await client.get(http_server.url, timeout=Timeout(total=0.005))


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, http_server: OriginServer) -> None:
    monkeypatch.setattr(robots, "MAX_KEPT", 2 * len(FILE) + 250)
    Robots(http_server)
    rule = RobotsTxt()
    async with OriginServer() as second, OriginServer() as third, crawler(rule) as client:
        first = http_server
        asked = [Robots(server).asked for server in (first, second, third)]
        for server in (first, second, first, third, first, second):
            await client.get(server.url)
        assert [len(each) for each in asked] == [1, 2, 1], "the one that was not used for longest went"
        assert rule._size == sum(said.size for said in rule._said.values())


async def test_cancelled_anywhere_no_fetch_goes_on(http_server: OriginServer) -> None:
    Robots(http_server)
    async with Client(trust_env=False) as inner:
        pool = inner.pool
        assert pool is not None

        async def scenario() -> None:
            async with Client(transport=pool, politeness=RobotsTxt()) as client:
                assert (await client.get(http_server.url)).status == 200

        async def check() -> None:
            await settle(10)
            audit_quiet(pool)
            assert not [task for task in asyncio.all_tasks() if "RobotsTxt._fetch" in repr(task)]
            assert not running_admission()._lines

        assert await cancel_everywhere(scenario, check) > 0


async def test_the_first_who_asked_may_be_cancelled(http_server: OriginServer) -> None:
    asked = Robots(http_server).asked
    async with crawler() as client:
        first, second = [asyncio.create_task(client.get(http_server.url)) for _ in range(2)]
        while not asked:
            await asyncio.sleep(0)
        first.cancel()
        assert (await second).status == 200
    assert len(asked) == 1


async def test_with_other_rules(http_server: OriginServer) -> None:
    # The file is fetched in line, and holds no turn while the request that asked for it waits for its own.
    asked = Robots(http_server).asked
    rules = [RateLimit(10_000), HostConcurrency(1), RobotsTxt()]
    async with Client(trust_env=False, politeness=rules) as client:
        answers = await asyncio.gather(
            *[client.get(f"{http_server.url}/{path}") for path in ("", "private", "bytes/100")], return_exceptions=True
        )
    assert [type(answer).__name__ for answer in answers] == ["Response", "RobotsDenied", "Response"]
    assert len(asked) == 1
    assert len(http_server.requests) == 3


async def test_without_protego_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "protego", None)
    with pytest.raises(ImportError, match=r"aiohttpconn\[robots\]"):
        RobotsTxt()
