"""The crawler that README shows, run as it stands against a generated site; and run again after it was killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests import examples
from tests.servers.origin import OriginServer, Reply
from tests.test_readme import ROOT, readme_blocks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received

CRAWLER = next(code for _, code in readme_blocks() if "Frontier(" in code)
PAGES = 120

# The crawler is a process of its own: which loop its server runs on makes no difference.
one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])


class Site:
    """Pages that link to each other, to a picture, to what is too long and elsewhere. One of them is held back until it
    is opened, and one has another base for its links."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, request: Received) -> Reply:
        if request.path == "/picture":
            return Reply(b"\x89PNG", fields=[("Content-Type", "image/png")])
        if request.path == "/radio":
            return Reply(bytes(9 << 20), fields=[("Content-Type", "audio/mpeg")], until_close=True)
        if request.path == "/based":
            return Reply(b'<base href="/p/"><a href="7">link</a>', fields=[("Content-Type", "Text/HTML")])
        number = 0 if request.path == "/" else int(request.path.removeprefix("/p/"))
        if number == 70:
            self.held.set()
            await self.opened.wait()
        links = [f"/p/{(number * step + step) % PAGES}" for step in (1, 2, 3)]
        links += ["/", "/picture", "/radio", "/based", "/private"]
        links += ["http://127.0.0.1:1/elsewhere", "mailto:somebody", f"/p/{number}#top"]
        anchors = "".join(f'<a href="{link}">link</a>' for link in links)
        body = f"<title>Page {number}</title>{anchors}<a href>nowhere</a>"
        return Reply(body.encode(), fields=[("Content-Type", "text/html; charset=utf-8")])


async def start(directory: Path, server: OriginServer) -> asyncio.subprocess.Process:
    """Begin to crawl."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {examples.PORTS_VARIABLE: json.dumps({"8000": server.port}), "PYTHONPATH": str(ROOT)}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.examples", "readme"),
        cwd=directory,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(CRAWLER.encode())
    child.stdin.close()
    return child


def lines(directory: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (directory / "pages.jsonl").read_text().splitlines()]


@one_loop
async def test_crawled_and_killed_and_crawled_on(tmp_path: Path, http_server: OriginServer) -> None:
    http_server.fallback = site = Site()
    http_server.routes["/"] = site
    robots = b"User-agent: example\nDisallow: /private\nUser-agent: *\nDisallow: /\n"
    http_server.routes["/robots.txt"] = Reply(robots)
    child = await start(tmp_path, http_server)
    try:
        await asyncio.wait_for(site.held.wait(), 60)
    finally:
        child.kill()
        await child.communicate()
    site.opened.set()
    before = lines(tmp_path)
    assert 0 < len(before) < PAGES + 1
    child = await start(tmp_path, http_server)
    _, complaints = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, complaints) == (0, b"")
    found = Counter(page["url"].removeprefix(f"http://localhost:{http_server.port}") for page in lines(tmp_path))
    assert set(found) == {"/", "/based", *(f"/p/{number}" for number in range(PAGES))}
    titles = {page["url"].rpartition("/")[2]: page["title"] for page in lines(tmp_path)}
    assert titles == {"": "Page 0", "based": None, **{str(number): f"Page {number}" for number in range(PAGES)}}
    # Each fetched once, or twice if it was in hand, or finished just before the kill.
    assert max(found.values()) <= 2
    asked = Counter(request.path for request in http_server.requests)
    assert max(asked.values()) <= 2
    assert not {"/elsewhere", "/private", "/7"} & set(asked)
    assert asked["/radio"]
    assert all((request.get("User-Agent") or "").startswith("example/1.0") for request in http_server.requests)
