"""A real SIGINT to a program that downloads, on both loops: it ends as any other, and the next run goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import environment
from tests.download.server import BODY, FileServer
from tests.download.test_nginx import noted

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttpconn import Client

ONE = "await client.download(url, folder + '/0', segments=2)"
MANY = "await client.download_all([(url, f'{folder}/{n}') for n in range(4)], concurrency=2, segments=2)"
PROGRAM = """
import asyncio, sys, uvloop
from aiohttpconn import Client

async def main(url, folder):
    async with Client(trust_env=False) as client:
        {what}

try:
    {loop}.run(main(*sys.argv[1:]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("what", "files"), [(ONE, 1), (MANY, 2)], ids=["download", "download_all"])
async def test_interrupted_and_gone_on_with(
    what: str, files: int, server: FileServer, client: Client, tmp_path: Path
) -> None:
    orderly = server.twist
    held = asyncio.Event()

    def hold(request: object, number: int, answer: object) -> object:
        size = len(answer.body)  # type: ignore[attr-defined]
        answer.length, answer.cut, answer.after = size, size - 1000, held.wait  # type: ignore[attr-defined]
        return answer

    server.twist = hold  # type: ignore[assignment]
    loop = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", PROGRAM.format(what=what, loop=loop), server.url, str(tmp_path)),
        env=environment(),
        stderr=asyncio.subprocess.PIPE,
    )
    while not all(noted(tmp_path / str(n)) for n in range(files)):
        assert child.returncode is None
        await asyncio.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, said = await child.communicate()
    assert (child.returncode, said.decode()) == (130, "")
    assert sorted(os.listdir(tmp_path)) == sorted(f"{n}.part{end}" for n in range(files) for end in ("", ".jsonl"))
    server.twist = orderly
    results = await client.download_all([(server.url, tmp_path / str(n)) for n in range(files)], segments=2)
    held.set()
    for result in results:
        download = result.unwrap()
        assert download.resumed_from + download.fetched == len(BODY)
        assert download.resumed_from > 0
        assert download.path.read_bytes() == BODY
