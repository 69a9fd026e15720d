"""Fixtures for pytest: `aiohttpconn_mock` and `scripted_server`. With any plugin that runs coroutine tests, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ..config import UNSET
from ..pool import ConnectionPool
from ..pool.pooled_connection import PooledConnection
from ..transport import RequestContext
from ..url import URL, parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ..messages import Request
    from ..response import HTTPResponse
    from .routes import MockRoutes
    from .script import Script
    from .scripted import ScriptedServer


@pytest.fixture
def aiohttpconn_mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockRoutes]:
    """Answers in place of the network, for every client in the test, however it was made.

    Register responses by ``aiohttpconn_mock.add("GET", "https://api.example/users/*", json=…)`` (see `MockRoutes`). A
    request that nothing is registered for is `UnexpectedRequest`; after the test everything has to have been asked for.
    ``aiohttpconn_mock.let_pass("http://127.0.0.1:*")`` leaves some of it to the network. (It may also be given to a
    client as its `transport`.) ``pool.connection()`` to anywhere else is `UnexpectedRequest`; an `AsyncHTTPConnection`
    that a test makes itself is no client's, and goes over the network.
    """
    from .routes import MockRoutes  # noqa: PLC0415 - pytest loads this module in every run

    routes = MockRoutes()
    over_network, connection = ConnectionPool.send, ConnectionPool.connection

    def send(pool: ConnectionPool, request: Request, context: RequestContext) -> Awaitable[HTTPResponse]:
        if pool.closed or routes.lets_pass(request.url):
            return over_network(pool, request, context)
        if context.proxy is UNSET:
            context = RequestContext(context.deadline, pool.proxy, context.observer)
        return routes.send(request, context)

    def refuse(pool: ConnectionPool, url: str | URL) -> PooledConnection:
        parsed = parse(url)
        if not pool.closed and not routes.lets_pass(parsed):
            routes.refuse(parsed)
        return connection(pool, parsed)

    monkeypatch.setattr(ConnectionPool, "send", send)
    monkeypatch.setattr(ConnectionPool, "connection", refuse)
    yield routes
    try:
        routes.assert_all_requested()
    except AssertionError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def scripted_server() -> Iterator[Callable[..., ScriptedServer]]:
    """``async with scripted_server(script, …) as server:``, see `ScriptedServer`.

    Every server has to have been left by the end of the test.
    """
    from .scripted import ScriptedServer  # noqa: PLC0415 - as above

    made: list[ScriptedServer] = []

    def make(*scripts: Script, **options: Any) -> ScriptedServer:
        server = ScriptedServer(*scripts, **options)
        made.append(server)
        return server

    yield make
    if listening := [server.url for server in made if server.is_listening]:
        pytest.fail(f"a scripted server was not closed: {', '.join(listening)}", pytrace=False)
