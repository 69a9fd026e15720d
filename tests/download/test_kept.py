"""What a half file is not thrown away for; and folders that are not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, DownloadError
from tests.download.server import BODY, MIB, Answer, FileServer, cut_first

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received

PAGE = b"<!doctype html><title>Who are you?</title>"
HTML = ("Content-Type", "text/html; charset=utf-8")


def login(request: Received, number: int, answer: Answer) -> Answer:
    """A twist: everybody is to log in."""
    return Answer(200, [HTML, ("ETag", '"login"'), ("Content-Disposition", "attachment; filename=f")], PAGE)


@pytest.mark.parametrize("stated", [[("Content-Type", "application/zip")], []], ids=["zip", "untyped"])
@pytest.mark.parametrize("segments", [1, 2])
async def test_a_login_page(
    segments: int, stated: list[tuple[str, str]], server: FileServer, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    server.fields = stated
    # In the same run, when its connection breaks after the session ran out; and then in another run.
    server.twist = lambda request, number, answer: (cut_first(MIB) if number == 0 else login)(request, number, answer)
    with pytest.raises(DownloadError, match=r"text/html came, and .*f\.part is of ") as caught:
        await client.download(server.url, path)
    assert f"{MIB} bytes are kept" in caught.value.__notes__[0]
    server.twist = login
    for place in (path, path, tmp_path):  # by name, again, and by the name that the page has, too
        with pytest.raises(DownloadError, match="text/html came"):
            await client.download(server.url, place, segments=segments)
    server.twist = lambda request, number, answer: answer
    download = await client.download(server.url, path, segments=segments)
    assert (download.resumed_from, path.read_bytes()) == (MIB, BODY)


async def test_a_page_is_what_is_wanted(server: FileServer, client: Client, tmp_path: Path) -> None:
    server.fields = [HTML]
    server.twist = lambda request, number, answer: (cut_first(MIB) if number == 0 else login)(request, number, answer)
    assert (await client.download(server.url, tmp_path / "f")).path.read_bytes() == PAGE  # it has changed
    server.fields = []
    server.requests.clear()
    with pytest.raises(DownloadError, match="resume=False begins anew"):
        await client.download(server.url, tmp_path / "g")
    download = await client.download(server.url, tmp_path / "g", resume=False)
    assert (download.resumed_from, download.path.read_bytes()) == (0, PAGE)


async def test_folders_are_made(server: FileServer, client: Client, tmp_path: Path) -> None:
    assert (await client.download(server.url, tmp_path / "a" / "b" / "f")).path.read_bytes() == BODY
    assert (await client.download(f"{server.url}/f", f"{tmp_path}/new/")).path == tmp_path / "new" / "f"
    (result,) = await client.download_all([f"{server.url}/f"], directory=tmp_path / "all")
    assert result.path is not None
    assert result.unwrap().path.read_bytes() == BODY
    server.twist = lambda request, number, answer: Answer(404, [], b"")
    (result,) = await client.download_all([(f"{server.url}/f", "c/f")], directory=tmp_path / "none")
    assert not (tmp_path / "none").exists(), "made, though nothing came"
    (tmp_path / "file").touch()
    server.twist = lambda request, number, answer: answer
    with pytest.raises(NotADirectoryError, match="file/f"):
        await client.download(server.url, tmp_path / "file" / "f")
