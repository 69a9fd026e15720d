"""``aiohttpconn demo``: the library at its main job, on servers of its own, with every answer checked."""

from __future__ import annotations

import asyncio
import hashlib
import io
import platform
import sys
from collections.abc import Coroutine, Iterator, Sequence
from time import perf_counter
from typing import Any

from rich.console import Console

from .. import AsyncHTTPConnection, Client, HTTPException, TLSError, __version__
from ..download.bars import progress_bars
from .demo_servers import DOWNLOAD, GREETING, NAME, DemoServers, download_digest
from .exits import Exit, UsageError
from .progress import complain, human_size

REQUESTS = 2_000
AT_A_TIME = 64
DOWNLOADS = 8

HELP = """\
usage: aiohttpconn demo

Starts an origin server (HTTP and HTTPS) and a CONNECT proxy on loopback, inside this process, and
shows requests through a pool, concurrent downloads and a tunnel on them. Needs no network; takes a
few seconds.
Exit code 0, or 3 if anything is not as it should be.
"""


class _Wrong(Exception):
    """Something came that should not have come."""


def demo(argv: Sequence[str]) -> Coroutine[Any, Any, Exit]:
    """The demo, to be run. Raises `UsageError`; ``--help`` prints and raises SystemExit."""
    if argv and argv[0] in ("-h", "--help"):
        print(HELP, end="")
        raise SystemExit(0)
    if argv:
        raise UsageError("demo takes no arguments")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ✓ gets a question mark
    return _Demo(Console()).run()


class _Demo:
    """Four acts on one stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._acts = 0

    async def run(self) -> Exit:
        """All acts, one after the other."""
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        self._line(f"[bold]aiohttpconn {__version__}[/]  [dim]Python {platform.python_version()}, {loop}[/]")
        self._line("[dim]client, servers and proxy in this one process, on 127.0.0.1[/]")
        began = perf_counter()
        try:
            async with DemoServers() as servers:
                for act in (self._connection, self._pool, self._downloads, self._tunnel):
                    await act(servers)
        except (_Wrong, HTTPException, OSError) as error:
            self._line(f"   [red]✗[/] {type(error).__name__.strip('_')}")
            complain(f"demo: {error}")
            return Exit.FAILED
        self._line(f"\n[bold green]All as it should be[/], in {perf_counter() - began:.1f} s.")
        return Exit.OK

    async def _connection(self, servers: DemoServers) -> None:
        self._title("One connection, as with http.client")
        async with AsyncHTTPConnection("127.0.0.1", servers.plain.port) as conn:
            await conn.request("GET", "/hello")
            response = await conn.getresponse()
            body = await response.read()
        _expect(response.status == 200 and body == GREETING, f"/hello answered {response.status} {body!r}")
        self._good(
            f"{response.status} {response.reason}, {response.getheader('Content-Type')}: {body.decode().strip()}"
        )

    async def _pool(self, servers: DemoServers) -> None:
        self._title(f"{REQUESTS:,} requests through a pool, {AT_A_TIME} at a time")
        base = f"http://127.0.0.1:{servers.plain.port}"
        async with Client(base, trust_env=False) as client:

            async def work(numbers: Iterator[int]) -> None:
                for number in numbers:
                    response = await client.get(f"/item/{number}")
                    _expect(response.json() == {"item": number}, f"/item/{number} answered {response.text!r}")

            numbers = iter(range(REQUESTS))
            began = perf_counter()
            await asyncio.gather(*(work(numbers) for _ in range(AT_A_TIME)))
            seconds = perf_counter() - began
            stats = client.stats()
        _expect(stats.opened_total <= AT_A_TIME, f"{stats.opened_total} connections were opened")
        _expect(stats.opened_total + stats.reused_total == REQUESTS, f"requests are missing in {stats}")
        self._good(f"{REQUESTS / seconds:,.0f} requests/s, every answer checked")
        self._good(f"{stats.opened_total} connections opened, {stats.reused_total:,} times one was used again")

    async def _downloads(self, servers: DemoServers) -> None:
        each = human_size(DOWNLOAD)
        self._title(f"{DOWNLOADS} downloads of {each} at once, half of them over TLS")
        digests = [await asyncio.to_thread(download_digest, number) for number in range(DOWNLOADS)]
        bars = progress_bars(self._console, transient=False, disable=not self._console.is_terminal)

        async def download(client: Client, number: int) -> None:
            server, scheme = (servers.secure, "https") if number % 2 else (servers.plain, "http")
            bar = bars.add_task(f"   {scheme:5}  /download/{number}", total=DOWNLOAD)
            digest, size = hashlib.sha256(), 0
            async with client.stream("GET", f"{scheme}://127.0.0.1:{server.port}/download/{number}") as response:
                async for piece in response.iter_bytes():
                    digest.update(piece)
                    size += len(piece)
                    bars.update(bar, completed=size)
            _expect(size == DOWNLOAD, f"download {number} has {size} bytes")
            _expect(digest.hexdigest() == digests[number], f"download {number} has another SHA-256")

        began = perf_counter()
        with bars:
            async with Client(verify=servers.trust, trust_env=False) as client:
                await asyncio.gather(*(download(client, number) for number in range(DOWNLOADS)))
        seconds = perf_counter() - began
        total = DOWNLOADS * DOWNLOAD
        self._good(f"{human_size(total)} in {seconds:.2f} s: {human_size(total / seconds)}/s, streamed")
        self._good(f"all {DOWNLOADS} lengths and SHA-256 digests right")

    async def _tunnel(self, servers: DemoServers) -> None:
        self._title("HTTPS through a CONNECT proxy")
        url, proxy = f"https://{NAME}/hello", f"http://127.0.0.1:{servers.proxy.port}"
        async with Client(proxy=proxy, verify=servers.trust) as client:
            response = await client.get(url)
        _expect(response.content == GREETING, f"{url} answered {response.status} {response.text!r}")
        _expect(servers.proxy.tunnels == [f"{NAME}:443"], f"the proxy opened {servers.proxy.tunnels}")
        self._good(f"{url}: {response.status} {response.reason}, by a tunnel to {NAME}:443")
        self._good("certificate verified against the demo's CA")
        try:
            async with Client(proxy=proxy) as client:
                await client.get(url)
        except TLSError as error:
            self._good(f"without that CA: {error.describe().partition(' (')[0]}")
        else:
            raise _Wrong("a certificate of an unknown CA was accepted")

    # --- what is shown ---

    def _title(self, text: str) -> None:
        self._acts += 1
        self._line(f"\n[bold cyan]{self._acts}  {text}[/]")

    def _good(self, text: str) -> None:
        self._console.print("   [green]✓[/]", end=" ", soft_wrap=True)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self, markup: str) -> None:
        self._console.print(markup, highlight=False, soft_wrap=True)


def _expect(right: bool, otherwise: str) -> None:
    if not right:
        raise _Wrong(otherwise)
