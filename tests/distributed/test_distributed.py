"""Maps and downloads on a Dask cluster of two worker processes, of which one is killed on the way."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    AdaptiveThrottle,
    Client,
    Frontier,
    HostConcurrency,
    InvalidURL,
    RateLimit,
    Request,
    RobotsTxt,
    TooManyRedirects,
)
from aiohttpconn import distributed as on_cluster
from aiohttpconn.distributed import ClusterResult, WorkerLost, dispatch, download
from aiohttpconn.distributed import map as map_on
from aiohttpconn.distributed.parcel import dumps, loads, pack, unpack
from aiohttpconn.download.part_file import PartFile
from aiohttpconn.url import URL
from tests.download.server import BODY, MIB, Answer, FileServer
from tests.servers.origin import OriginServer, Reply, pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiohttpconn import Response
    from tests.servers.raw import Received

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

# On one loop: the cluster's part is Dask's, whose own loop is asyncio's, and each worker has its uvloop.
on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


@pytest.fixture(scope="module")
def cluster_process() -> Iterator[tuple[str, IO[str]]]:
    """A cluster of two worker processes, started again when they are killed: its address, and where to write how many
    there are to be. Elsewhere, so that what is left open here is the caller's."""
    command = [sys.executable, "-m", "tests.distributed.dask_cluster"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.stdin
        process.stdin.close()


@pytest.fixture
def cluster(cluster_process: tuple[str, IO[str]]) -> str:
    """The address of that cluster."""
    return cluster_process[0]


@asynccontextmanager
async def dask_client(address: str) -> AsyncIterator[Any]:
    async with distributed.Client(address, asynchronous=True, set_as_default=False) as client:
        yield client


@pytest.fixture
async def wide_server() -> AsyncIterator[OriginServer]:
    """A server at every address of loopback."""
    async with OriginServer(host="0.0.0.0") as server:
        yield server


def urls_of(server: OriginServer, count: int, hosts: int = 10) -> list[str]:
    return [f"http://127.0.1.{number % hosts + 1}:{server.port}/bytes/{number}" for number in range(count)]


async def measure(response: Response) -> tuple[int, int]:
    """A `handle`: the process that it ran in, and the size of the body."""
    return os.getpid(), len(response.content)


async def describe_loop(response: Response) -> str:
    loop = asyncio.get_running_loop()
    return f"{type(loop).__module__} {id(loop)} {os.getpid()}"


async def fail(response: Response) -> Any:
    if response.url.path == "/bytes/0":
        raise LookupError("nothing to see")
    return lambda: (yield) if response.url.path == "/bytes/1" else None  # a function pickles by value


@on_asyncio
async def test_every_request_has_one_result(cluster: str, wide_server: OriginServer) -> None:
    given: list[Any] = urls_of(wide_server, 120)
    given[3:5] = ["nowhere", Request("POST", URL(f"{wide_server.url}/echo"), body=b"abc")]
    results = [result async for result in map_on(given, cluster, concurrency=10, headers={"X-Map": "yes"})]
    assert sorted(result.index for result in results) == list(range(120))
    for result in results:
        assert isinstance(result, ClusterResult)
        if result.index == 3:
            assert isinstance(result.error, InvalidURL)
            continue
        assert result.unwrap().status == 200
        assert result.unwrap().content == (b"abc" if result.index == 4 else pattern(result.index))
        assert result.worker.startswith("tcp://")
    # A host is one worker's affair.
    workers = defaultdict(set)
    for result in results:
        if result.ok:
            workers[result.unwrap().url.host].add(result.worker)
    assert all(len(each) == 1 for each in workers.values())
    assert len(set().union(*workers.values())) == 2


@on_asyncio
async def test_ordered_with_a_client_of_the_caller_s_over_an_address(cluster: str, wide_server: OriginServer) -> None:
    urls = urls_of(wide_server, 50)
    address = cluster
    results = map_on(urls, address, handle=describe_loop, ordered=True, concurrency=3, window=5, direct=True)
    seen = [result async for result in results]
    assert [result.url for result in seen] == urls
    loops = {result.value for result in seen}
    assert len(loops) == 2  # one each
    assert sys.platform == "win32" or all(text.startswith("uvloop") for text in loops)
    assert all(result.response.status == 200 for result in seen)  # its head came, and its body did not
    # Once more: the loop and the client are those of the process.
    async with dask_client(address) as client:
        again = {result.value async for result in map_on(urls, client, handle=describe_loop)}
    assert again == loops


@on_asyncio
async def test_politeness_holds_in_the_whole_cluster(cluster: str, wide_server: OriginServer) -> None:
    """Two partitions on one worker, too: they share its client."""
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def busy(request: Received) -> Reply:
        host = request.get("Host") or ""
        under_way[host] += 1
        most[host] = max(most[host], under_way[host])
        await asyncio.sleep(0)
        under_way[host] -= 1
        return Reply(b"")

    wide_server.fallback = busy
    urls = [f"http://127.0.1.{number % 4 + 1}:{wide_server.port}/page/{number}" for number in range(80)]
    settings = {"politeness": HostConcurrency(1)}
    results = [result async for result in map_on(urls, cluster, client=settings, per_host=8)]
    assert len(results) == 80
    assert all(result.ok for result in results)
    assert set(most.values()) == {1}


@on_asyncio
async def test_what_handle_raises_and_what_does_not_pickle_are_items(cluster: str, wide_server: OriginServer) -> None:
    results = [result async for result in map_on(urls_of(wide_server, 3), cluster, handle=fail, ordered=True)]
    assert isinstance(results[0].error, LookupError)
    assert "in fail" in "".join(results[0].error.__notes__)
    assert results[2].ok


async def test_left_without_its_block_on_either_loop(cluster: str, wide_server: OriginServer) -> None:
    """`break` alone ends it on the workers too."""
    async for result in map_on(urls_of(wide_server, 200), cluster, window=10, concurrency=5):
        assert result.ok
        break
    async with dask_client(cluster) as client:
        while sum((await client.run(_maps_under_way)).values()):
            await asyncio.sleep(0.01)
    while any("Dispatch" in repr(task) for task in asyncio.all_tasks()):
        await asyncio.sleep(0.01)


@on_asyncio
async def test_settings_that_are_no_client_s_end_the_map(cluster: str) -> None:
    with pytest.raises(TypeError, match="colour"):
        [result async for result in map_on(["http://localhost/"], cluster, client={"colour": 1})]
    with pytest.raises(TypeError, match="must return a Client"):
        [result async for result in map_on(["http://localhost/"], cluster, client=lambda: None)]


@on_asyncio
async def test_a_handle_whose_module_the_workers_have_not(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parsing_of_mine.py").write_text("async def parse(response): ...")
    monkeypatch.syspath_prepend(tmp_path)
    handle = importlib.import_module("parsing_of_mine").parse
    with pytest.raises(ImportError, match=r"worker tcp://.* cannot import .*'parsing_of_mine'; .*upload_file"):
        [result async for result in map_on(["http://localhost/"], cluster, handle=handle)]


@on_asyncio
async def test_what_a_session_comes_to_is_the_map_s_failure(
    cluster: str, wide_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no loss of its worker."""
    monkeypatch.setattr(on_cluster, "told_apart", lambda *arguments: None)  # which finds it before anything is begun
    with pytest.raises(TypeError, match="no keyword 'colour'"):
        [result async for result in map_on(urls_of(wide_server, 3), cluster, colour=1)]


@on_asyncio
async def test_what_the_source_raises_comes_after_its_results(cluster: str, wide_server: OriginServer) -> None:
    def source() -> Iterator[str]:
        yield from urls_of(wide_server, 20)
        raise OSError("no more of the list")

    seen = []
    with pytest.raises(OSError, match="no more of the list"):
        async for result in map_on(source(), cluster):
            seen.append(result.index)  # noqa: PERF401 - it ends with an error
    assert sorted(seen) == list(range(20))


@on_asyncio
async def test_a_map_that_is_left_is_cancelled_on_the_workers(cluster: str, wide_server: OriginServer) -> None:
    held: list[Received] = []
    gone = asyncio.Event()

    async def hold(request: Received) -> Reply:
        held.append(request)
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return Reply()

    wide_server.routes["/held"] = hold
    base = f"http://127.0.1.1:{wide_server.port}"

    async def source() -> AsyncIterator[str]:
        for number in range(10):
            yield f"{base}/bytes/{number}"
        yield f"{base}/held"
        await asyncio.Event().wait()

    async with map_on(source(), cluster, concurrency=5) as results:
        seen = 0
        async for _ in results:
            seen += 1
            if seen == 10:
                break
        while not held:
            await asyncio.sleep(0.001)
    async with dask_client(cluster) as client:
        running = await client.run(_maps_under_way)
    assert list(running.values()) == [0, 0]


def _maps_under_way() -> int:
    from aiohttpconn.distributed.process import this_process

    process = this_process()
    return sum("_Run" in repr(task) for task in asyncio.all_tasks(process.loop))


@on_asyncio
async def test_a_frontier_is_fed_by_the_caller(cluster: str, wide_server: OriginServer) -> None:
    frontier = Frontier([f"{wide_server.url}/bytes/40"])
    seen = []
    async for result in map_on(frontier, cluster, handle=measure):
        seen.append(result.value[1])
        with pytest.raises(RuntimeError, match="another map"):
            await anext(map_on(frontier, cluster))
        if result.value[1] > 10:
            frontier.add_links(result, [f"/bytes/{result.value[1] - 10}"])
    assert seen == [40, 30, 20, 10]


@on_asyncio
async def test_downloads(cluster: str, wide_server: OriginServer, tmp_path: Path) -> None:
    items = [(url, f"{number}.bin") for number, url in enumerate(urls_of(wide_server, 12))]
    results = [
        result
        async for result in download(
            [*items, f"{wide_server.url}/status/404"], cluster, directory=tmp_path, fsync=False
        )
    ]
    assert len(results) == 13
    failed = [result for result in results if not result.ok]
    assert [result.url for result in failed] == [f"{wide_server.url}/status/404"]
    for result in results:
        if result.ok:
            number = int(result.unwrap().path.stem)
            assert result.path == tmp_path / f"{number}.bin"
            assert result.path.read_bytes() == pattern(number)
            assert result.unwrap().headers["content-length"] == str(number)


@on_asyncio
async def test_no_two_downloads_have_the_same_file(cluster: str, wide_server: OriginServer, tmp_path: Path) -> None:
    """Whatever the servers call them: each has its own, which the caller settled, and has it again in another run."""

    async def called_the_same(request: Received) -> Reply:
        host = (request.get("Host") or "").encode()
        return Reply(host, fields=[("Content-Disposition", "attachment; filename=same"), ("ETag", '"1"')])

    wide_server.fallback = called_the_same
    hosts = [f"127.0.4.{number}:{wide_server.port}" for number in range(1, 9)]
    items = [*(f"http://{host}/a/data.bin" for host in hosts), (f"http://{hosts[0]}/x", "x"), f"http://{hosts[1]}/X"]
    for _ in range(2):
        results = [
            result async for result in download([*items, (f"{wide_server.url}/y", "x")], cluster, directory=tmp_path)
        ]
        [failed] = [result for result in results if not result.ok]
        assert "another item is saved as" in str(failed.error)
        assert {path.name for path in tmp_path.iterdir()} == {
            "data.bin", *(f"data-{number}.bin" for number in range(2, 9)), "x", "X-10"
        }  # fmt: skip
        for result in results:
            if result.ok:
                assert result.unwrap().path.read_text() in result.url


@on_asyncio
async def test_a_half_file_that_is_still_another_one_s_is_waited_for(
    cluster: str, wide_server: OriginServer, tmp_path: Path
) -> None:
    """That of a caller which was killed and began again at once, say: its workers learn of it a moment later."""
    part = PartFile(str(tmp_path / "file"))
    let_go: list[asyncio.Task[None]] = []

    async def answer(request: Received) -> Reply:
        if not let_go:  # it finds it, and so is refused before anything could be sent again: there is no better sign
            await part.start_over(None)
            let_go.append(asyncio.create_task(closed_soon()))
        return Reply(b"whole")

    async def closed_soon() -> None:
        await asyncio.sleep(0.1)
        await part.close()

    wide_server.fallback = answer
    [result] = [result async for result in download({f"{wide_server.url}/x": "file"}, cluster, directory=tmp_path)]
    assert result.unwrap().path.read_bytes() == b"whole"


@on_asyncio
async def test_a_redirect_is_the_affair_of_the_worker_of_its_host(cluster: str, wide_server: OriginServer) -> None:
    """So what holds for that host holds in the whole cluster; also for what was given for the first one only."""
    seen: list[tuple[str, str, str | None]] = []
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    port = wide_server.port

    async def answer(request: Received) -> Reply:
        host = (request.get("Host") or "").partition(":")[0]
        seen.append((host, request.path, request.get("Authorization")))
        under_way[host] += 1
        most[host] = max(most[host], under_way[host])
        await asyncio.sleep(0)
        under_way[host] -= 1
        if request.path == "/round":
            return Reply(b"", 302, fields=[("Location", "/round")])
        if host != "127.0.5.100":
            return Reply(b"", 302, fields=[("Location", f"http://127.0.5.100:{port}{request.path}")])
        return Reply(request.path.encode())

    wide_server.fallback = answer
    urls = [f"http://127.0.5.{number % 6 + 1}:{port}/{number}" for number in range(60)]
    settings = {"politeness": HostConcurrency(1)}
    results = [result async for result in map_on(urls, cluster, client=settings, auth=("me", "secret"))]
    assert sorted(result.unwrap().text for result in results) == sorted(URL(url).path for url in urls)
    assert {len(result.unwrap().history) for result in results} == {1}
    assert all(result.unwrap().history[0].url.host == URL(result.url).host for result in results)
    assert len({result.worker for result in results}) == 1
    assert most["127.0.5.100"] == 1
    assert {(host == "127.0.5.100", authorization is None) for host, _, authorization in seen} == {
        (True, True),
        (False, False),
    }
    [round_] = [
        result async for result in map_on([f"http://127.0.5.1:{port}/round"], cluster, client={"max_redirects": 3})
    ]
    assert isinstance(round_.error, TooManyRedirects)
    # A frontier has where they lead, each once.
    frontier = Frontier([f"http://127.0.5.{number}:{port}/one" for number in range(1, 5)])
    assert [result.url async for result in map_on(frontier, cluster)] == [f"http://127.0.5.100:{port}/one"]


@on_asyncio
async def test_a_killed_worker_s_partition_is_done_by_another(
    cluster: str, wide_server: OriginServer, tmp_path: Path
) -> None:
    """One worker is killed while it has requests. What was handed out is not fetched again, neither by this run nor by
    the next one with its checkpoint; and what may not be sent twice is not."""
    fetched: Counter[str] = Counter()
    gate = asyncio.Event()

    async def count(request: Received) -> Reply:
        fetched[request.path] += 1
        if request.path.startswith("/late") and not gate.is_set():
            await gate.wait()
        return Reply(request.path.encode())

    wide_server.fallback = count
    hosts = [f"http://127.0.2.{number}:{wide_server.port}" for number in range(1, 9)]
    doomed = hosts[0]
    gets = [f"{host}/early/{number}/{host[-7]}" for number in range(30) for host in hosts]
    gets += [f"{doomed}/late/{number}" for number in range(4)]
    post = Request("POST", URL(f"{doomed}/late/post"), body=b"")

    handed_out: set[str] = set()
    checkpoint = tmp_path / "map.sqlite"
    lost = None
    serving = ""
    # A Dask client of the caller's, the default one, that nothing of the map must hang on.
    async with (
        distributed.Client(cluster, asynchronous=True) as client,
        map_on([*gets, post], cluster, handle=path_of, checkpoint=checkpoint, per_host=20) as results,
    ):
        async for result in results:
            if isinstance(result.error, WorkerLost):
                lost = result
                continue
            assert result.ok, result.error
            path = result.value
            assert path not in handed_out
            handed_out.add(path)
            if result.url.startswith(doomed):
                serving = result.worker
            if len(handed_out) == len({URL(url).path for url in gets if "early" in url}):
                while sum(fetched[path] for path in fetched if path.startswith("/late")) < 5:
                    await asyncio.sleep(0.001)
                [pid] = (await client.run(os.getpid, workers=[serving])).values()
                os.kill(pid, signal.SIGKILL)
                gate.set()
    assert handed_out == {URL(url).path for url in gets}
    assert lost is not None
    assert lost.request is post
    assert fetched["/late/post"] == 1
    assert {path: times for path, times in fetched.items() if times != 1} == {f"/late/{at}": 2 for at in range(4)}
    again = [result async for result in map_on(gets, cluster, checkpoint=checkpoint)]
    assert again == []


@on_asyncio
async def test_what_a_worker_had_that_the_cluster_gave_up_is_done_by_another(
    cluster_process: tuple[str, IO[str]], wide_server: OriginServer
) -> None:
    """With a default Dask client of the caller's open, which hears of it too."""
    cluster, sizes = cluster_process
    fetched: Counter[str] = Counter()

    async def answer(request: Received) -> Reply:
        fetched[request.path] += 1
        if request.path == "/held" and fetched["/held"] <= 8:  # what the two have at first
            await asyncio.Event().wait()
        return Reply(b"")

    wide_server.fallback = answer
    urls = [f"http://127.0.6.{number}:{wide_server.port}/held" for number in range(1, 9)]
    async with distributed.Client(cluster, asynchronous=True) as client:
        await client.wait_for_workers(2)
        async with map_on(urls, cluster) as results:
            first = asyncio.ensure_future(anext(results))
            while fetched["/held"] < 8:
                await asyncio.sleep(0.001)
            print(1, file=sizes, flush=True)
            assert (await first).ok
            assert fetched["/held"] > 8
            while len(await client.nthreads()) > 1:
                await asyncio.sleep(0.001)
        print(2, file=sizes, flush=True)
        await client.wait_for_workers(2)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which worker has the file")
@on_asyncio
async def test_a_killed_worker_s_file_is_gone_on_with(cluster: str, tmp_path: Path) -> None:
    """What it had written is not fetched again, but for the 1 MiB that may not have been noted yet."""
    killed = asyncio.Event()

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if request.path == "/big" and not killed.is_set():
            answer.cut, answer.after = 2 * MIB, killed.wait
        return answer

    async with FileServer() as server:
        server.twist = twist
        items = [(f"{server.url}/first", "first"), (f"{server.url}/big", "big")]
        results = []
        async for result in download(items, cluster, directory=tmp_path, concurrency=1):
            results.append(result)
            if len(results) == 1:
                while server.sent < len(BODY) + 2 * MIB or _size(tmp_path / "big.part") < 2 * MIB:
                    await asyncio.sleep(0.001)
                async with dask_client(cluster) as client:
                    pids = await client.run(os.getpid)
                for pid in pids.values():
                    if _has_open(pid, tmp_path / "big.part"):
                        os.kill(pid, signal.SIGKILL)
                killed.set()
        assert [result.unwrap().path.read_bytes() for result in results] == [BODY, BODY]
        assert results[1].unwrap().resumed_from >= MIB
        assert server.sent <= 2 * len(BODY) + MIB


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_open(pid: int, path: Path) -> bool:
    return any(os.path.realpath(each) == str(path) for each in Path(f"/proc/{pid}/fd").iterdir())


@on_asyncio
async def test_what_workers_are_lost_to_again_and_again_is_an_error(
    cluster: str, wide_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dispatch.LOSSES == 3
    monkeypatch.setattr(dispatch, "LOSSES", 2)  # the third would have to be started first
    url = f"{wide_server.url}/bytes/1"
    [result] = [result async for result in map_on([url], cluster, handle=die)]
    assert isinstance(result.error, WorkerLost)
    assert result.error.sent_again
    assert len(result.error.workers) == 2


async def die(response: Response) -> None:
    os._exit(1)


async def path_of(response: Response) -> str:
    return response.url.path


def test_errors_that_do_not_pickle_or_unpickle_become_others() -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("odd")

    odd = Odd(1, 2)
    odd.add_note("of a page")
    _, _, error = unpack(pack(None, None, odd, False))
    assert isinstance(error, RuntimeError)
    assert str(error) == "Odd: odd"
    assert error.__notes__ == ["of a page"]
    _, _, error = unpack(pack(None, (value for value in ()), None, False))
    assert isinstance(error, TypeError)
    assert "generator" in str(error)


def test_rules_and_errors_pickle() -> None:
    for rule in (RateLimit(2, per=3.0, burst=4), HostConcurrency(3), AdaptiveThrottle(), RobotsTxt()):
        assert repr(loads(dumps(rule))) == repr(rule)
        assert dumps(rule) == dumps(rule)  # the same settings are the same client
    error = loads(dumps(WorkerLost(("tcp://a", "tcp://b"), True)))
    assert "lost, 2 times: tcp://a, tcp://b" in str(error)
    assert str(WorkerLost(("tcp://a", "tcp://a"), True)).endswith("2 times: tcp://a")
    assert "not idempotent" in str(WorkerLost(("tcp://a",), False))


def test_what_cannot_be_pickled_is_refused_at_once() -> None:
    lock = threading.Lock()

    async def handle(response: Response) -> bool:
        return lock.locked()

    for keywords in ({"handle": handle}, {"client": {"transport": lock}}):
        with pytest.raises(TypeError, match=f"{next(iter(keywords))} cannot be pickled.*lock"):
            map_on(["http://localhost/"], "tcp://127.0.0.1:1", **keywords)


@pytest.mark.parametrize(
    ("keywords", "complaint"),
    [({"per_host": 0}, "per_host"), ({"concurrency": "many"}, "concurrency"), ({"window": 0}, "window")],
)
def test_what_cannot_be_meant(keywords: dict[str, Any], complaint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=complaint):
        map_on(["http://localhost/"], "tcp://127.0.0.1:1", **keywords)
    with pytest.raises(TypeError, match="iterable of URLs"):
        map_on("http://localhost/", "tcp://127.0.0.1:1")
    with pytest.raises(TypeError, match="a Dask cluster"):
        map_on([], Client)


def test_a_client_that_is_there_is_none_of_the_workers() -> None:
    with pytest.raises(TypeError, match="keywords of Client, or a function"):
        map_on(["http://localhost/"], "tcp://127.0.0.1:1", client=Client())


@on_asyncio
async def test_a_cluster_that_is_not_there() -> None:
    cluster = distributed.LocalCluster(n_workers=0, processes=False, asynchronous=True, dashboard_address=None)
    with pytest.raises(ValueError, match="not started, await it"):
        map_on(["http://localhost/"], cluster)
    await cluster.close()
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "50ms"}),
        pytest.raises(ConnectionError, match=r"no scheduler at tcp://127\.0\.0\.1:1: Timed out"),
    ):
        await anext(map_on(["http://localhost/"], "tcp://127.0.0.1:1"))


def test_keywords_that_no_request_could_have_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="did you mean 'headers'"):
        map_on(["http://localhost/"], "tcp://127.0.0.1:1", header={"X-Map": "yes"})
    with pytest.raises(TypeError, match="params must be"):
        map_on(["http://localhost/"], "tcp://127.0.0.1:1", params=3.5)
    with pytest.raises(TypeError, match="no keyword 'segment'"):
        download(["http://localhost/"], "tcp://127.0.0.1:1", segment=2)
