"""Bodies in files: whole or not at all, under harmless names; and what is said while they come."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import finish, run, run_on_terminal, start
from tests.servers.origin import Reply, pattern
from tests.servers.raw import Hold, Pause, Request, Send, WaitFor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.servers.origin import OriginServer
    from tests.servers.raw import RawServer

    StartServer = Callable[..., Awaitable[RawServer]]

OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OK + b"Content-Length: 2000000\r\n\r\n" + bytes(1_500_000)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file in the directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# --- whole ------------------------------------------------------------------------------------------------------------


async def test_a_body_is_saved_and_a_line_says_so(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run("-o", tmp_path / "x", f"{http_server.url}/bytes/3000000")
    assert (outcome.code, outcome.stdout) == (0, b"")
    assert contents(tmp_path) == {"x": pattern(3_000_000)}
    assert re.fullmatch(re.escape(f"{tmp_path / 'x'}: 2.9 MiB in ") + r"[\d.]+ s, [\d.]+ [KMG]iB/s\n", outcome.stderr)


async def test_quiet_says_nothing_but_failures(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run("-q", "-o", tmp_path / "x", f"{http_server.url}/bytes/10")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, b"", "")
    outcome = await run("-q", "-f", "-o", tmp_path / "x", f"{http_server.url}/status/404")
    assert (outcome.code, outcome.complaint) == (1, f"{http_server.url}/status/404: 404 Not Found")


async def test_a_dash_is_standard_output(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run("-o", "-", http_server.url, cwd=tmp_path)
    assert (outcome.code, outcome.stdout, contents(tmp_path)) == (0, b"hello", {})


async def test_an_empty_body_makes_an_empty_file(http_server: OriginServer, tmp_path: Path) -> None:
    assert (await run("-o", tmp_path / "x", f"{http_server.url}/bytes/0")).code == 0
    assert contents(tmp_path) == {"x": b""}


async def test_a_head_is_included(http_server: OriginServer, tmp_path: Path) -> None:
    assert (await run("-i", "-o", tmp_path / "x", f"{http_server.url}/bytes/4")).code == 0
    assert contents(tmp_path) == {"x": OK + b"Content-Length: 4\r\n\r\n" + pattern(4)}


async def test_names_are_the_urls_and_harmless(http_server: OriginServer, tmp_path: Path) -> None:
    http_server.fallback = lambda request: Reply(request.target.encode())
    targets = ["/a.txt?x=1", "/b/a.txt", "/", "/..%2f..%2fescaped", "/.profile", "/gr%C3%BC%C3%9Fe"]
    inside = tmp_path / "inside"
    inside.mkdir()
    outcome = await run("-O", *(http_server.url + target for target in targets), cwd=inside)
    assert outcome.code == 0
    assert contents(inside) == {
        "a.txt": b"/a.txt?x=1",
        "a-2.txt": b"/b/a.txt",
        "index.html": b"hello",
        "escaped": b"/..%2f..%2fescaped",
        "_.profile": b"/.profile",
        "grüße": b"/gr%C3%BC%C3%9Fe",
    }
    assert os.listdir(tmp_path) == ["inside"]
    assert len(outcome.stderr.splitlines()) == len(targets)


async def test_a_name_is_the_given_urls_not_a_redirects(http_server: OriginServer, tmp_path: Path) -> None:
    http_server.routes["/mine"] = Reply(status=302, fields=[("Location", "/bytes/5?.bashrc")])
    assert (await run("-O", f"{http_server.url}/mine", cwd=tmp_path)).code == 0
    assert contents(tmp_path) == {"mine": pattern(5)}


async def test_many_at_a_time_but_no_more_than_told(http_server: OriginServer, tmp_path: Path) -> None:
    now = most = 0

    async def counted(request: object) -> Reply:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return Reply(b"x" * 1000)

    http_server.fallback = counted
    urls = [f"{http_server.url}/{n}" for n in range(20)]
    assert (await run("-O", "--concurrency", 3, *urls, cwd=tmp_path)).code == 0
    assert most == 3
    assert contents(tmp_path) == {str(n): b"x" * 1000 for n in range(20)}


async def test_a_file_that_was_there_is_replaced_when_the_new_one_is_whole(
    raw_server: StartServer, tmp_path: Path
) -> None:
    go = asyncio.Event()
    server = await raw_server(
        [Request(), Send(OK + b"Content-Length: 1500003\r\n\r\n" + bytes(1_500_000)), WaitFor(go), Send(b"new")]
    )
    (tmp_path / "x").write_bytes(b"old")
    process = start("-o", tmp_path / "x", server.url)
    while not ((tmp_path / "x.part").exists() and (tmp_path / "x.part").stat().st_size):
        await asyncio.sleep(0.01)
    assert (tmp_path / "x").read_bytes() == b"old"
    go.set()
    assert (await finish(process)).code == 0
    assert contents(tmp_path) == {"x": bytes(1_500_000) + b"new"}


async def test_a_link_stays_and_its_file_is_replaced(http_server: OriginServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    assert (await run("-o", tmp_path / "link", f"{http_server.url}/bytes/3")).code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == pattern(3)


# --- not at all -------------------------------------------------------------------------------------------------------


async def test_half_a_body_leaves_nothing_and_spares_what_was_there(raw_server: StartServer, tmp_path: Path) -> None:
    server = await raw_server(SHORT)
    outcome = await run("-o", tmp_path / "x", server.url)
    assert outcome.code == 3
    assert outcome.complaint == f"{server.url}/: the body ended early, 500,000 bytes are missing"
    assert contents(tmp_path) == {}
    (tmp_path / "x").write_bytes(b"old")
    assert (await run("-o", tmp_path / "x", server.url)).code == 3
    assert contents(tmp_path) == {"x": b"old"}


async def test_an_error_status_that_fails_saves_nothing(http_server: OriginServer, tmp_path: Path) -> None:
    urls = [f"{http_server.url}/status/500", f"{http_server.url}/bytes/3"]
    outcome = await run("--fail", "-O", *urls, cwd=tmp_path)
    assert outcome.code == 1
    assert contents(tmp_path) == {"3": pattern(3)}


async def test_interrupt_leaves_nothing(raw_server: StartServer, tmp_path: Path) -> None:
    server = await raw_server([Request(), Send(SHORT), Hold()])
    process = start("-o", tmp_path / "x", server.url)
    while not ((tmp_path / "x.part").exists() and (tmp_path / "x.part").stat().st_size):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert (outcome.code, outcome.complaint) == (130, "interrupted")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing/x", "No such file or directory"), ("", "Is a directory"), ("file/x", "Not a directory")],
)
async def test_where_nothing_can_be_written(http_server: OriginServer, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").touch()
    outcome = await run("-o", tmp_path / name, http_server.url)
    assert outcome.code == 3
    assert outcome.complaint.startswith(f"{http_server.url}/: cannot write {tmp_path / name!s}")
    assert outcome.complaint.endswith(f": {says}")
    assert contents(tmp_path) == {"file": b""}


# --- neither ----------------------------------------------------------------------------------------------------------


async def test_a_device_is_written_to_and_stays_what_it_is(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run("-o", "/dev/null", f"{http_server.url}/bytes/100000")
    assert outcome.code == 0
    assert not os.path.isfile("/dev/null")
    assert not os.path.exists("/dev/null.part")
    if os.path.exists("/dev/full"):
        outcome = await run("-o", "/dev/full", f"{http_server.url}/bytes/100000")
        assert (outcome.code, outcome.complaint.endswith("No space left on device")) == (3, True)


async def test_a_named_pipe_is_written_to(http_server: OriginServer, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = start("-o", tmp_path / "pipe", f"{http_server.url}/bytes/1000000")
    assert await asyncio.to_thread((tmp_path / "pipe").read_bytes) == pattern(1_000_000)
    assert (await finish(process)).code == 0


async def test_interrupt_while_nobody_opens_a_named_pipe(http_server: OriginServer, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = start("-o", tmp_path / "pipe", f"{http_server.url}/bytes/10")
    while not http_server.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).code == 130


# --- on a terminal ----------------------------------------------------------------------------------------------------


async def test_bars_while_files_come_and_a_line_for_each(raw_server: StartServer, tmp_path: Path) -> None:
    half = bytes(1_000_000)
    server = await raw_server([Request(), Send(OK + b"Content-Length: 2000000\r\n\r\n" + half), Pause(0.5), Send(half)])
    outcome = await run_on_terminal("-O", f"{server.url}/one.iso", f"{server.url}/two[red].iso", cwd=tmp_path)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.stdout.decode())
    assert outcome.code == 0
    assert {name: len(body) for name, body in contents(tmp_path).items()} == {"one.iso": 2e6, "two[red].iso": 2e6}
    assert re.search(r"one\.iso +[━╸╺]+ +1\.0/1\.9 MiB", text), text[-2000:]  # a bar on its way
    for name in ("one.iso", "two[red].iso"):
        assert re.search(rf"✓ {re.escape(name)}  1\.9 MiB in [\d.]+ s, [\d.]+ MiB/s", text), text[-2000:]


async def test_failures_stand_among_the_bars(http_server: OriginServer, tmp_path: Path) -> None:
    urls = [f"{http_server.url}/bytes/1000", f"{http_server.url}/status/404"]
    outcome = await run_on_terminal("-f", "-O", *urls, cwd=tmp_path)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.stdout.decode())
    assert outcome.code == 1
    assert f"aiohttpconn: {urls[1]}: 404 Not Found\r\n" in text
    assert "✓ 1000  1000 B in " in text


async def test_without_rich_there_are_lines(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run_on_terminal("-O", f"{http_server.url}/bytes/1000", cwd=tmp_path, missing=("rich",))
    assert outcome.code == 0
    assert re.fullmatch(rb"1000: 1000 B in [\d.]+ s, [\d.]+ .iB/s\r\n", outcome.stdout)


async def test_quiet_shows_no_bars(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run_on_terminal("-q", "-O", f"{http_server.url}/bytes/1000", cwd=tmp_path)
    assert (outcome.code, outcome.stdout) == (0, b"")
