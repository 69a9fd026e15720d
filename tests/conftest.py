"""The ground that every test stands on: both loops, nothing left behind, and the servers."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.auditing import Ground, LoopComplaints, settle
from tests.servers.fixtures import (  # noqa: F401 - fixtures are found by being here
    ca,
    ca_file,
    client_ctx,
    connect_proxy,
    danted,
    danted_auth,
    expired_ctx,
    haproxy,
    http_server,
    https_proxy,
    https_server,
    nginx,
    proxypy,
    proxypy_auth,
    raw_server,
    refusing,
    server_ctx,
    squid,
    squid_auth,
    squid_digest,
    untrusted_ctx,
    wrong_host_ctx,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

try:
    import uvloop
except ImportError:  # Windows
    LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
else:
    LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


TEST_SECONDS = 120
"""How long a coroutine test may take: one that hangs is ended, and the others go on."""

KEPT_OBJECTS = 3000
"""How many objects that nothing can be done about each full collection walks, before they are frozen too."""


# The same examples in every run, however busy the machine is. (`--soak` has new ones each time.)
settings.register_profile("soak", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("soak"), derandomize=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the soak tests in full")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("soak" if config.getoption("--soak") else "same")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every coroutine test runs once on each loop (a test picks with ``@pytest.mark.asyncio(loop_factories=[…])``)."""
    return LOOPS


def pytest_collection_finish(session: pytest.Session) -> None:
    # What is imported by now stays. Frozen, it is not walked by the full collection after every coroutine test, which
    # then takes 1 ms instead of 30.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the soak tests are to run in full (``--soak``)."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture
async def _swept() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    with LoopComplaints(loop) as complaints:
        await settle()  # uvloop makes sockets of its own in its first turn
        ground = Ground()

        def end_hanging_test() -> None:
            complaints.texts.append(f"the test was cancelled: it took more than {TEST_SECONDS} s")
            for task in asyncio.all_tasks(loop) - ground.tasks:
                task.cancel()

        bound = loop.call_later(TEST_SECONDS, end_hanging_test)
        yield
        bound.cancel()
        left = await ground.cleared()
        said = complaints.collect()
        await settle()
    # What outlived its collection is pytest's: reports and such, some ten objects a test. Walked after each of 15,000
    # tests they would be the better half of the suite's time.
    if len(gc.get_objects(generation=2)) > KEPT_OBJECTS:
        gc.freeze()
    if left or said:
        pytest.fail("the test left behind:\n  " + "\n  ".join([*left, *said]), pytrace=False)


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> None:
    """After every coroutine test: no task, no socket, no complaint to the loop is left. (Plain tests have no loop.)"""
    if request.node.get_closest_marker("asyncio") is not None:
        request.getfixturevalue("_swept")
