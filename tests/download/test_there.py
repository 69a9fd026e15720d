"""What is there already, whole or half: asking for it brings a byte, and the connection stays."""

from __future__ import annotations

import base64
import hashlib
import os
import random
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, IncompleteRead
from tests.download.server import BODY, MIB, Answer, FileServer, cut_first
from tests.servers.file_nginx import serving_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.file_nginx import FileNginx
    from tests.servers.raw import Received

FILE = random.Random(12).randbytes(2 * MIB)


@pytest.fixture(scope="module")
def running() -> Iterator[FileNginx]:
    with serving_file() as server:
        server.replace(FILE)
        yield server


@pytest.fixture
def nginx(running: FileNginx) -> FileNginx:
    """Serves `FILE`; nothing is in its log yet."""
    running.logged()
    return running


@pytest.fixture(params=["file", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where ``f`` is to go: its name, or its folder, so that the server chooses its name."""
    return tmp_path if request.param == "folder" else tmp_path / "f"


async def complete(client: Client, server: FileNginx, place: Path, where: str = "f") -> None:
    """Download it."""
    assert (await client.download(f"{server.url}/{where}", place)).path.read_bytes() == FILE
    server.logged()


@pytest.mark.interop
async def test_what_is_there_costs_a_byte_and_no_connection(nginx: FileNginx, client: Client, place: Path) -> None:
    await complete(client, nginx, place)
    for _ in range(3):
        download = await client.download(f"{nginx.url}/f", place)
        assert (download.fetched, download.size, download.resumed_from, download.segments) == (0, 2 * MIB, 2 * MIB, 0)
        assert download.headers["Content-Length"] == str(2 * MIB)
        assert "Content-Range" not in download.headers
    assert [(each.status, each.sent) for each in nginx.logged()] == [(206, 1)] * 3
    assert client.stats().opened_total == 1


@pytest.mark.interop
async def test_another_date_is_one_request(nginx: FileNginx, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "f"
    await complete(client, nginx, path)
    for modified in (1_500_000_000, 1e12):  # before and after the server's
        os.utime(path, (modified, modified))
        assert (await client.download(f"{nginx.url}/f", path)).path.read_bytes() == FILE
        assert [(each.status, each.sent) for each in nginx.logged()] == [(200, 2 * MIB)]


@pytest.mark.interop
async def test_a_file_that_was_cut_short_with_the_right_date(nginx: FileNginx, client: Client, place: Path) -> None:
    await complete(client, nginx, place)
    path = place / "f" if place.is_dir() else place
    modified = path.stat().st_mtime
    path.write_bytes(FILE[:-1])
    os.utime(path, (modified, modified))
    if place.is_dir():
        with pytest.raises(FileExistsError):  # a name that the server chose
            await client.download(f"{nginx.url}/f", place)
    else:
        assert (await client.download(f"{nginx.url}/f", place)).path.read_bytes() == FILE
    assert [each.sent for each in nginx.logged()] == [1] if place.is_dir() else [1, 2 * MIB]
    assert client.stats().opened_total == 1


@pytest.mark.interop
async def test_where_ranges_are_not_heeded(nginx: FileNginx, client: Client, tmp_path: Path) -> None:
    await complete(client, nginx, tmp_path / "f", "no-ranges")
    assert (await client.download(f"{nginx.url}/no-ranges", tmp_path / "f")).fetched == 0


@pytest.mark.interop
async def test_what_the_caller_says_counts(nginx: FileNginx, client: Client, tmp_path: Path) -> None:
    await complete(client, nginx, tmp_path / "f")
    await client.download(f"{nginx.url}/f", tmp_path / "f", overwrite=True)
    assert [each.asked for each in nginx.logged()] == [""]


@pytest.mark.parametrize("field", ["Repr-Digest", "Digest"])
async def test_what_has_the_right_size_and_date_and_is_damaged(
    field: str, server: FileServer, client: Client, place: Path
) -> None:
    digest = hashlib.sha256(BODY)
    coded = base64.b64encode(digest.digest()).decode()
    server.fields = [(field, f"sha-256=:{coded}:" if field == "Repr-Digest" else f"SHA-256={coded}")]
    verified = (f"sha256:{digest.hexdigest()}",)
    url = f"{server.url}/f"
    path = (await client.download(url, place)).path
    there = await client.download(url, place)
    assert (there.fetched, there.verified) == (0, verified)
    modified = path.stat().st_mtime
    path.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    os.utime(path, (modified, modified))
    if place.is_dir():
        with pytest.raises(FileExistsError):  # a name that the server chose
            await client.download(url, place)
    else:
        again = await client.download(url, place)
        assert (again.path.read_bytes(), again.fetched, again.verified) == (BODY, len(BODY), verified)


# --- servers that answer otherwise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["refused", "elsewhere", "more", "no-date", "no-size"])
async def test_answers_that_tell_nothing(kind: str, server: FileServer, client: Client, tmp_path: Path) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if not request.get("Range"):
            return answer
        if kind == "refused":
            return Answer(403, [], b"")
        leave_out, stated, body = "Content-Range", f"bytes 0-0/{len(BODY)}", BODY[:1]
        if kind == "elsewhere":
            stated = f"bytes 1-1/{len(BODY)}"
        elif kind == "more":
            body = BODY
        elif kind == "no-date":
            leave_out = "Last-Modified"
        else:
            stated = "bytes 0-0/*"
        fields = [field for field in answer.fields if field[0] not in (leave_out, "Content-Range")]
        return Answer(206, [*fields, ("Content-Range", stated)], body)

    path = tmp_path / "f"
    await client.download(server.url, path)
    server.twist = twist
    server.requests.clear()
    assert (await client.download(server.url, path)).path.read_bytes() == BODY
    assert server.asked == ["bytes=0-0", ""]


async def test_a_name_that_the_url_does_not_have(server: FileServer, client: Client, tmp_path: Path) -> None:
    """The file by the URL's name is another one, as old as this."""
    await client.download(f"{server.url}/f", tmp_path)
    server.fields = [("Content-Disposition", 'attachment; filename="g"')]
    first = await client.download(f"{server.url}/f", tmp_path)
    again = await client.download(f"{server.url}/f", tmp_path)
    assert (first.path, first.fetched, again.path, again.fetched) == (tmp_path / "g", len(BODY), tmp_path / "g", 0)
    assert server.asked == ["", "bytes=0-0", "", "bytes=0-0"]


@pytest.mark.parametrize("changed", [False, True])
async def test_half_a_file_in_a_folder(changed: bool, server: FileServer, client: Client, tmp_path: Path) -> None:
    server.twist = cut_first(MIB)
    with pytest.raises(IncompleteRead):
        await client.download(f"{server.url}/f", tmp_path, repairs=0)
    server.requests.clear()
    server.twist = lambda request, number, answer: answer
    if changed:
        server.etag, server.body = '"v2"', BODY[::-1]
    sent = server.sent
    download = await client.download(f"{server.url}/f", tmp_path)
    assert download.path.read_bytes() == server.body
    assert server.requests[0].get("If-Range") == '"v1"'
    assert server.asked == (["bytes=0-0"] if changed else ["bytes=0-0", f"bytes={MIB}-{len(BODY) - 1}"])
    assert server.sent - sent == (len(BODY) if changed else len(BODY) - MIB + 1)
