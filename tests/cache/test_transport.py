"""A client with a cache, against real servers: what is asked for, what is not, and what is shared."""

from __future__ import annotations

import asyncio
import gzip
import time
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    Cache,
    CachingTransport,
    Client,
    ConnectionPool,
    CookieJar,
    HostConcurrency,
    IncompleteRead,
    Limits,
    ReadError,
    ReadTimeout,
    RemoteDisconnected,
    Response,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.cache import flight as flights
from aiohttpconn.testing import MockResponse, MockTransport
from tests.auditing import audit_quiet, settle
from tests.cancellation import cancel_everywhere
from tests.servers.origin import OriginServer, Reply
from tests.servers.raw import Close, Request, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers.nginx import Nginx
    from tests.servers.raw import Received

FRESH = ("Cache-Control", "max-age=1000")


class Resource:
    """A route whose replies carry a number, so that one sees which of them somebody got."""

    def __init__(self, server: OriginServer, *fields: tuple[str, str], path: str = "/r", **options: Any) -> None:
        self.fields = list(fields)
        self.options = options
        self.asked: list[Received] = []
        self.url = server.url + path
        self.wait: asyncio.Event | None = None
        server.routes[path] = self.answer

    @property
    def count(self) -> int:
        return len(self.asked)

    async def answer(self, request: Received) -> Reply:
        self.asked.append(request)
        number = len(self.asked)
        if self.wait is not None:
            await self.wait.wait()
        etag = next((value for name, value in self.fields if name == "ETag"), None)
        if etag is not None and request.get("If-None-Match") == etag:
            return Reply(status=304, fields=[*self.fields, ("X-Validated", str(number))])
        options = {"body": f"reply {number}".encode()} | self.options
        return Reply(fields=self.fields, **options)


@asynccontextmanager
async def caching(cache: Any = True, **options: Any) -> AsyncIterator[Client]:
    async with Client(trust_env=False, cache=cache, **options) as client:
        yield client
        await settle()
        assert client.pool is not None
        audit_quiet(client.pool)
        assert client._caching is not None
        assert not client._caching._flights
    assert client._caching._background == set()


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Where responses are stored."""
    return True if request.param == "memory" else tmp_path / "responses.sqlite"


# --- fresh ------------------------------------------------------------------------------------------------------------


async def test_a_fresh_response_is_used_without_asking(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH, ("X-Twice", "1"), ("X-Twice", "2"), ("Set-Cookie", "a=1"))
    async with caching(place) as client:
        first = await client.get(resource.url)
        second = await client.get(f"{resource.url}#elsewhere")
    assert (first.from_cache, second.from_cache) == (False, True)
    assert first.text == second.text == "reply 1"
    assert second.headers.getall("x-twice") == ["1", "2"]
    assert second.headers["Age"] == "0"
    assert "Set-Cookie" in first.headers
    assert "Set-Cookie" not in second.headers, "what took effect when it came does so once"
    assert (second.status, second.reason, second.http_version) == (200, "OK", "HTTP/1.1")
    assert resource.count == 1


@pytest.mark.parametrize("options", [{"chunked": 100}, {"until_close": True}, {"body": b""}], ids=str)
async def test_bodies_of_any_framing(options: dict[str, Any], http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH, **({"body": b"x" * 300_000} | options))
    async with caching(place) as client:
        first, second = await client.get(resource.url), await client.get(resource.url)
        async with client.stream("GET", resource.url) as third:
            streamed = b"".join([piece async for piece in third.iter_bytes(1000)])
    assert first.content == second.content == streamed
    assert second.from_cache
    assert resource.count == 1


async def test_directives_as_long_as_a_head_may_be(http_server: OriginServer) -> None:
    """Read again from each of 60,000 places on, they took the event loop a minute."""
    resource = Resource(http_server, ("Cache-Control", "," * 60_000 + "max-age=0,stale-while-revalidate=1000"))
    async with caching() as client:
        assert (await client.get(resource.url)).text == (await client.get(resource.url)).text == "reply 1"
        while resource.count < 2 or client.stats().in_use:  # until it is revalidated
            await asyncio.sleep(0)


async def test_content_codings_are_undone_each_time(http_server: OriginServer, place: Any) -> None:
    body = gzip.compress(b"text" * 1000)
    resource = Resource(http_server, FRESH, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"), body=body)
    async with caching(place) as client:
        assert [(await client.get(resource.url)).text for _ in range(2)] == ["text" * 1000] * 2
        plain = await client.get(resource.url, headers={"Accept-Encoding": "identity"})
    assert not plain.from_cache
    assert resource.count == 2


NOT_STORED = [
    pytest.param([("Cache-Control", "no-store, max-age=60")], {}, id="no-store"),
    pytest.param([("Cache-Control", "max-age=60"), ("Vary", "Accept, *")], {}, id="vary-on-anything"),
    pytest.param([], {}, id="no-validator-and-no-lifetime"),
    pytest.param([("Cache-Control", "max-age=60")], {"status": 206}, id="a-part"),
    pytest.param([("Age", "100"), ("Cache-Control", "max-age=60")], {}, id="stale-when-it-comes"),
    pytest.param([("Expires", "0")], {}, id="an-expiry-that-is-no-date"),
]


@pytest.mark.parametrize(("fields", "options"), NOT_STORED)
async def test_what_is_not_stored(fields: Any, options: Any, http_server: OriginServer) -> None:
    resource = Resource(http_server, *fields, **options)
    async with caching() as client:
        assert [(await client.get(resource.url)).from_cache for _ in range(2)] == [False, False]
        assert client._caching is not None
        assert repr(client._caching.cache.storage) == "<MemoryStorage 0 records, 0 bytes>"


def dated(*fields: tuple[str, str | int]) -> list[tuple[str, str]]:
    """Fields, the numbers among them as the dates so many seconds from now. (Parameters are made when the suite begins,
    which may be long before a test.)"""
    now = time.time()
    return [(name, formatdate(now + what, usegmt=True) if isinstance(what, int) else what) for name, what in fields]


LIFETIMES = [
    pytest.param([("Expires", 3600)], True, id="expires"),
    # The server's clock is a day behind; what counts is the difference between its two dates.
    pytest.param([("Date", -86400), ("Cache-Control", "max-age=172800")], True, id="a-clock-behind"),
    pytest.param([("Date", 86400), ("Expires", 90000)], True, id="a-clock-ahead"),
    pytest.param([("Last-Modified", -864000)], True, id="heuristic"),
    pytest.param([("Cache-Control", "private, max-age=60")], True, id="private"),
    pytest.param([("Cache-Control", "max-age=60, no-cache"), ("ETag", '"x"')], False, id="no-cache"),
    pytest.param([("Cache-Control", "max-age=60"), ("Age", "61"), ("ETag", '"x"')], False, id="age"),
]


@pytest.mark.parametrize(("fields", "fresh"), LIFETIMES)
async def test_how_long_it_is_fresh(fields: Any, fresh: bool, http_server: OriginServer) -> None:
    resource = Resource(http_server, *dated(*fields))
    async with caching() as client:
        await client.get(resource.url)
        assert (await client.get(resource.url)).from_cache
    assert resource.count == (1 if fresh else 2)


async def test_vary_selects(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH, ("Vary", "Accept-Language, X-Absent"))
    async with caching(place) as client:

        async def text(language: str) -> str:
            return (await client.get(resource.url, headers={"Accept-Language": language})).text

        assert [await text(each) for each in ("de", "en", "de", "en", "fr")] == [
            *["reply 1", "reply 2", "reply 1", "reply 2", "reply 3"]
        ]


async def test_what_one_user_got_is_not_for_another(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH)
    async with caching(place) as client:

        async def text(**options: Any) -> str:
            return (await client.get(resource.url, **options)).text

        assert await text(auth=("one", "x")) == await text(auth=("one", "x")) == "reply 1"
        assert await text(auth=("two", "x")) == "reply 2"
        assert await text() == "reply 3"


ACCOUNTS = {
    "cookies": lambda name: {"cookies": {"user": name}},
    "a field": lambda name: {"headers": {"Cookie": f"user={name}"}},
    "a jar": lambda name: {"cookies": a_jar(name)},
}


def a_jar(name: str) -> CookieJar:
    jar = CookieJar()
    jar.set("user", name, "127.0.0.1")
    return jar


@pytest.mark.parametrize("given", ACCOUNTS)
@pytest.mark.parametrize("with_jar", [False, True])
async def test_what_was_got_with_one_request_s_cookies_is_not_for_another(
    given: str, with_jar: bool, http_server: OriginServer
) -> None:
    resource = Resource(http_server, FRESH)
    options = ACCOUNTS[given]
    async with caching() as client:
        assert client.cookies is not None
        if with_jar:
            client.cookies.set("theme", "dark", "127.0.0.1")
        for name, reply in [("ann", 1), ("bob", 2), ("ann", 1), ("bob", 2)]:
            assert (await client.get(resource.url, **options(name))).text == f"reply {reply}"
            if with_jar:
                client.cookies.set("visits", str(reply), "127.0.0.1")
        assert (await client.get(resource.url)).text == "reply 3"


async def test_a_client_s_cookies_do_not_spoil_it(http_server: OriginServer) -> None:
    """Each answer of another page sets a cookie anew, as counting servers do."""
    resource = Resource(http_server, FRESH)
    async with caching(cookies={"theme": "dark"}) as client:
        for number in range(3):
            assert client.cookies is not None
            assert (await client.get(resource.url)).text == "reply 1"
            client.cookies.set("visits", str(number), "127.0.0.1")


async def test_what_one_virtual_host_said_is_not_for_another(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH)
    async with caching(place) as client:

        async def text(host: str) -> str:
            return (await client.get(resource.url, headers={"Host": host})).text

        assert [await text(host) for host in ("a.test", "b.test", "A.test", "b.test")] == [
            *["reply 1", "reply 2", "reply 1", "reply 2"]
        ]
        assert await text(f"127.0.0.1:{http_server.port}") == "reply 3"
        assert (await client.get(resource.url)).text == "reply 3", "the Host that is sent anyway"
        await client.post(resource.url, headers={"Host": "a.test"})  # the fourth
        assert [await text("a.test"), await text("b.test")] == ["reply 5", "reply 2"], "it was written at one of them"


async def test_what_came_through_one_socket_is_not_for_another() -> None:
    async with OriginServer(uds=True) as one, OriginServer(uds=True) as two, Cache() as cache:
        one.routes["/r"], two.routes["/r"] = Reply(b"one", fields=[FRESH]), Reply(b"two", fields=[FRESH])
        for _ in range(2):
            for server, text in ((one, "one"), (two, "two")):
                async with Client(uds=server.path, cache=cache, politeness=HostConcurrency(1)) as client:
                    assert (await client.get("http://localhost/r")).text == text
        assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_head_is_stored_for_itself(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH)
    async with caching(place) as client:
        assert [(await client.head(resource.url)).from_cache for _ in range(2)] == [False, True]
        assert (await client.get(resource.url)).text == "reply 2"


# --- what the request says --------------------------------------------------------------------------------------------

WISHES = [
    pytest.param({"Cache-Control": "no-cache"}, 2, id="no-cache"),
    pytest.param({"Pragma": "no-cache"}, 2, id="pragma"),
    pytest.param({"Cache-Control": "max-age=0"}, 2, id="max-age-0"),
    pytest.param({"Cache-Control": "max-age=600"}, 1, id="max-age-that-it-has"),
    pytest.param({"Cache-Control": "min-fresh=2000"}, 2, id="min-fresh"),
    pytest.param({"Cache-Control": "only-if-cached"}, 1, id="only-if-cached"),
    pytest.param({"Range": "bytes=0-1"}, 2, id="a-range-passes-by"),
    pytest.param({"If-None-Match": '"mine"'}, 2, id="a-condition-of-ones-own-passes-by"),
]


@pytest.mark.parametrize(("fields", "count"), WISHES)
async def test_what_the_request_asks_for(fields: dict[str, str], count: int, http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    async with caching() as client:
        await client.get(resource.url)
        await asyncio.sleep(0.001)  # else nothing has an age of more than 0
        await client.get(resource.url, headers=fields)
    assert resource.count == count


async def test_no_store_and_only_if_cached(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    async with caching() as client:
        assert (await client.get(resource.url, headers={"Cache-Control": "only-if-cached"})).status == 504
        await client.get(resource.url, headers={"Cache-Control": "no-store"})
        assert not (await client.get(resource.url)).from_cache
    assert resource.count == 2


async def test_max_stale(http_server: OriginServer) -> None:
    resource = Resource(http_server, ("Cache-Control", "max-age=60"), ("Age", "100"), ("ETag", '"x"'))
    async with caching() as client:
        await client.get(resource.url)
        assert (await client.get(resource.url, headers={"Cache-Control": "max-stale=60"})).from_cache
        assert resource.count == 1
        await client.get(resource.url, headers={"Cache-Control": "max-stale=10"})
        assert resource.count == 2


# --- revalidation -----------------------------------------------------------------------------------------------------

STALE = [("Cache-Control", "max-age=0"), ("ETag", '"v1"')]


async def test_revalidated_by_etag(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, *STALE, ("Content-Type", "text/plain"))
    async with caching(place) as client:
        first = await client.get(resource.url)
        second = await client.get(resource.url)
        assert resource.asked[1].get("If-None-Match") == '"v1"'
        assert (second.status, second.text, second.from_cache) == (200, "reply 1", True)
        assert second.headers["X-Validated"] == "2", "its fields are those of the 304"
        assert second.headers["Content-Type"] == "text/plain"
        assert second.headers["Content-Length"] == first.headers["Content-Length"]
        resource.fields = [("Cache-Control", "max-age=1000"), ("ETag", '"v1"'), ("Set-Cookie", "late=1")]
        assert (await client.get(resource.url)).cookies == {"late": "1"}
        assert client.cookies is not None
        assert [cookie.name for cookie in client.cookies] == ["late"]
        assert (await client.get(resource.url)).from_cache
    assert resource.count == 3, "the 304 made it fresh again"


async def test_revalidated_by_nginx(nginx: Nginx) -> None:
    url = f"http://127.0.0.1:{nginx.http_port}/1k"
    async with caching() as client:
        first = await client.get(url)
        assert first.status == 200
        second = await client.get(url, headers={"Cache-Control": "no-cache"})
    assert second.from_cache
    assert second.timings.first_byte is not None, "it was asked"
    assert first.content == second.content


async def test_a_new_representation_takes_the_place(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, *STALE)
    async with caching(place) as client:
        await client.get(resource.url)
        resource.fields = [("Cache-Control", "max-age=60"), ("ETag", '"v2"')]
        assert (await client.get(resource.url)).text == "reply 2"
        third = await client.get(resource.url)
        assert (third.text, third.from_cache) == ("reply 2", True)


async def test_a_304_that_speaks_of_something_else(http_server: OriginServer) -> None:
    replies = [
        Reply(b"old", fields=STALE),
        Reply(status=304, fields=[("ETag", '"other"')]),
        Reply(b"new", fields=[("ETag", '"other"')]),
    ]
    http_server.routes["/r"] = lambda request: replies.pop(0)
    async with caching() as client:
        await client.get(f"{http_server.url}/r")
        response = await client.get(f"{http_server.url}/r")
    assert (response.text, response.from_cache) == ("new", False)
    assert http_server.requests[-1].get("If-None-Match") is None


# --- stale ------------------------------------------------------------------------------------------------------------


LIFETIMES_THAT_ARE_OVER = [
    pytest.param([("Cache-Control", "max-age=0, {}")], id="none"),
    pytest.param([("Expires", -60), ("Cache-Control", "{}")], id="expired"),
    pytest.param([("Expires", "0"), ("Cache-Control", "{}")], id="an-expiry-that-is-no-date"),
    pytest.param([("Date", -100), ("Expires", -40), ("Cache-Control", "{}")], id="expired-lately"),
    pytest.param([("Cache-Control", "max-age=60"), ("Cache-Control", "{}"), ("Age", "100")], id="two-fields"),
]


@pytest.mark.parametrize("fields", LIFETIMES_THAT_ARE_OVER)
async def test_how_long_it_may_be_stale(fields: Any, http_server: OriginServer) -> None:
    resource = Resource(http_server, ("ETag", '"x"'))
    for seconds, stale in (("600", True), ("0", False)):
        resource.fields = [
            *[(name, value.format(f"stale-while-revalidate={seconds}")) for name, value in dated(*fields)],
            ("ETag", '"x"'),
        ]
        async with caching() as client:
            await client.get(resource.url)
            answer = await client.get(resource.url)
            assert answer.from_cache
            assert (answer.timings.first_byte is None) == stale, "whether it was asked before it was used"
            if stale:
                assert client._caching is not None
                await asyncio.wait(client._caching._background)


async def test_min_fresh_of_what_expires(http_server: OriginServer) -> None:
    resource = Resource(http_server, *dated(("Expires", 600)))
    async with caching() as client:
        for ahead, text in ((60, "reply 1"), (6000, "reply 2")):
            await client.get(resource.url)
            answer = await client.get(resource.url, headers={"Cache-Control": f"min-fresh={ahead}"})
            assert answer.text == text


@pytest.mark.parametrize("digits", [10, 11, 5000])
async def test_a_number_of_any_length(digits: int, http_server: OriginServer) -> None:
    nines = "9" * digits
    resource = Resource(http_server, ("Cache-Control", f"max-age={nines}, stale-while-revalidate={nines}"))
    async with caching() as client:
        for ask in ("", f"max-stale={nines}", f"min-fresh={nines}"):
            await client.get(resource.url, headers={"Cache-Control": ask})
        assert (await client.get(resource.url)).from_cache


async def test_stale_while_revalidate(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, ("Cache-Control", "max-age=60, stale-while-revalidate=600"), ("Age", "100"))
    async with caching(place) as client:
        await client.get(resource.url)
        resource.fields = [FRESH]
        resource.wait = asyncio.Event()
        stale = [await client.get(resource.url) for _ in range(3)]
        assert [(each.text, each.from_cache) for each in stale] == [("reply 1", True)] * 3
        resource.wait.set()
        assert client._caching is not None
        await asyncio.wait(client._caching._background)
        assert (await client.get(resource.url)).text == "reply 2"
    assert resource.count == 2, "one revalidation for all three"


async def test_closing_ends_what_goes_on_in_the_background(http_server: OriginServer) -> None:
    resource = Resource(http_server, ("Cache-Control", "max-age=60, stale-while-revalidate=600"), ("Age", "100"))
    async with Client(trust_env=False, cache=True) as client:
        await client.get(resource.url)
        resource.wait = asyncio.Event()
        await client.get(resource.url)
        await settle(5)
    assert client.pool is not None
    audit_quiet(client.pool)
    resource.wait.set()


INSTEAD = [
    pytest.param({"status": 404}, [], id="gone"),
    pytest.param({}, [("Cache-Control", "no-store")], id="no-longer-to-be-stored"),
    pytest.param({"body": b"x" * 2000}, [FRESH], id="too-large"),
    pytest.param({"body": b"x" * 2000, "chunked": 100}, [FRESH], id="too-large-as-it-turns-out"),
]


@pytest.mark.parametrize(("options", "fields"), INSTEAD)
async def test_what_is_no_longer_there_is_forgotten(
    options: dict[str, Any], fields: Any, http_server: OriginServer, place: Any
) -> None:
    resource = Resource(http_server, ("Cache-Control", "max-age=60, stale-while-revalidate=600"), ("Age", "100"))
    async with Cache(None if place is True else place, max_body=1000) as cache, caching(cache) as client:
        await client.get(resource.url)
        resource.fields, resource.options = fields, options
        stale = await client.get(resource.url)
        assert (stale.text, stale.from_cache) == ("reply 1", True)
        assert client._caching is not None
        await asyncio.wait(client._caching._background)
        after = await client.get(resource.url)
        assert (after.from_cache, after.text == "reply 1") == (False, False)


async def test_a_reload_that_is_not_stored_is_the_end_of_what_was(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH, ("Vary", "Accept"))
    async with caching(place) as client:
        await client.get(resource.url)
        await client.get(resource.url, headers={"Accept": "text/plain"})
        resource.fields = [("Cache-Control", "no-store")]
        assert (await client.get(resource.url, headers={"Cache-Control": "no-cache"})).text == "reply 3"
        assert (await client.get(resource.url)).text == "reply 4"
        assert (await client.get(resource.url, headers={"Accept": "text/plain"})).text == "reply 2", "another variant"


@pytest.mark.parametrize("status", [429, 503])
async def test_who_is_asked_too_much_says_nothing_about_what_was(status: int, http_server: OriginServer) -> None:
    resource = Resource(http_server, *STALE)
    async with caching() as client:
        await client.get(resource.url)
        answer, http_server.routes["/r"] = http_server.routes["/r"], Reply(status=status)
        assert (await client.get(resource.url)).status == status
        http_server.routes["/r"] = answer
        assert (await client.get(resource.url)).text == "reply 1", "it is still known by its ETag"


ERRORS = [
    pytest.param([("Cache-Control", "max-age=60, stale-if-error=600")], {}, True, id="the-server-allows-it"),
    pytest.param([("Cache-Control", "max-age=60, stale-if-error=10")], {}, False, id="not-for-that-long"),
    pytest.param([("Cache-Control", "max-age=60")], {}, False, id="nobody-allows-it"),
    pytest.param([("Cache-Control", "max-age=60")], {"stale_if_error": 600}, True, id="the-cache-allows-it"),
    pytest.param(
        [("Cache-Control", "max-age=60, must-revalidate")], {"stale_if_error": 600}, False, id="must-revalidate"
    ),
]


@pytest.mark.parametrize(("fields", "options", "stands_in"), ERRORS)
@pytest.mark.parametrize("failure", [500, 503, "gone"])
async def test_stale_if_error(
    fields: Any, options: Any, stands_in: bool, failure: int | str, http_server: OriginServer
) -> None:
    resource = Resource(http_server, *fields, ("Age", "100"), ("ETag", '"x"'))
    async with caching(Cache(**options)) as client:
        await client.get(resource.url)
        if isinstance(failure, int):
            http_server.routes["/r"] = Reply(status=failure)
        else:
            await http_server.close()
        if stands_in:
            assert (await client.get(resource.url)).text == "reply 1"
        elif isinstance(failure, int):
            assert (await client.get(resource.url)).status == failure
        else:
            with pytest.raises(OSError, match=r"connect|closed"):
                await client.get(resource.url)


# --- identical requests at a time -------------------------------------------------------------------------------------


async def test_of_identical_requests_one_is_sent(http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH, body=b"x" * 200_000)
    async with caching(place, limits=Limits(max_connections=2)) as client:
        answers = await asyncio.gather(*[client.get(resource.url) for _ in range(20)])
    assert resource.count == 1
    assert sorted(answer.from_cache for answer in answers) == [False] + [True] * 19
    assert {len(answer.content) for answer in answers} == {200_000}


async def test_a_revalidation_is_shared_too(http_server: OriginServer) -> None:
    resource = Resource(http_server, *STALE)
    async with caching() as client:
        await client.get(resource.url)
        await asyncio.gather(*[client.get(resource.url) for _ in range(5)])
    assert resource.count == 2


async def test_what_cannot_be_stored_is_not_shared(http_server: OriginServer) -> None:
    resource = Resource(http_server, ("Cache-Control", "no-store"))
    async with caching() as client:
        texts = {answer.text for answer in await asyncio.gather(*[client.get(resource.url) for _ in range(5)])}
        assert len(texts) == 5
        # From now on they do not even wait for the first one's head.
        resource.wait = asyncio.Event()
        calls = [asyncio.create_task(client.get(resource.url)) for _ in range(3)]
        while resource.count < 8:
            await asyncio.sleep(0)
        resource.wait.set()
        await asyncio.gather(*calls)


async def test_the_first_may_be_cancelled(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    resource.wait = asyncio.Event()
    async with caching() as client:
        calls = [asyncio.create_task(client.get(resource.url)) for _ in range(4)]
        while not resource.count:
            await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.wait({calls[0]})
        resource.wait.set()
        answers = await asyncio.gather(*calls[1:])
    assert {answer.text for answer in answers} == {"reply 2"}
    assert resource.count == 2


async def test_a_reader_who_takes_his_time_does_not_hold_up_others(
    http_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "STALLED", 0.01)
    resource = Resource(http_server, FRESH, body=b"x" * 5_000_000)
    async with caching() as client, client.stream("GET", resource.url):
        assert len((await client.get(resource.url)).content) == 5_000_000
    assert resource.count == 2


async def test_waiting_for_another_counts_within_total(http_server: OriginServer) -> None:
    async with caching() as client:
        first = asyncio.create_task(client.get(f"{http_server.url}/hold"))
        await settle(3)
        with pytest.raises(TotalTimeout, match="waiting for another GET"):
            await client.get(f"{http_server.url}/hold", timeout=Timeout(total=0.01))
        first.cancel()
        await asyncio.wait({first})


async def test_a_failure_of_the_first_is_not_that_of_the_others(http_server: OriginServer) -> None:
    replies: list[Any] = []
    resource = Resource(http_server, FRESH)
    async with caching() as client:
        replies = await asyncio.gather(
            client.get(f"{http_server.url}/hold", timeout=Timeout(read=0.01)),
            client.get(f"{http_server.url}/hold", timeout=Timeout(total=0.03)),
            client.get(resource.url),
            return_exceptions=True,
        )
    assert [type(reply).__name__ for reply in replies] == ["ReadTimeout", "TotalTimeout", "Response"]


async def test_a_failure_is_told_to_all_who_wait_and_is_no_end_to_sharing(raw_server: Any) -> None:
    server = await raw_server([Request(), Close()], [Request(), Send(WHOLE)])
    async with caching() as client:
        outcomes = await asyncio.gather(*[client.get(server.url) for _ in range(20)], return_exceptions=True)
        assert {type(each) for each in outcomes} == {RemoteDisconnected}
        assert len({id(each) for each in outcomes}) == 20, "each raises one of his own"
        assert len(server.requests) == 1
        answers = await asyncio.gather(*[client.get(server.url) for _ in range(20)])
    assert {answer.text for answer in answers} == {"whole"}
    assert len(server.requests) == 2


async def test_limits_that_were_exceeded_are_of_those_who_have_them(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    resource.wait = asyncio.Event()
    async with caching() as client:
        short = [asyncio.create_task(client.get(resource.url, timeout=Timeout(read=0.05))) for _ in range(5)]
        await settle(3)
        long = asyncio.create_task(client.get(resource.url))
        outcomes = await asyncio.gather(*short, return_exceptions=True)
        assert {type(each) for each in outcomes} == {ReadTimeout}
        resource.wait.set()
        assert (await long).text == "reply 2"
    assert resource.count == 2


async def test_a_server_in_trouble_is_no_end_to_sharing(http_server: OriginServer) -> None:
    resource = Resource(http_server, status=503)
    async with caching() as client:
        await asyncio.gather(*[client.get(resource.url) for _ in range(3)])
        assert resource.count == 3, "what is not stored is not shared"
        resource.fields, resource.options = [FRESH], {}
        await asyncio.gather(*[client.get(resource.url) for _ in range(20)])
    assert resource.count == 4


async def test_who_waits_for_a_turn_is_waited_for(http_server: OriginServer) -> None:
    class Counted(HostConcurrency):
        count = 0

        def key(self, request: Any) -> Any:
            self.count += 1
            return super().key(request)

    resource, rule = Resource(http_server, FRESH), Counted(1)
    async with caching(politeness=rule) as client:
        async with client.stream("GET", f"{http_server.url}/bytes/5000000"):
            first = asyncio.create_task(client.get(resource.url))
            await settle(3)
            others = [asyncio.create_task(client.get(resource.url, timeout=Timeout(read=0.001))) for _ in range(5)]
            await asyncio.sleep(0.02)
            assert rule.count == 2, "they stand in line themselves"
        await asyncio.wait([first, *others])
    assert (await first).text == "reply 1"


# --- what is not whole, too large, or overtaken -----------------------------------------------------------------------

CUT = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf"
WHOLE = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nwhole"


async def test_a_body_that_is_cut_short_is_never_stored(raw_server: Any, place: Any) -> None:
    server = await raw_server([Request(), Send(CUT), Close()], [Request(), Send(WHOLE)])
    async with caching(place) as client:
        with pytest.raises(IncompleteRead):
            await client.get(server.url)
        answer = await client.get(server.url)
    assert (answer.text, answer.from_cache) == ("whole", False)


async def test_a_body_that_was_not_read_is_not_stored(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH, body=b"x" * 3_000_000)
    async with caching() as client:
        async with client.stream("GET", resource.url) as response:
            await anext(response.iter_bytes())
        assert not (await client.get(resource.url)).from_cache
        assert (await client.get(resource.url)).from_cache


@pytest.mark.parametrize("chunked", [None, 1000])
async def test_a_body_that_is_too_large_is_passed_on(chunked: int | None, http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH, body=b"x" * 100_001, chunked=chunked)
    async with caching(Cache(max_body=100_000)) as client:
        for _ in range(2):
            answer = await client.get(resource.url)
            assert (len(answer.content), answer.from_cache) == (100_001, False)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "LOCK"])
async def test_unsafe_methods_invalidate(method: str, http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, FRESH)
    async with caching(place) as client:
        await client.get(resource.url)
        await client.request(method, resource.url)
        assert (await client.get(resource.url)).text == "reply 3"


async def test_only_what_succeeds_invalidates_and_what_it_names(http_server: OriginServer) -> None:
    resource, other = Resource(http_server, FRESH), Resource(http_server, FRESH, path="/other")
    http_server.routes["/do"] = Reply(status=201, fields=[("Location", "/r"), ("Content-Location", "/other")])
    async with caching() as client:
        await client.get(resource.url)
        await client.get(other.url)
        resource.options = {"status": 500}
        await client.post(resource.url)
        assert (await client.get(resource.url)).from_cache
        resource.options = {}
        await client.post(f"{http_server.url}/do")
        assert not (await client.get(resource.url)).from_cache
        assert not (await client.get(other.url)).from_cache


@pytest.mark.parametrize("shared", [True, False])
async def test_what_was_under_way_when_it_was_written_is_not_stored(shared: bool, http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    resource.wait = asyncio.Event()
    async with caching() as client:
        early = [asyncio.create_task(client.get(resource.url, timeout=Timeout(read=10)))]
        while not resource.count:
            await asyncio.sleep(0)
        if not shared:  # one more, which does not wait for the first
            assert client._caching is not None
            client._caching._flights._not_shared[resource.url] = None
            early.append(asyncio.create_task(client.get(resource.url)))
            while resource.count < 2:
                await asyncio.sleep(0)
        wait, resource.wait = resource.wait, None
        await client.post(resource.url)
        wait.set()
        await asyncio.gather(*early)
        assert not (await client.get(resource.url)).from_cache


# --- with everything else ---------------------------------------------------------------------------------------------


async def test_before_any_transport_and_pickled() -> None:
    import pickle

    inner = MockTransport(lambda request: MockResponse(text="x", headers={"Cache-Control": "max-age=60"}))
    async with CachingTransport(inner) as transport, Client(transport=transport) as client:
        await client.get("http://a.example/")
        response = await client.get("http://a.example/")
        again: Response = pickle.loads(pickle.dumps(response))
        assert response.from_cache
        assert again.from_cache
    assert inner.closed


async def test_a_hit_takes_no_turn_from_the_rules(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    rule = HostConcurrency(1)
    async with caching(politeness=rule) as client:
        await client.get(resource.url)
        async with client.stream("GET", f"{http_server.url}/bytes/5000000"):
            assert (await client.get(resource.url, timeout=Timeout(total=1))).from_cache


async def test_what_a_hit_says_of_itself(http_server: OriginServer) -> None:
    resource = Resource(http_server, *STALE)
    async with caching() as client:
        assert "cache" not in (await client.get(resource.url)).explain()
        assert "used before" in (await client.get(resource.url)).explain(), "it was asked whether it holds"
        resource.fields = [FRESH, STALE[1]]
        await client.get(resource.url)
        page = (await client.get(resource.url)).explain()
    assert "connection:   none: it came from the cache" in page
    assert "unknown" not in page


async def test_redirects_are_answered_from_it(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    http_server.routes["/moved"] = Reply(status=301, fields=[("Location", "/r"), FRESH])
    async with caching() as client:
        for _ in range(2):
            answer = await client.get(f"{http_server.url}/moved")
    assert [each.from_cache for each in (*answer.history, answer)] == [True, True]
    assert (resource.count, len(http_server.requests)) == (1, 2)


async def test_one_cache_for_several_clients(http_server: OriginServer) -> None:
    resource = Resource(http_server, FRESH)
    async with Cache() as cache, caching(cache) as one, caching(cache) as two:
        await one.get(resource.url)
        assert (await two.get(resource.url)).from_cache
        await cache.clear()
        assert not (await two.get(resource.url)).from_cache


@pytest.mark.parametrize("path", ["/bytes/10", "/chunked/200000"])
async def test_cancelled_anywhere(path: str, http_server: OriginServer, place: Any) -> None:
    resource = Resource(http_server, *STALE, body=b"x" * 100_000, path=path)
    async with ConnectionPool() as pool, Cache(None if place is True else place) as cache:
        transport = CachingTransport(pool, cache)

        async def scenario() -> None:
            await cache.clear()
            async with Client(transport=transport, trust_env=False) as client:
                for _ in range(2):
                    assert len((await client.get(resource.url)).content) == 100_000

        async def check() -> None:
            await settle(5)
            audit_quiet(pool)
            assert not transport._flights

        assert await cancel_everywhere(scenario, check) > 0
        await transport.release()


@pytest.mark.parametrize("value", [5, b"x", 1.5])
def test_what_is_no_cache_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cache must be"):
        Client(cache=value)


@pytest.mark.parametrize(("path", "error"), [("", ValueError), (5, TypeError), (b"x", TypeError), (True, TypeError)])
def test_what_is_no_path_is_refused(path: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="path must be"):
        Cache(path)
    if path == "":
        with pytest.raises(error, match="path must be"):
            Client(cache=path)


def test_a_folder_that_is_not_there_is_named_when_the_client_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*x\.sqlite"):
        Client(cache=tmp_path / "nowhere" / "x.sqlite")


def test_without_hishel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "aiohttpconn.cache.rules", raising=False)
    monkeypatch.setitem(sys.modules, "hishel", None)
    with pytest.raises(ImportError, match=r"aiohttpconn\[cache\]"):
        Cache()


async def test_a_stream_that_breaks_is_asked_for_again(raw_server: Any) -> None:
    server = await raw_server([Request(), Send(CUT), Close()], [Request(), Send(WHOLE)], [Request(), Send(WHOLE)])
    async with caching() as client:
        outcomes = await asyncio.gather(*[client.get(server.url) for _ in range(3)], return_exceptions=True)
    assert [type(each) for each in outcomes].count(Response) == 2
    assert [isinstance(each, (IncompleteRead, ReadError)) for each in outcomes].count(True) == 1
