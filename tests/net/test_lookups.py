"""Look-ups remembered and shared: how many reach the system or the upstream, what is served, what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import ResolveError
from aiohttpconn.net import answers, lookups
from aiohttpconn.net.lookups import CachingResolver
from aiohttpconn.net.resolve import SystemResolver, resolve
from tests.auditing import settle
from tests.cancellation import cancel_everywhere
from tests.net.streaming import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from aiohttpconn.net.tcp import Address

    Make = Callable[..., CachingResolver]

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NEVER = 3600.0


def here(port: int, host: str = "127.0.0.1") -> Address:
    return V4, (host, port)


class Clock:
    """The time that the resolver sees."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lookups, "monotonic", clock)
    return clock


class Upstream:
    """Answers as it is told, once its gate is open; notes what it is asked."""

    def __init__(self, said: Sequence[Address] | BaseException | None = None) -> None:
        self.said = said
        self.asked: list[tuple[str, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append((host, port))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.said, BaseException):
            raise self.said
        return [here(port)] if self.said is None else self.said


class System:
    """In the place of `socket.getaddrinfo`: called on threads, held up until its gate is open."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: list[threading.Thread] = []
        self.gate = threading.Event()
        self.gate.set()
        self.gates: dict[str, threading.Event] = {}
        self.error: Exception | None = None
        self.ended = 0
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, host: str, port: int, *args: object, **options: object) -> list[Any]:
        with self._lock:
            self.asked.append(host)
            self.threads.append(threading.current_thread())
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            assert self.gates.get(host, self.gate).wait(60)
        finally:
            with self._lock:
                self.running -= 1
                self.ended += 1
        if self.error is not None:
            raise self.error
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    system = System()
    monkeypatch.setattr(socket, "getaddrinfo", system)
    yield system
    for gate in (system.gate, *system.gates.values()):
        gate.set()


@pytest.fixture
async def caching() -> AsyncIterator[Callable[..., CachingResolver]]:
    """``caching(…)`` makes a resolver, which is closed after the test."""
    made: list[CachingResolver] = []

    def make(upstream: Any = None, **options: Any) -> CachingResolver:
        made.append(CachingResolver(upstream=upstream, **options))
        return made[-1]

    yield make
    for resolver in made:
        await resolver.close()


# --- the system, on threads -------------------------------------------------------------------------------------------


async def test_system_s_answer_and_its_port(caching: Make) -> None:
    resolver = caching()
    found = list(await resolver.resolve("localhost", 80))
    assert {where[0] for _, where in found} <= {"127.0.0.1", "::1"}
    assert found == list(await SystemResolver().resolve("localhost", 80))
    assert [where[1] for _, where in await resolver.resolve("LocalHost", 443)] == [443] * len(found)
    assert len(resolver) == 1


async def test_1000_lookups_of_10_names_at_once_are_10(caching: Make, system: System) -> None:
    resolver = caching()
    names = [f"host{number}.example" for number in range(10)]
    found = await asyncio.gather(*(resolver.resolve(names[n % 10], 80 + n % 3) for n in range(1000)))
    assert sorted(system.asked) == sorted(names)
    for number, addresses in enumerate(found):
        port = 80 + number % 3
        assert list(addresses) == [(V6, ("::1", port, 0, 0)), (V4, ("127.0.0.1", port))]
    await resolver.resolve(names[0], 80)
    assert len(system.asked) == 10


async def test_lookups_run_on_daemon_threads_of_its_own_and_no_more_than_asked_for(
    caching: Make, system: System
) -> None:
    resolver = caching(threads=3)
    await asyncio.gather(*(resolver.resolve(f"{n}.example", 80) for n in range(50)))
    assert all(thread.daemon and "lookup" in thread.name for thread in system.threads)
    assert system.most <= 3
    assert len(set(system.threads)) <= 4, "one more watches over those that take long"
    await resolver.close()
    await until(lambda: not any(thread.is_alive() for thread in system.threads))


async def test_system_resolver_leaves_the_loop_s_executor_alone(system: System) -> None:
    await asyncio.gather(*(SystemResolver().resolve("a.example", 80) for _ in range(5)))
    assert all(thread.daemon and "lookup" in thread.name for thread in system.threads)


async def test_threads_without_work_end(system: System) -> None:
    from aiohttpconn.net.threads import Threads

    threads = Threads(2, idle=0.01)
    done = threading.Event()
    threads.submit(done.set)
    await until(done.is_set)
    await until(lambda: len(threads) == 0)
    done.clear()
    threads.submit(done.set)
    await until(done.is_set)
    threads.close()


async def test_no_thread_to_be_had_is_an_error_of_the_system(caching: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="thread"):
            await caching().resolve("a.example", 80)


async def test_late_result_of_a_thread_is_remembered_though_nobody_waits(caching: Make, system: System) -> None:
    system.gate.clear()
    resolver = caching()
    tasks = [asyncio.create_task(resolver.resolve("a.example", 80)) for _ in range(3)]
    await until(lambda: system.asked)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
    )
    # Whoever comes now joins the one under way.
    late = asyncio.create_task(resolver.resolve("a.example", 80))
    await settle()
    late.cancel()
    await settle()
    system.gate.set()
    await until(lambda: len(resolver) == 1)
    assert list(await resolver.resolve("a.example", 1))[1] == here(1)
    assert system.asked == ["a.example"]


async def test_lookup_that_waits_for_a_thread_is_dropped_when_nobody_wants_it(caching: Make, system: System) -> None:
    system.gates["hangs.example"] = threading.Event()
    resolver = caching(threads=1)
    first = asyncio.create_task(resolver.resolve("hangs.example", 80))
    await until(lambda: system.asked)
    queued = asyncio.create_task(resolver.resolve("queued.example", 80))
    await settle()
    queued.cancel()
    await settle()
    last = asyncio.create_task(resolver.resolve("last.example", 80))
    await settle()
    system.gates["hangs.example"].set()
    await asyncio.gather(first, last)
    assert system.asked == ["hangs.example", "last.example"]


async def test_lookup_that_nobody_waits_for_keeps_its_place_for_its_time(caching: Make, system: System) -> None:
    system.gates["slow.example"] = threading.Event()
    resolver = caching(threads=1, timeout=NEVER)
    first = asyncio.create_task(resolver.resolve("slow.example", 80))
    await until(lambda: system.asked)
    first.cancel()
    await settle()
    second = asyncio.create_task(resolver.resolve("a.example", 80))
    await settle()
    await asyncio.sleep(0.05)
    assert system.asked == ["slow.example"]
    system.gates["slow.example"].set()
    assert await second


async def test_hanging_lookups_take_no_places_from_others(caching: Make, system: System) -> None:
    for number in range(2):
        system.gates[f"hangs{number}.example"] = threading.Event()
    resolver = caching(threads=2, timeout=0.4)
    hanging = [asyncio.create_task(resolver.resolve(f"hangs{number}.example", 80)) for number in range(2)]
    await until(lambda: len(system.asked) == 2)
    for _ in range(3):
        assert await resolver.resolve("a.example", 80)
        assert await resolver.resolve("b.example", 80)
        resolver.clear()
    for error in await asyncio.gather(*hanging, return_exceptions=True):
        assert isinstance(error, TimeoutError)
    with pytest.raises(TimeoutError):
        await resolver.resolve("hangs0.example", 80)
    assert system.asked.count("hangs0.example") == 1, "it was not begun again while it hangs"
    for gate in system.gates.values():
        gate.set()
    await until(lambda: not resolver._lookups)
    assert await resolver.resolve("hangs0.example", 80)
    assert system.asked.count("hangs0.example") == 1, "its late result serves"


async def test_slow_lookups_hold_up_no_others_though_their_time_is_not_over(
    caching: Make, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiohttpconn.net.threads.SLOW", 0.02)
    names = [f"slow{number}.example" for number in range(9)]
    for name in names:
        system.gates[name] = threading.Event()
    resolver = caching(threads=2, timeout=60)
    slow = [asyncio.create_task(resolver.resolve(name, 80)) for name in names[:2]]
    await until(lambda: len(system.asked) == 2)
    assert await resolver.resolve("a.example", 80)
    assert await asyncio.gather(*(resolver.resolve(f"{n}.example", 80) for n in range(20)))
    slow += [asyncio.create_task(resolver.resolve(name, 80)) for name in names[2:]]
    await until(lambda: len(set(names) & set(system.asked)) == 8)
    assert len(resolver._threads) == 8, "four times as many threads at most"
    assert system.running == 8
    for gate in system.gates.values():
        gate.set()
    assert len(await asyncio.gather(*slow)) == 9
    threads = resolver._threads
    await until(lambda: not threads._stuck and not threads._running)


async def test_waiting_for_a_thread_is_no_timeout(caching: Make, system: System) -> None:
    """Sixty look-ups of 20 ms on one thread take longer than the limit of each."""
    pause = threading.Event()

    def slow(host: str, port: int, **options: object) -> list[Any]:
        pause.wait(0.02)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    socket.getaddrinfo = slow  # type: ignore[assignment]  # the fixture restores it
    resolver = caching(threads=1, timeout=1.0)
    found = await asyncio.gather(*(resolver.resolve(f"{n}.example", 80) for n in range(60)))
    assert len(found) == 60


def test_hanging_lookup_does_not_hang_the_exit_nor_close() -> None:
    program = """
import asyncio, socket, threading
from aiohttpconn.net.lookups import CachingResolver
from aiohttpconn.net.resolve import SystemResolver
begun = threading.Semaphore(0)
def getaddrinfo(*args, **options):
    begun.release()
    threading.Event().wait()
socket.getaddrinfo = getaddrinfo
async def main():
    resolver = CachingResolver()
    tasks = [asyncio.create_task(each.resolve("a.example", 80)) for each in (resolver, SystemResolver())]
    await asyncio.sleep(0)
    begun.acquire(), begun.acquire()
    await resolver.close()
    tasks[1].cancel()
    print([type(each).__name__ for each in await asyncio.gather(*tasks, return_exceptions=True)])
asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["['OSError',", "'CancelledError']"]
    assert not ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_process_has_threads_of_its_own() -> None:
    program = """
import asyncio, os, warnings
from aiohttpconn.net.resolve import SystemResolver
look_up = lambda: asyncio.run(SystemResolver().resolve("localhost", 80))
assert look_up()
warnings.simplefilter("ignore")  # that threads do not survive a fork is what this is about
if (child := os.fork()) == 0:
    assert look_up()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks before Python 3.12")
@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop 0.22 does not take the factory
async def test_eager_tasks(caching: Make) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    try:
        assert await caching(Upstream()).resolve("a.example", 80) == (here(80),)
        with pytest.raises(socket.gaierror):
            await caching(Upstream(NO_NAME)).resolve("a.example", 80)
    finally:
        loop.set_task_factory(None)


# --- remembered -------------------------------------------------------------------------------------------------------


async def test_good_answer_is_kept_for_its_time(caching: Make, clock: Clock) -> None:
    upstream = Upstream()
    resolver = caching(upstream)
    await resolver.resolve("a.example", 80)
    clock.now += 59.9
    await resolver.resolve("A.example", 443)
    assert upstream.asked == [("a.example", 80)]
    clock.now += 0.2
    await resolver.resolve("a.example", 443)
    assert len(upstream.asked) == 2
    await resolver.resolve("a.example.", 443)
    assert len(upstream.asked) == 3, "a trailing dot makes another name"


@pytest.mark.parametrize(
    ("error", "kept"),
    [(NO_NAME, 5.0), (AGAIN, 1.0), (OSError("out of order"), 1.0), ([], 5.0)],
    ids=["no such name", "try again", "another", "empty"],
)
async def test_bad_answer_is_kept_for_its_time(caching: Make, clock: Clock, error: Any, kept: float) -> None:
    upstream = Upstream(error)
    resolver = caching(upstream)
    caught = []
    for _ in range(3):
        with pytest.raises(OSError, match=r".") as each:
            await resolver.resolve("a.example", 80)
        caught.append(each.value)
    assert len(upstream.asked) == 1
    assert len({id(each) for each in caught}) == 3, "each has its own"
    assert len({(type(each), each.args) for each in caught}) == 1
    clock.now += kept - 0.1
    with pytest.raises(ResolveError, match=r"a\.example"):
        await resolve("a.example", 80, resolver)
    assert len(upstream.asked) == 1
    clock.now += 0.2
    upstream.said = None
    assert await resolver.resolve("a.example", 80) == (here(80),)


async def test_upstream_s_mistakes_come_through_and_are_not_remembered(caching: Make) -> None:
    upstream = Upstream(ZeroDivisionError("mine"))
    resolver = caching(upstream)
    found = await asyncio.gather(*(resolver.resolve("a.example", 80) for _ in range(2)), return_exceptions=True)
    assert all(isinstance(each, ZeroDivisionError) for each in found)
    assert len(resolver) == 0
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        await resolver.resolve("a.example", 80)
    assert any(entry.name == "resolve" and "test_lookups" in str(entry.path) for entry in caught.traceback), "where"
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    "said",
    [
        ["127.0.0.1"],
        ["127.0.0.1", "127.0.0.2"],
        socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM),
        [ip_address("127.0.0.1")],
        5,
    ],
    ids=["texts", "two texts", "getaddrinfo", "ipaddress", "number"],
)
async def test_upstream_that_answers_something_else_is_told_what_is_wanted(caching: Make, said: Any) -> None:
    """All who wait are: nobody waits for ever."""
    resolver = caching(Upstream(said=said), timeout=None)
    both = await asyncio.gather(*(resolver.resolve("a.example", 80) for _ in range(2)), return_exceptions=True)
    for error in both:
        assert isinstance(error, TypeError)
        assert "pairs of family and socket address" in str(error)
        assert "'a.example'" in str(error)
    assert len(resolver) == 0


@pytest.mark.parametrize("said", [[(V4, ("127.0.0.1", 80))], ([], "60"), None], ids=["no ttl", "text", "nothing"])
async def test_upstream_with_a_ttl_that_answers_something_else(caching: Make, said: Any) -> None:
    class Timed(Upstream):
        async def resolve_with_ttl(self, host: str, port: int) -> Any:
            return said

    with pytest.raises(TypeError, match=r"resolve_with_ttl\(\) must"):
        await caching(Timed()).resolve("a.example", 80)


async def test_upstream_s_own_ports_are_kept(caching: Make) -> None:
    resolver = caching(Upstream([here(80), here(8080), (V6, ("fe80::1", 80, 0, 7)), (1, "/path")]))
    assert list(await resolver.resolve("a.example", 80)) == [
        here(80),
        here(8080),
        (V6, ("fe80::1", 80, 0, 7)),
        (1, "/path"),
    ]
    for port in (443, 8080, 443):
        assert list(await resolver.resolve("a.example", port)) == [
            here(port),
            here(8080),
            (V6, ("fe80::1", port, 0, 7)),
            (1, "/path"),
        ]


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1), (20, 20), (86400, 60), (None, 60)])
async def test_upstream_that_knows_the_ttl(caching: Make, clock: Clock, ttl: float | None, kept: float) -> None:
    asked = []

    class Timed(Upstream):
        async def resolve_with_ttl(self, host: str, port: int) -> tuple[Sequence[Address], float | None]:
            asked.append(host)
            return [here(port)], ttl

    resolver = caching(Timed())
    await resolver.resolve("a.example", 80)
    clock.now += kept - 0.1
    await resolver.resolve("a.example", 80)
    assert len(asked) == 1
    clock.now += 0.2
    await resolver.resolve("a.example", 80)
    assert len(asked) == 2


@pytest.mark.asyncio(loop_factories=["uvloop"])  # it makes no difference to what is kept
async def test_100000_names_leave_memory_flat(caching: Make) -> None:
    class Forgetful:
        async def resolve(self, host: str, port: int) -> Sequence[Address]:
            return [here(port)]

    resolver = caching(Forgetful(), max_names=1000)

    async def look_up(names: range) -> None:
        for number in names:
            await resolver.resolve(f"host-{number}.example", 443)

    await look_up(range(90_000))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await look_up(range(90_000, 100_000))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(resolver) == 1000
    # What was there before and went counts as nothing, so all that is held now counts: the last 1,000 names.
    assert grown < 1_500_000, f"{grown} bytes for 1,000 names"
    assert not resolver._lookups


async def test_the_longest_known_names_go_first(caching: Make, clock: Clock) -> None:
    upstream = Upstream()
    resolver = caching(upstream, max_names=2)
    for name in ("a", "b", "a", "c", "b"):
        await resolver.resolve(name, 80)
    assert [host for host, _ in upstream.asked] == ["a", "b", "c"]
    clock.now += 61
    await resolver.resolve("b", 80)  # looked up anew: now c's is the oldest
    await resolver.resolve("d", 80)
    await resolver.resolve("b", 80)
    assert [host for host, _ in upstream.asked] == ["a", "b", "c", "b", "d"]


async def test_clear(caching: Make) -> None:
    upstream = Upstream()
    resolver = caching(upstream)
    await resolver.resolve("a.example", 80)
    resolver.clear()
    assert len(resolver) == 0
    await resolver.resolve("a.example", 80)
    assert len(upstream.asked) == 2


# --- stale ------------------------------------------------------------------------------------------------------------


async def test_stale_addresses_serve_when_the_upstream_fails(caching: Make, clock: Clock) -> None:
    upstream = Upstream()
    resolver = caching(upstream)
    await resolver.resolve("a.example", 80)
    clock.now += 61
    upstream.said = AGAIN
    assert await resolver.resolve("a.example", 443) == (here(443),)
    assert await resolver.resolve("a.example", 443) == (here(443),)
    assert len(upstream.asked) == 2, "it is not asked again at once"
    clock.now += 5.1
    assert await resolver.resolve("a.example", 80) == (here(80),)
    assert len(upstream.asked) == 3
    clock.now += 300
    with pytest.raises(socket.gaierror, match="Temporary"):
        await resolver.resolve("a.example", 80)


async def test_name_that_is_gone_has_no_stale_addresses(caching: Make, clock: Clock) -> None:
    upstream = Upstream()
    resolver = caching(upstream)
    await resolver.resolve("a.example", 80)
    clock.now += 61
    upstream.said = NO_NAME
    with pytest.raises(socket.gaierror):
        await resolver.resolve("a.example", 80)


async def test_without_stale_addresses(caching: Make, clock: Clock) -> None:
    upstream = Upstream()
    resolver = caching(upstream, stale_if_error=None)
    await resolver.resolve("a.example", 80)
    clock.now += 61
    upstream.said = AGAIN
    with pytest.raises(socket.gaierror):
        await resolver.resolve("a.example", 80)


async def test_stale_addresses_serve_when_the_upstream_takes_too_long(caching: Make) -> None:
    upstream = Upstream()
    resolver = caching(upstream, ttl=0, timeout=0.02)
    await resolver.resolve("a.example", 80)
    upstream.gate.clear()
    assert await resolver.resolve("a.example", 80) == (here(80),)
    assert await resolver.resolve("a.example", 80) == (here(80),)
    assert len(upstream.asked) == 2
    with pytest.raises(TimeoutError, match=r"0\.02 s"):
        await resolver.resolve("b.example", 80)
    await settle()
    assert upstream.cancelled == 2
    assert not resolver._lookups


# --- time and cancellation --------------------------------------------------------------------------------------------


async def test_timeout_is_a_named_error(caching: Make) -> None:
    upstream = Upstream()
    upstream.gate.clear()
    with pytest.raises(ResolveError, match=r"a\.example.*more than 0\.01 s") as caught:
        await resolve("a.example", 80, caching(upstream, timeout=0.01))
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_each_waiter_has_its_own_time(caching: Make) -> None:
    upstream = Upstream()
    upstream.gate.clear()
    resolver = caching(upstream, timeout=0.5)
    first = asyncio.create_task(resolver.resolve("a.example", 80))
    await asyncio.sleep(0.25)
    second = asyncio.create_task(resolver.resolve("a.example", 80))
    with pytest.raises(TimeoutError):
        await first
    upstream.gate.set()
    assert await second == (here(80),)
    assert len(upstream.asked) == 1


async def test_cancelling_one_waiter_leaves_the_others_theirs(caching: Make) -> None:
    upstream = Upstream()
    upstream.gate.clear()
    resolver = caching(upstream)
    tasks = [asyncio.create_task(resolver.resolve("a.example", 80)) for _ in range(3)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert not upstream.cancelled
    upstream.gate.set()
    assert await tasks[1] == await tasks[2] == (here(80),)
    assert tasks[0].cancelled()
    assert len(upstream.asked) == 1


async def test_cancelling_all_waiters_ends_the_upstream_s_look_up(caching: Make) -> None:
    upstream = Upstream()
    upstream.gate.clear()
    resolver = caching(upstream)
    tasks = [asyncio.create_task(resolver.resolve("a.example", 80)) for _ in range(3)]
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert upstream.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    upstream.gate.set()
    assert await resolver.resolve("a.example", 80) == (here(80),)


async def test_upstream_that_is_cancelled_on_its_own(caching: Make) -> None:
    with pytest.raises(OSError, match="cancelled"):
        await caching(Upstream(asyncio.CancelledError())).resolve("a.example", 80)


@pytest.mark.parametrize("kind", ["system", "upstream", "failing"])
async def test_cancelled_at_every_await_leaves_nothing(caching: Make, system: System, kind: str) -> None:
    upstream = None if kind == "system" else Upstream(AGAIN if kind == "failing" else None)
    resolver = caching(upstream)

    async def scenario() -> None:
        resolver.clear()
        try:
            await resolver.resolve("a.example", 80)
        except socket.gaierror:
            assert kind == "failing"

    async def check() -> None:
        await until(lambda: not resolver._lookups)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    assert await cancel_everywhere(scenario, check) >= 1


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_close_ends_what_is_under_way_and_refuses_more(caching: Make) -> None:
    upstream = Upstream()
    resolver = caching(upstream)
    await resolver.resolve("b.example", 80)
    upstream.gate.clear()
    task = asyncio.create_task(resolver.resolve("a.example", 80))
    await settle()
    await resolver.close()
    await resolver.close()
    with pytest.raises(OSError, match="closed"):
        await task
    for name in ("a.example", "b.example"):
        with pytest.raises(RuntimeError, match="closed"):
            await resolver.resolve(name, 80)
    assert upstream.cancelled == 1
    assert "closed" in repr(resolver)


async def test_close_while_a_thread_hangs(caching: Make, system: System) -> None:
    system.gate.clear()
    resolver = caching()
    task = asyncio.create_task(resolver.resolve("a.example", 80))
    await until(lambda: system.asked)
    await resolver.close()
    with pytest.raises(OSError, match="closed"):
        await task
    system.gate.set()
    await until(lambda: system.ended)
    await settle()
    assert len(resolver) == 0, "what comes late is not remembered by what is closed"


def test_from_one_loop_to_the_next(system: System) -> None:
    resolver = CachingResolver(ttl=0)
    for _ in range(2):
        assert asyncio.run(resolver.resolve("a.example", 80))
    system.gate.clear()

    async def interrupted() -> None:
        async with asyncio.timeout(0.01):
            await resolver.resolve("a.example", 80)

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    system.gate.set()
    assert asyncio.run(resolver.resolve("a.example", 80))
    asyncio.run(resolver.close())


async def test_not_from_two_loops_at_once(caching: Make) -> None:
    upstream = Upstream()
    upstream.gate.clear()
    resolver = caching(upstream)
    task = asyncio.create_task(resolver.resolve("a.example", 80))
    await settle()

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(resolver.resolve("b.example", 80))

    await asyncio.to_thread(elsewhere)
    upstream.gate.set()
    await task


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": -1},
        {"negative_ttl": -1},
        {"stale_if_error": -1},
        {"ttl": float("inf")},
        {"timeout": 0},
        {"max_names": 0},
        {"threads": 0},
    ],
    ids=str,
)
def test_limits_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        CachingResolver(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": None},
        {"negative_ttl": "5"},
        {"timeout": "5"},
        {"max_names": None},
        {"threads": 2.5},
        {"threads": True},
        {"upstream": 5},
        {"upstream": CachingResolver},  # the class itself
    ],
    ids=str,
)
def test_arguments_of_the_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"^{next(iter(options))} must "):
        CachingResolver(**options)


def test_least_ttl_is_as_documented() -> None:
    assert (answers.MIN_TTL, answers.FAILURE_TTL) == (1.0, 1.0)
