"""Half files, and servers and places that make it hard to go on with them."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, IncompleteRead
from aiohttpconn.download import part_file, sidecar, write_buffer
from tests.download.server import BODY, MIB, Answer, FileServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received


def cut(request: Received, number: int, answer: Answer) -> Answer:
    """The answer ends after 1 MiB."""
    answer.length, answer.cut = len(answer.body), MIB
    return answer


async def half(server: FileServer, client: Client, url: str, path: Path) -> None:
    """A download that was broken off after 1 MiB."""
    server.twist = cut
    with pytest.raises(IncompleteRead):
        await client.download(url, path, repairs=0)
    server.twist = lambda request, number, answer: answer


async def test_what_comes_slowly_is_written_soon(
    server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first 64 KiB, while no more comes: a kill would keep them."""
    monkeypatch.setattr(write_buffer, "OLDEST", 0.0)
    noted: list[list[int]] = []

    async def look() -> None:
        for _ in range(500):
            state = tmp_path / "f.part.jsonl"
            lines = state.read_text().splitlines() if state.exists() else []
            if len(lines) > 1:
                noted.append(json.loads(lines[1]))
                return
            await asyncio.sleep(0.01)

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.midway = look
        return answer

    server.twist = twist
    assert (await client.download(server.url, tmp_path / "f")).path.read_bytes() == BODY
    assert noted
    assert noted[0][0] == 0 < noted[0][1] <= 65536


class Killed(BaseException):
    """As if the process had ended here: nothing is tidied up."""


async def test_a_file_that_was_complete_when_its_process_was_killed_is_not_written_to(
    server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between link() and unlink() both names are the same file."""
    part = tmp_path / "f.part"
    unlink = os.unlink

    def killed(path: str) -> None:
        if path == str(part):
            raise Killed
        unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(part_file.os, "unlink", killed)
        with pytest.raises(Killed):
            await client.download(f"{server.url}/f", tmp_path, overwrite=False)
    assert part.samefile(tmp_path / "f")
    old = (tmp_path / "f").read_bytes()
    assert old == BODY

    server.body, server.etag = bytes(reversed(BODY)), '"v2"'
    server.modified = None  # else it would be the same by size and date
    await half(server, client, f"{server.url}/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == old
    download = await client.download(f"{server.url}/f", tmp_path / "f")
    assert download.resumed_from == MIB
    assert download.path.read_bytes() == server.body
    assert not part.exists()


@pytest.mark.parametrize("status", [400, 403, 416, 500, 501])
@pytest.mark.parametrize("segments", [1, 4])
async def test_who_refuses_ranges_is_asked_for_the_whole(
    status: int, segments: int, server: FileServer, client: Client, tmp_path: Path
) -> None:
    def refuse(request: Received, number: int, answer: Answer) -> Answer:
        return Answer(status, [], b"no") if request.get("Range") else answer

    await half(server, client, server.url, tmp_path / "f")
    server.twist = refuse
    download = await client.download(server.url, tmp_path / "f", segments=segments, repairs=1)
    assert (download.resumed_from, download.path.read_bytes() == BODY) == (0, True)
    download = await client.download(server.url, tmp_path / "g", segments=segments, repairs=1)
    assert download.path.read_bytes() == BODY


async def test_what_is_refused_altogether_keeps_what_there_is(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    await half(server, client, server.url, tmp_path / "f")
    server.twist = lambda request, number, answer: Answer(403, [], b"")
    with pytest.raises(Exception, match="403") as caught:
        await client.download(server.url, tmp_path / "f")
    assert "1048576 bytes are kept" in "".join(caught.value.__notes__)
    server.twist = lambda request, number, answer: answer
    assert (await client.download(server.url, tmp_path / "f")).resumed_from == MIB


async def test_ranges_that_fail_leave_it_to_the_response_that_brings_all(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    server.twist = lambda request, number, answer: Answer(500, [], b"") if request.get("Range") else answer
    download = await client.download(server.url, tmp_path / "f", segments=4, repairs=1)
    assert download.path.read_bytes() == BODY


S3 = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={0}&X-Amz-Expires=900&X-Amz-Signature=s{0}"


@pytest.mark.parametrize(
    ("before", "after", "resumed"),
    [
        (f"?versionId=7&{S3.format(1)}", f"?versionId=7&{S3.format(2)}", True),
        (f"?versionId=7&{S3.format(1)}", f"?versionId=8&{S3.format(2)}", False),
        ("?sv=2024&se=1&sp=r&sig=a", "?sv=2024&se=2&sp=r&sig=b", True),
        ("?Expires=1&Signature=a&Key-Pair-Id=K", "?Expires=2&Signature=b&Key-Pair-Id=K", True),
        ("?se=1", "?se=2", False),
        ("?token=1", "?token=2", False),
    ],
)
async def test_a_url_that_is_signed_anew_is_the_same(
    before: str, after: str, resumed: bool, server: FileServer, client: Client, tmp_path: Path
) -> None:
    await half(server, client, f"{server.url}/f{before}", tmp_path / "f")
    download = await client.download(f"{server.url}/f{after}", tmp_path / "f")
    assert (download.resumed_from > 0) is resumed
    assert download.path.read_bytes() == BODY


async def test_a_file_system_without_modes(
    server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says of each file that everybody may do all, and cannot be told otherwise."""
    await half(server, client, server.url, tmp_path / "f")
    (tmp_path / "f.part.jsonl").chmod(0o777)
    monkeypatch.setattr(sidecar.os, "fchmod", lambda *_: None)
    assert (await client.download(server.url, tmp_path / "f")).resumed_from == MIB
