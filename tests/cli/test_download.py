"""``aiohttpconn download``: files that come whole, from where they were left, with what is said of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from aiohttpconn.cli.download import DownloadOptions, parse_arguments
from aiohttpconn.cli.exits import UsageError
from tests.cli.command import finish, run, run_on_terminal, start
from tests.download.server import BODY, Answer, FileServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers.raw import Received

SHA256 = hashlib.sha256(BODY).hexdigest()
URL = "http://example.org/a.bin"


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    """A server of one file, under every path but /missing."""
    async with FileServer() as server:
        server.twist = lambda request, _, answer: Answer(404, [], b"") if request.path == "/missing" else answer
        yield server


def names(directory: Path) -> list[str]:
    """What is in the directory."""
    return sorted(os.listdir(directory))


async def until(path: Path) -> None:
    """Wait until something is in a file."""
    while not (path.exists() and path.stat().st_size):
        await asyncio.sleep(0.01)


def holding(server: FileServer, size: int) -> None:
    """Send so many bytes of each body, and no more until the connection is closed."""

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.length, answer.cut, answer.after = len(answer.body), size, asyncio.Event().wait
        return answer

    server.twist = twist


async def test_files_are_saved_and_the_next_run_leaves_them(server: FileServer, tmp_path: Path) -> None:
    arguments = ("download", "-s", 2, "--checksum", f"sha-256={SHA256}", "-d", "new", f"{server.url}/x/a.bin")
    outcome = await run(*arguments, cwd=tmp_path)
    assert (outcome.code, outcome.stdout) == (0, b""), outcome.stderr
    assert re.fullmatch(r"new/a\.bin: 3\.0 MiB in [\d.]+ s, [\d.]+ .iB/s, sha256 verified\n", outcome.stderr)
    assert (tmp_path / "new" / "a.bin").read_bytes() == BODY
    assert len([asked for asked in server.asked if asked]) >= 1  # a range: there were two segments
    outcome = await run(*arguments, cwd=tmp_path)
    assert (outcome.code, outcome.stderr) == (0, "new/a.bin: 3.0 MiB, was there already, sha256 verified\n")
    (tmp_path / "new" / "a.bin").write_bytes(b"mine")
    outcome = await run(*arguments, cwd=tmp_path)
    assert (outcome.code, outcome.complaint.endswith("a.bin is there already (--overwrite replaces it)")) == (3, True)
    assert (await run(*arguments, "--overwrite", cwd=tmp_path)).code == 0
    assert (tmp_path / "new" / "a.bin").read_bytes() == BODY


async def test_one_that_fails_does_not_stop_the_others(server: FileServer, tmp_path: Path) -> None:
    urls = [f"{server.url}/missing", f"{server.url}/b.bin"]
    outcome = await run("download", "-q", *urls, cwd=tmp_path)
    assert (outcome.code, outcome.complaint) == (1, f"{urls[0]}: 404 OK")
    assert names(tmp_path) == ["b.bin"]
    outcome = await run("download", "-q", "--checksum", "md5:" + "0" * 32, "-o", "c", urls[1], cwd=tmp_path)
    assert (outcome.code, "were thrown away" in outcome.complaint) == (3, True)
    assert names(tmp_path) == ["b.bin"]


async def test_interrupted_it_says_how_to_go_on_and_does(server: FileServer, tmp_path: Path) -> None:
    orderly = server.twist
    holding(server, 2_000_000)
    process = start("download", f"{server.url}/a.bin", cwd=tmp_path)
    await until(tmp_path / "a.bin.part")
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert outcome.code == 130
    assert outcome.complaint == ("interrupted: 0 files complete, a.bin.part kept; the same command goes on from there")
    server.twist = orderly
    outcome = await run("download", f"{server.url}/a.bin", cwd=tmp_path)
    assert outcome.code == 0
    assert "iB of an earlier run" in outcome.stderr
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert names(tmp_path) == ["a.bin"]


async def test_saved_by_the_plain_command_after_that_nothing_is_mixed(server: FileServer, tmp_path: Path) -> None:
    orderly = server.twist
    holding(server, 2_000_000)
    process = start("download", f"{server.url}/a.bin", cwd=tmp_path)
    await until(tmp_path / "a.bin.part")
    process.send_signal(signal.SIGINT)
    await finish(process)
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.jsonl"]
    server.twist = orderly
    assert (await run("-O", f"{server.url}/a.bin", cwd=tmp_path)).code == 0
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert names(tmp_path) == ["a.bin"]


async def test_a_list_by_standard_input_with_mirrors_names_and_checksums(server: FileServer, tmp_path: Path) -> None:
    lines = [
        "# what is wanted\r",
        "",
        f"{server.url}/missing\t{server.url}/mirror\r",
        "  out=first",
        f"  checksum=sha-256={SHA256}",
        f"{server.url}/second",
        "no url",
    ]
    outcome = await run("download", "-i", "-", "-j", 2, stdin="\n".join(lines).encode(), cwd=tmp_path)
    assert outcome.code == 3
    assert names(tmp_path) == ["first", "second"]
    assert len(outcome.stderr.splitlines()) == 3
    assert "\naiohttpconn: no url: " in f"\n{outcome.stderr}"
    outcome = await run("download", "-i", "-", stdin=b"  out=x\n", cwd=tmp_path)
    assert (outcome.code, "'out=x' is no URL, and stands below none" in outcome.complaint) == (2, True)


async def test_of_a_list_each_file_has_its_options_and_fails_for_them_alone(server: FileServer, tmp_path: Path) -> None:
    lines = [
        f"{server.url}/a",
        "  dir=sub",
        "  out=first",
        "  split=2",
        "  header=X-One: 1",
        "  header=X-Two: 2",
        f"{server.url}/b",
        "  out=second",
        "  dir=sub/deep",
        "  gid=2089b05ecca3d829",
        "  max-connection-per-server=4",
        f"{server.url}/c",
        "  proxy=http://127.0.0.1:1",
        f"{server.url}/d",
        "  checksum=sha-256=0",
        f"{server.url}/e",
        "  gid=2089b05ecca3d830",
        f"{server.url}/f",
        f"  dir={tmp_path / 'there'}",
        "  allow-overwrite=true",
        f"{server.url}/g",
        f"  dir={tmp_path / 'there'}",
    ]
    outcome = await run("download", "-i", "-", "-d", "files", stdin="\n".join(lines).encode(), cwd=tmp_path)
    assert outcome.code == 3
    assert [names(tmp_path / each) for each in ("", "files", "there")] == [["files", "sub", "there"], ["e"], ["g"]]
    assert (tmp_path / "sub" / "first").read_bytes() == BODY  # dir= is in place of -d, not below it
    assert (tmp_path / "sub" / "deep" / "second").read_bytes() == BODY
    assert all((each.get("X-One"), each.get("X-Two")) == ("1", "2") for each in server.requests if each.path == "/a")
    assert f"{server.url}/c: proxy= is no option of a list: out=" in outcome.stderr
    assert f"{server.url}/d: '0' is no sha-256 digest" in outcome.stderr
    assert f"{server.url}/f: allow-overwrite= is no option of a list: out=" in outcome.stderr
    assert [line.partition(": passed over, ")[2] for line in outcome.stderr.splitlines() if "gid" in line] == [
        "as not of what is fetched, or where it goes: gid=, max-connection-per-server="
    ]
    assert {each.path for each in server.requests} == {"/a", "/b", "/e", "/g"}


async def test_a_password_in_what_is_no_url_is_not_shown(tmp_path: Path) -> None:
    outcome = await run("download", "-i", "-", stdin=b"http://joe:secr/et@127.0.0.1:1/x\n", cwd=tmp_path)
    assert outcome.code == 3
    assert "secr" not in outcome.stderr
    assert "127.0.0.1:1/x" in outcome.stderr


async def test_nobody_reads_standard_error(server: FileServer, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = start("download", f"{server.url}/a", f"{server.url}/b", stderr=writing, cwd=tmp_path)
        assert (await finish(process)).code == 0
    finally:
        os.close(writing)
    assert names(tmp_path) == ["a", "b"]


async def test_interrupted_while_standard_input_gives_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"http://127.0.0.1:1/\nhttp://127.0.0.1:1/\n")  # below the last one its options may follow
        process = start("download", "-i", "-", stdin=reading, cwd=tmp_path)
        assert process.stderr is not None
        assert b"refused" in await asyncio.to_thread(process.stderr.readline)
        process.send_signal(signal.SIGINT)
        assert (await finish(process)).code == 130
    finally:
        os.close(reading)
        os.close(writing)


async def test_bars_on_a_terminal(server: FileServer, tmp_path: Path) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if request.path == "/missing":
            return Answer(404, [], b"")
        answer.length, answer.cut = len(answer.body), 2_000_000 if number < 2 else None
        answer.after = (lambda: asyncio.sleep(0.5)) if number < 2 else None
        return answer

    server.twist = twist
    outcome = await run_on_terminal("download", f"{server.url}/a[red].bin", f"{server.url}/missing", cwd=tmp_path)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.stdout.decode())
    assert outcome.code == 1, text
    assert re.search(r"a_?\[red\]\.bin +[━╸╺]+ +[\d.]+/3\.0 MiB", text), text[-2000:]
    assert re.search(r"✓ a\[red\]\.bin  3\.0 MiB in ", text), text[-2000:]
    assert f"aiohttpconn: {server.url}/missing: 404 OK" in text


# --- the command line -------------------------------------------------------------------------------------------------


def test_options_set_their_fields() -> None:
    assert parse_arguments([URL]) == DownloadOptions(urls=(URL,))
    given = "-s auto -j 3 --limit-rate 5M --retries 0 --no-resume --no-overwrite --fsync -d there -i list -q"
    assert parse_arguments([*given.split(), URL, URL]) == DownloadOptions(
        urls=(URL, URL), segments="auto", concurrency=3, limit_rate=5 << 20, repairs=0, resume=False,
        overwrite=False, fsync=True, directory="there", list="list", quiet=True,
    )  # fmt: skip
    given = "-o x --mirror http://m/ --cert c.pem --key k.pem -H A:1 -x p:1 --cacert ca.pem --timeout 1m"
    assert parse_arguments([*given.split(), URL]) == DownloadOptions(
        urls=(URL,), output="x", mirrors=("http://m/",), cert=("c.pem", "k.pem"), headers=(("A", b"1"),),
        proxy="http://p:1", verify="ca.pem", timeout=60.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "what is to be downloaded"),
        (["-o", "x", URL, URL], "-o is for one URL"),
        (["-o", "-", URL], "a download is a file; aiohttpconn -o - URL prints"),
        (["-i", "x", "--mirror", URL, URL], "--mirror is for one URL"),
        (["-s", "65", URL], "from 1 to 64"),
        (["--checksum", "crc:1", URL], "no algorithm that hashlib knows"),
        (["--limit-rate", "fast", URL], "bytes are wanted"),
        (["--key", "k.pem", URL], "--key is that of --cert"),
    ],
)
def test_what_is_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        parse_arguments(arguments)
