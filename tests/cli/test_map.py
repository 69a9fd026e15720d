"""``aiohttpconn map``: a line of JSON for each URL of a list, and none for what an earlier run finished."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn.cli.exits import UsageError
from aiohttpconn.cli.map import MapOptions, parse_arguments
from tests.cli.command import finish, run, run_on_terminal, start
from tests.servers.origin import Reply, pattern

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.origin import OriginServer
    from tests.servers.raw import Received


def records(lines: bytes) -> dict[str, dict[str, Any]]:
    """The lines by their URL."""
    found = [json.loads(line) for line in lines.splitlines()]
    assert len({record["url"] for record in found}) == len(found)
    return {record["url"]: record for record in found}


async def test_a_line_for_each_in_a_pipe(http_server: OriginServer, tmp_path: Path) -> None:
    base = http_server.url
    http_server.routes["/text"] = Reply(
        "grüße\n".encode("latin-1"), fields=[("Content-Type", "text/plain; charset=latin-1")]
    )
    http_server.routes["/moved"] = Reply(status=302, fields=[("Location", "/text")])
    urls = [
        f"{base}/text",
        f"{base}/moved",
        f"{base}/status/404",
        f"{base}/bytes/3?a.PDF",
        f"{base}/bytes/2000",
        "no url",
    ]
    options = ("--body", "--head", "--save-dir", "bodies", "--max-body", "1K", "--rate", "1000", "--throttle")
    outcome = await run("map", *options, stdin="\n".join(urls).encode(), cwd=tmp_path)
    assert outcome.code == 3
    assert re.search(r"4 answered \(1 with 4xx or 5xx\) in [\d.]+ s; 2 failed: 1 × ", outcome.complaint)
    found = records(outcome.stdout)
    assert set(found) == set(urls)
    text = found[urls[0]]
    assert (text["status"], text["size"], text["body"], "location" in text) == (200, 6, "grüße\n", False)
    assert ["Content-Type", "text/plain; charset=latin-1"] in text["headers"]
    assert (tmp_path / "bodies" / text["file"]).read_bytes() == "grüße\n".encode("latin-1")
    assert (found[urls[1]]["location"], found[urls[1]]["body"]) == (urls[0], "grüße\n")
    assert found[urls[2]]["status"] == 404
    assert base64.b64decode(found[urls[3]]["base64"]) == pattern(3)
    assert found[urls[4]]["error"] == "BodyTooLarge"
    assert found["no url"]["error"] == "InvalidURL"


async def test_interrupted_it_goes_on_with_what_is_missing(http_server: OriginServer, tmp_path: Path) -> None:
    go = False
    asked: list[str] = []

    async def answer(request: Received) -> Reply:
        asked.append(request.path)
        if not go and request.path == "/7":
            await asyncio.Event().wait()
        return Reply(b"x")

    http_server.fallback = answer
    urls = [f"{http_server.url}/{number}" for number in range(10)]
    (tmp_path / "urls").write_text("\n".join(urls))
    process = start("map", "-i", "urls", "-o", "out", cwd=tmp_path)
    while not ((tmp_path / "out").exists() and (tmp_path / "out").read_bytes().count(b"\n") == 9):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert outcome.code == 130
    assert outcome.complaint == (
        "interrupted: 9 were done, as out.checkpoint knows; the same command goes on from there"
    )
    with (tmp_path / "out").open("ab") as file:
        file.write(b'{"url":"torn')
    go = True
    asked.clear()
    outcome = await run("map", "-i", "urls", "-o", "out", "-q", cwd=tmp_path)
    assert (outcome.code, outcome.stderr, asked) == (0, "", ["/7"])
    assert set(records((tmp_path / "out").read_bytes())) == set(urls)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "urls"]
    assert (await run("map", "-i", "urls", "-o", "out", "-q", cwd=tmp_path)).code == 0  # begun anew
    assert len(asked) == 11
    assert set(records((tmp_path / "out").read_bytes())) == set(urls)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_run_that_goes_on_keeps_its_files(http_server: OriginServer, tmp_path: Path) -> None:
    """Whatever another one is told: to begin anew, or to write a file that is not there."""

    async def answer(request: Received) -> Reply:
        if request.path == "/7":
            await asyncio.Event().wait()
        return Reply(b"x")

    http_server.fallback = answer
    out = tmp_path / "out"
    (tmp_path / "urls").write_text("\n".join(f"{http_server.url}/{number}" for number in range(10)))
    first = start("map", "-i", "urls", "-o", "out", "-q", cwd=tmp_path)
    while not (out.exists() and out.read_bytes().count(b"\n") == 9):
        await asyncio.sleep(0.01)
    lines = out.read_bytes()
    files = sorted(tmp_path.iterdir())
    second = await run("map", "-i", "urls", "-o", "out", "--no-resume", cwd=tmp_path)
    assert second.code == 3
    assert second.complaint.startswith("out.checkpoint is in use")
    assert (out.read_bytes(), sorted(tmp_path.iterdir())) == (lines, files)
    out.unlink()
    files.remove(out)
    second = await run("map", "-i", "urls", "-o", "out", cwd=tmp_path)
    assert second.complaint.startswith("out.checkpoint is in use")
    assert sorted(tmp_path.iterdir()) == files
    first.send_signal(signal.SIGINT)
    assert (await finish(first)).code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.checkpoint", "urls"]


async def test_a_checkpoint_of_ones_own_is_for_all_further_runs(http_server: OriginServer, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(f"{http_server.url}/bytes/1\n{http_server.url}/status/404\n")
    arguments = ("map", "-i", "urls", "--checkpoint", "known", "--fail", "-q")
    outcome = await run(*arguments, cwd=tmp_path)
    assert (outcome.code, len(records(outcome.stdout))) == (1, 2)
    outcome = await run(*arguments, cwd=tmp_path)
    assert (outcome.code, outcome.stdout) == (0, b"")
    assert len(records((await run(*arguments, "--no-resume", cwd=tmp_path)).stdout)) == 2
    (tmp_path / "known").write_text("no database " * 100)
    outcome = await run(*arguments, cwd=tmp_path)
    assert outcome.code == 3
    assert outcome.complaint.startswith("the checkpoint known cannot be used: file is not a database")


@pytest.mark.parametrize(
    "options",
    [
        "-i urls -o urls",
        "-i urls -o link",
        "-i urls -o symlink",
        "-i - -o urls",
        "-i urls -o - >> urls",
        "-i urls --checkpoint link --no-resume",
        "-i lines.checkpoint -o lines",
        "-i lines.checkpoint.lock -o lines",
        "-i urls -o lines --checkpoint lines",
        "-i urls -o new --checkpoint ./new",
        "-i urls --checkpoint lines >> lines",
        "-i urls --save-dir urls",
    ],
)
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_no_file_is_written_over_by_what_is_made_of_it(options: str, tmp_path: Path) -> None:
    urls, lines = b"http://127.0.0.1:1/\n", b'{"url":"an earlier one"}\n'
    (tmp_path / "urls").write_bytes(urls)
    (tmp_path / "lines.checkpoint").write_bytes(urls)
    (tmp_path / "lines.checkpoint.lock").write_bytes(urls)
    (tmp_path / "lines").write_bytes(lines)
    os.link(tmp_path / "urls", tmp_path / "link")
    (tmp_path / "symlink").symlink_to("urls")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    options, _, out = options.partition(" >> ")
    with (tmp_path / "urls").open("rb") as stdin, (tmp_path / (out or os.devnull)).open("ab") as stdout:
        outcome = await run("map", *options.split(), stdin=stdin, stdout=stdout, cwd=tmp_path)
    assert outcome.code == 2, outcome.stderr
    assert re.search("the list itself|is of the checkpoint, and -o|--save-dir urls: ", outcome.complaint)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_what_is_no_file_may_be_both(http_server: OriginServer, tmp_path: Path) -> None:
    outcome = await run("map", "-i", "/dev/null", "-o", "/dev/null", cwd=tmp_path)
    assert outcome.code == 0
    assert outcome.complaint.startswith("0 answered")


@pytest.mark.skipif(not os.path.exists("/dev/fd/1"), reason="there is no /dev/fd here")
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_what_the_shell_has_opened_has_no_checkpoint_beside_it(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:  # there is no folder /dev/fd to write to
        outcome = await run("map", "-o", "/dev/fd/1", stdin=b"http://127.0.0.1:1/\n", stdout=out, cwd=tmp_path)
    assert (outcome.code, outcome.complaint[:11]) == (3, "0 answered "), outcome.stderr
    assert set(records((tmp_path / "out").read_bytes())) == {"http://127.0.0.1:1/"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
async def test_a_full_device_is_said_once(http_server: OriginServer, tmp_path: Path) -> None:
    for number in (1, 100):  # found out at the end, and on the way
        urls = "".join(f"{http_server.url}/bytes/{each}\n" for each in range(number)).encode()
        outcome = await run("map", "-o", "/dev/full", stdin=urls, cwd=tmp_path)
        assert (outcome.code, outcome.complaint) == (3, "/dev/full: No space left on device")
    with open("/dev/full", "wb") as full:
        outcome = await run("map", stdin=urls, stdout=full, cwd=tmp_path)
    assert (outcome.code, outcome.complaint) == (3, "standard output: No space left on device")


async def test_robots_txt_is_kept_to(http_server: OriginServer) -> None:
    http_server.routes["/robots.txt"] = Reply(b"User-agent: *\nDisallow: /bytes/2\n")
    urls = [f"{http_server.url}/bytes/{number}" for number in (1, 2)]
    outcome = await run("map", "--robots", "-q", stdin="\n".join(urls).encode())
    found = records(outcome.stdout)
    assert (outcome.code, found[urls[0]]["status"], found[urls[1]]["error"]) == (3, 200, "RobotsDenied")


async def test_a_bar_on_a_terminal(http_server: OriginServer, tmp_path: Path) -> None:
    async def answer(request: Received) -> Reply:
        await asyncio.sleep(0.5)
        return Reply(b"x")

    http_server.fallback = answer
    (tmp_path / "urls").write_text(f"{http_server.url}/1\n{http_server.url}/2\n")
    outcome = await run_on_terminal("map", "-i", "urls", "-o", "out", "--per-host", 1, cwd=tmp_path)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.stdout.decode())
    assert outcome.code == 0
    assert re.search(r"━ +\d+% 1 done, [\d,]+/s", text), text
    assert "2 answered in " in text


def test_options_set_their_fields() -> None:
    assert parse_arguments([]) == MapOptions()
    given = (
        "-i in -o out -j 7 --per-host 2 --rate 100/m --robots --throttle --checkpoint c --no-resume -X HEAD --body "
        "--head --save-dir d --max-body 2M --retries 3 -f -q -H A:1 -k --no-redirects"
    )
    assert parse_arguments(given.split()) == MapOptions(
        list="in", output="out", concurrency=7, per_host=2, rate=(100.0, 60.0), robots=True, throttle=True,
        checkpoint="c", resume=False, method="HEAD", body=True, head=True, save_dir="d", max_body=2 << 20, retries=3,
        fail=True, quiet=True, headers=(("A", b"1"),), verify=False, follow_redirects=False,
    )  # fmt: skip
    for wrong in (["--rate", "fast"], ["--rate", "0"], ["http://a/"], ["-j", "0"]):
        with pytest.raises(UsageError):
            parse_arguments(wrong)
