"""Several sources of one file: which of them bring ranges of it, and where redirects lead."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, IncompleteRead
from tests.download.server import BODY, MIB, Answer, FileServer, cut_first

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.raw import Received

OTHER = bytes(reversed(BODY))
CHECKSUM = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.fixture
async def mirror() -> AsyncIterator[FileServer]:
    """Another server, of another file of the same size."""
    async with FileServer(OTHER) as mirror:
        mirror.etag, mirror.modified = '"v2"', "Wed, 21 Oct 2015 07:28:09 GMT"
        yield mirror


def repr_digest(body: bytes) -> tuple[str, str]:
    """The field."""
    return "Repr-Digest", f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


async def stream(client: Client, url: str, **options: object) -> bytes:
    """All bytes of `stream_ranges`."""
    async with client.stream_ranges(url, window=MIB, segments=3, **options) as stream:  # type: ignore[arg-type]
        return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("by", ["date", "digest"])
async def test_ranges_of_another_file_are_not_mixed_in(
    by: str, server: FileServer, mirror: FileServer, client: Client, tmp_path: Path
) -> None:
    if by == "digest":
        mirror.etag, mirror.modified = server.etag, server.modified
        server.fields, mirror.fields = [repr_digest(BODY)], [repr_digest(OTHER)]
    options = {"mirrors": [mirror.url], "segments": 3}
    download = await client.download(server.url, tmp_path / "f", **options)  # type: ignore[arg-type]
    assert download.path.read_bytes() == BODY
    assert mirror.requests  # it was asked, and not taken
    assert await stream(client, server.url, mirrors=[mirror.url]) == BODY
    # Nor when an earlier run's half file is gone on with.
    server.requests.clear()
    server.twist = cut_first(MIB)
    with pytest.raises(IncompleteRead):
        await client.download(server.url, tmp_path / "g", repairs=0)
    server.twist = lambda request, number, answer: answer
    download = await client.download(server.url, tmp_path / "g", **options)  # type: ignore[arg-type]
    assert (download.resumed_from, download.path.read_bytes() == BODY) == (MIB, True)


async def test_a_mirror_with_another_file_serves_all_of_it_when_the_others_failed(
    server: FileServer, mirror: FileServer, client: Client, tmp_path: Path
) -> None:
    def gone(request: Received, number: int, answer: Answer) -> Answer:
        answer = cut_first(MIB)(request, number, answer)
        return answer if number == 0 else Answer(410, [], b"")

    server.twist = gone
    download = await client.download(server.url, tmp_path / "f", mirrors=[mirror.url])
    assert download.path.read_bytes() == OTHER
    assert download.headers["ETag"] == '"v2"'


async def test_with_a_checksum_equal_size_is_enough(
    server: FileServer, mirror: FileServer, client: Client, tmp_path: Path
) -> None:
    mirror.body = BODY
    download = await client.download(server.url, tmp_path / "f", mirrors=[mirror.url], segments=3, checksum=CHECKSUM)
    assert download.path.read_bytes() == BODY
    assert mirror.sent > 0


async def test_a_stream_goes_to_a_mirror_when_its_first_range_breaks(
    server: FileServer, mirror: FileServer, client: Client
) -> None:
    mirror.body, mirror.etag = BODY, server.etag

    def gone(request: Received, number: int, answer: Answer) -> Answer:
        answer = cut_first(1000)(request, number, answer)
        return answer if number == 0 else Answer(410, [], b"")

    server.twist = gone
    assert await stream(client, server.url, mirrors=[mirror.url]) == BODY


async def test_a_stream_that_breaks_where_there_are_no_ranges_says_what_broke(
    server: FileServer, client: Client
) -> None:
    server.ranges = False
    server.twist = lambda request, number, answer: cut_first(MIB)(request, 0, answer)
    with pytest.raises(IncompleteRead):
        await stream(client, server.url)


# --- redirects --------------------------------------------------------------------------------------------------------


async def test_further_ranges_go_where_the_first_redirect_led(
    server: FileServer, mirror: FileServer, client: Client, tmp_path: Path
) -> None:
    # The same file on two servers, whose entity tags differ, behind one that sends everybody to each in turn.
    mirror.body = BODY
    async with FileServer() as redirector:

        def turn(request: Received, number: int, answer: Answer) -> Answer:
            to = (server, mirror)[number % 2]
            return Answer(302, [("Location", f"{to.url}/there?x=1")], b"")

        redirector.twist = turn
        options = {"segments": 3, "headers": {"Authorization": "Basic secret", "X-Key": "k"}, "params": {"a": "b"}}
        download = await client.download(redirector.url, tmp_path / "f", **options)  # type: ignore[arg-type]
        assert download.path.read_bytes() == BODY
        assert len(redirector.requests) == 1
        assert [request.target for request in server.requests] == ["/there?x=1"] * 3
        for request in server.requests:
            assert request.get("Authorization") is request.get("X-Key") is None
        # Where that fails, the redirector is asked again.
        server.requests.clear()
        requests = len(redirector.requests)

        def expired(request: Received, number: int, answer: Answer) -> Answer:
            return cut_first(MIB)(request, number, answer) if number == 0 else Answer(403, [], b"")

        server.twist = expired
        redirector.twist = lambda request, number, answer: turn(request, number - requests, answer)
        mirror.etag, mirror.modified = server.etag, server.modified
        download = await client.download(redirector.url, tmp_path / "g")
        assert download.path.read_bytes() == BODY
        assert len(mirror.requests) == 1


async def test_one_name_that_is_several_servers(server: FileServer, client: Client, tmp_path: Path) -> None:
    # Each answer has an entity tag of its own: in the end it comes undivided, and with a checksum, by equal size.
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        server.etag = f'"{number}"'
        server.modified = None
        return server.answer(request)

    server.twist = twist
    download = await client.download(server.url, tmp_path / "f", segments=3)
    assert (download.path.read_bytes() == BODY, server.asked[-1]) == (True, "")

    def broken(request: Received, number: int, answer: Answer) -> Answer:
        answer = twist(request, number, answer)
        answer.cut, answer.length = min(MIB, len(answer.body)), len(answer.body)
        return answer

    server.twist = broken
    download = await client.download(server.url, tmp_path / "g", segments=3, checksum=CHECKSUM)
    assert download.path.read_bytes() == BODY
