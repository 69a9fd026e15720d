"""Everything that goes wrong, at random, many times: what is saved is one version of the file, whole."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, HTTPException
from tests.download.server import BODY, MIB, Answer, FileServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received

VERSIONS = [BODY, bytes(reversed(BODY)), BODY[MIB:] + BODY[:MIB], BODY[: 2 * MIB + 1]]


class Chaos(FileServer):
    """Something goes wrong with each answer as often as not; the file changes up to three times."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.version = 0
        self.calm = False
        self.twist = self.spoil

    def spoil(self, request: Received, number: int, answer: Answer) -> Answer:
        chance = self.chance
        if self.calm or chance.random() < 0.4:
            return answer
        what = chance.choice(["cut", "cut", "refuse", "whole", "less", "change"])
        if what == "cut":
            answer.length, answer.cut = len(answer.body), chance.randrange(len(answer.body) + 1)
        elif what == "refuse" and number:
            return Answer(chance.choice([429, 500, 503]), [("Retry-After", "0")], b"", length=0)
        elif what == "whole" and chance.random() < 0.3:
            return Answer(200, [("ETag", self.etag or "")], self.body)
        elif what == "less" and answer.status == 206 and len(answer.body) > 10:
            start = int((request.get("Range") or "").removeprefix("bytes=").partition("-")[0])
            size = chance.randrange(1, len(answer.body))
            stated = ("Content-Range", f"bytes {start}-{start + size - 1}/{len(self.body)}")
            return Answer(206, [("ETag", self.etag or ""), stated], answer.body[:size])
        elif what == "change" and self.version < 3 and chance.random() < 0.3:
            self.version += 1
            self.body, self.etag = VERSIONS[self.version], f'"{self.version}"'
            return self.answer(request)
        return answer


async def one(seed: int, path: Path) -> None:
    chance = random.Random(-seed)
    async with Chaos(seed) as server, Client(trust_env=False, timeout=10) as client:
        for run in range(10):
            server.calm = run > 2
            call = asyncio.create_task(client.download(server.url, path, segments=chance.choice([1, 2, 3]), repairs=3))
            if chance.random() < 0.3 and not server.calm:
                for _ in range(chance.randrange(200)):
                    await asyncio.sleep(0)
                call.cancel()
            try:
                download = await call
            except (HTTPException, asyncio.CancelledError):
                if path.exists():  # cancelled as it got its name
                    assert path.read_bytes() in VERSIONS[: server.version + 1], f"seed {seed}"
                    path.unlink()
                continue
            assert path.read_bytes() in VERSIONS[: server.version + 1], f"seed {seed}"
            assert download.size == path.stat().st_size
            return
        pytest.fail(f"seed {seed}: it did not end")


@pytest.mark.soak
@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_chaos(loop_name: str, tmp_path: Path, soak: bool) -> None:
    import uvloop

    async def seeds() -> None:
        for seed in range(400 if soak else 12):
            await one(seed, tmp_path / "f")
            (tmp_path / "f").unlink()

    (asyncio if loop_name == "asyncio" else uvloop).run(seeds())
