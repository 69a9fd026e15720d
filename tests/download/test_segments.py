"""Segments, and what servers do instead of sending ranges; files that change; half files of earlier runs."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, DownloadError, Hooks, HostConcurrency, Limits
from aiohttpconn.download import ranges
from tests.download.server import BODY, MIB, Answer, FileServer, cut_first, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttpconn import Request
    from tests.servers.raw import Connection, Received


async def test_segments_come_over_connections_of_their_own(server: FileServer, client: Client, tmp_path: Path) -> None:
    download = await client.download(server.url, tmp_path / "f", segments=3)
    assert download.path.read_bytes() == BODY
    assert (download.segments, download.fetched) == (3, len(BODY))
    third = -(-len(BODY) // 3)
    assert sorted(server.asked) == ["", f"bytes={third}-{2 * third - 1}", f"bytes={2 * third}-{len(BODY) - 1}"]
    assert server.connections == 3
    # "auto": three MiB are not worth a second connection; and fewer segments than MiB are wanted.
    assert (await client.download(server.url, tmp_path / "g", segments="auto")).segments == 1
    assert (await client.download(server.url, tmp_path / "h", segments=64)).segments == 3


async def test_a_segment_whose_request_is_cancelled_by_itself_comes_all_the_same(
    server: FileServer, tmp_path: Path
) -> None:
    cancelled = False

    def end(request: Request) -> None:
        nonlocal cancelled
        if "Range" in request.headers and not cancelled:
            cancelled = True
            raise asyncio.CancelledError  # as of a task that an auth flow shares

    async with Client(hooks=Hooks(on_request=end)) as client:
        assert (await client.download(server.url, tmp_path / "f", segments=3)).path.read_bytes() == BODY
    assert cancelled


def _whole(server: FileServer, answer: Answer) -> Answer:
    return Answer(200, [("ETag", '"v1"')], server.body)


def _wrong_range(server: FileServer, answer: Answer) -> Answer:
    return Answer(206, [("ETag", '"v1"'), ("Content-Range", f"bytes 0-{len(BODY) - 1}/{len(BODY)}")], server.body)


def _no_range(server: FileServer, answer: Answer) -> Answer:
    return Answer(206, [("ETag", '"v1"')], answer.body)


def _multipart(server: FileServer, answer: Answer) -> Answer:
    stated = next(value for name, value in answer.fields if name == "Content-Range")
    body = b"--x\r\nContent-Range: " + stated.encode() + b"\r\n\r\n" + answer.body + b"\r\n--x--\r\n"
    return Answer(206, [("ETag", '"v1"'), ("Content-Type", "multipart/byteranges; boundary=x")], body)


@pytest.mark.parametrize("instead", [_whole, _wrong_range, _no_range, _multipart])
async def test_a_server_that_does_not_keep_to_ranges(
    instead: Callable[[FileServer, Answer], Answer], server: FileServer, client: Client, tmp_path: Path
) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        return instead(server, answer) if request.get("Range") else answer

    server.twist = twist
    assert (await client.download(server.url, tmp_path / "f", segments=3)).path.read_bytes() == BODY
    # And where the first response breaks, too: it is begun anew.
    requests = len(server.requests)

    def cut(request: Received, number: int, answer: Answer) -> Answer:
        answer = twist(request, number, answer)
        return cut_first(MIB)(request, number - requests, answer)

    server.twist = cut
    assert (await client.download(server.url, tmp_path / "f")).path.read_bytes() == BODY


async def test_a_server_that_does_not_say_whether_it_has_ranges_is_asked_for_one(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    last = f"bytes={len(BODY) - 1}-{len(BODY) - 1}"
    server.twist = silent(until=4)  # and others join in while the first response is read
    assert (await client.download(server.url, tmp_path / "f", segments=3)).segments == 3
    assert server.asked[:2] == ["", last]
    assert len(server.asked) == 4
    server.requests.clear()
    server.ranges, server.twist = False, silent(until=2)
    assert (await client.download(server.url, tmp_path / "g", segments=3)).segments == 1
    assert server.asked == ["", last]
    server.requests.clear()
    server.fields = [("Accept-Ranges", "none")]
    server.twist = lambda request, number, answer: answer
    assert (await client.download(server.url, tmp_path / "h", segments=3)).segments == 1
    assert server.asked == [""]
    assert {(tmp_path / name).read_bytes() for name in "fgh"} == {BODY}


@pytest.mark.parametrize("only_one", ["pool", "rule", "server"])
async def test_a_download_never_waits_for_the_connection_that_it_holds(
    only_one: str, server: FileServer, tmp_path: Path
) -> None:
    # Each wait would be for ever: the question may be answered only once the first response is over.
    server.twist = silent()
    if only_one == "server":
        turn, play = asyncio.Lock(), server.play

        async def one_by_one(conn: Connection) -> None:
            async with turn:
                await play(conn)

        server.play = one_by_one  # type: ignore[method-assign]
    limits = Limits(max_connections=1) if only_one == "pool" else Limits()
    rules = [HostConcurrency(1)] if only_one == "rule" else []
    async with Client(trust_env=False, limits=limits, politeness=rules, timeout=None) as client:
        download = await client.download(server.url, tmp_path / "f", segments=3)
        assert download.path.read_bytes() == BODY
        assert download.segments == 1
        async with client.stream_ranges(server.url, segments=3, window=MIB) as stream:
            assert b"".join([piece async for piece in stream]) == BODY
        assert client.stats().in_use == 0
    assert server.asked == ["", ""]


async def test_a_server_that_sends_less_than_was_asked(server: FileServer, client: Client, tmp_path: Path) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if answer.status == 206 and len(answer.body) > 100_000:
            start = int((request.get("Range") or "").removeprefix("bytes=").partition("-")[0])
            stated = ("Content-Range", f"bytes {start}-{start + 99_999}/{len(BODY)}")
            return Answer(206, [("ETag", '"v1"'), stated], answer.body[:100_000])
        return answer

    server.twist = twist
    assert (await client.download(server.url, tmp_path / "f", segments=2)).path.read_bytes() == BODY


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_has_enough_of_connections(
    status: int, server: FileServer, client: Client, tmp_path: Path
) -> None:
    refused = 0

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        nonlocal refused
        if request.get("Range") and refused < 2:
            refused += 1
            return Answer(status, [("Retry-After", "0")], b"", length=0)
        return answer

    server.twist = twist
    for _ in range(5):  # the refusal meets the first response at one place or another
        refused = 0
        download = await client.download(server.url, tmp_path / "f", segments=3, overwrite=True)
        assert download.path.read_bytes() == BODY
        assert refused == 2


async def test_a_pool_of_one_connection(server: FileServer, tmp_path: Path) -> None:
    async with Client(trust_env=False, limits=Limits(max_connections=1), timeout=5) as client:
        download = await client.download(server.url, tmp_path / "f", segments=3)
        assert download.path.read_bytes() == BODY


async def test_a_slow_segment_is_shared(
    server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first response stands still before its second byte, until another connection has asked for half of the rest.
    monkeypatch.setattr(ranges, "SLOW", 0.02)
    monkeypatch.setattr("aiohttpconn.download.transfer._LOOK", 0.01)
    asked = asyncio.Event()

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if number == 0:
            answer.cut, answer.length, answer.after = 1, len(BODY), asked.wait
        if number >= 2:
            asked.set()
        return answer

    server.twist = twist
    download = await client.download(server.url, tmp_path / "f", segments=2)
    assert download.path.read_bytes() == BODY
    half = -(-len(BODY) // 2)
    assert server.asked[1] == f"bytes={half}-{len(BODY) - 1}"
    assert 1 < int(server.asked[2].removeprefix("bytes=").partition("-")[0]) < half


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("ignored", [False, True], ids=["if-range-kept", "if-range-ignored"])
async def test_a_file_that_changes_between_ranges_is_begun_anew(
    ignored: bool, segments: int, server: FileServer, client: Client, tmp_path: Path
) -> None:
    other = bytes(reversed(BODY))

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if number == 0:
            answer.cut, answer.length = MIB // 2, len(BODY)
            server.body, server.etag = other, '"v2"'
        elif ignored and request.get("Range") and answer.status == 200:
            request.fields = [field for field in request.fields if field[0] != "If-Range"]
            return server.answer(request)
        return answer

    server.twist = twist
    download = await client.download(server.url, tmp_path / "f", segments=segments)
    assert download.path.read_bytes() == other
    assert download.headers["ETag"] == '"v2"'


# --- half files of earlier runs ---------------------------------------------------------------------------------------


async def half(server: FileServer, client: Client, path: Path, **options: object) -> None:
    """Leave a half file behind: one MiB of it."""
    path.unlink(missing_ok=True)
    requests = len(server.requests)

    def cut(request: Received, number: int, answer: Answer) -> Answer:
        return cut_first(MIB)(request, number - requests, answer)

    server.twist = cut
    with pytest.raises(Exception, match="early"):
        await client.download(server.url, path, repairs=0, **options)  # type: ignore[arg-type]
    server.twist = lambda request, number, answer: answer
    server.requests.clear()


async def test_a_half_file_is_gone_on_with_in_segments(server: FileServer, client: Client, tmp_path: Path) -> None:
    await half(server, client, tmp_path / "f")
    download = await client.download(server.url, tmp_path / "f", segments=2)
    assert (download.resumed_from, download.fetched, download.segments) == (MIB, len(BODY) - MIB, 2)
    assert download.path.read_bytes() == BODY
    assert download.headers["ETag"] == '"v1"'
    # In a folder its name is only known from a response.
    await half(server, client, tmp_path / "g")
    server.fields = [("Content-Disposition", "attachment; filename=g")]
    download = await client.download(server.url, tmp_path)
    assert (download.path, download.resumed_from) == (tmp_path / "g", MIB)
    assert download.path.read_bytes() == BODY
    await half(server, client, tmp_path / "h")
    assert (await client.download(server.url, tmp_path / "h", resume=False)).resumed_from == 0


async def test_a_half_file_that_cannot_be_gone_on_with(server: FileServer, client: Client, tmp_path: Path) -> None:
    part, sidecar = tmp_path / "f.part", tmp_path / "f.part.jsonl"

    def damage_head() -> None:
        sidecar.write_text("{" + sidecar.read_text())

    def damage_deeply() -> None:
        sidecar.write_text("[" * 100_000 + sidecar.read_text())

    def damage_version() -> None:
        head, *rest = sidecar.read_text().splitlines()
        sidecar.write_text("\n".join([json.dumps({**json.loads(head), "version": [1, 2, 3]}), *rest]))

    def change() -> None:
        server.body, server.etag = bytes(reversed(server.body)), server.etag and server.etag[:-1] + '1"'

    for harm in (
        damage_head,
        damage_deeply,
        damage_version,
        sidecar.unlink,
        part.unlink,
        lambda: part.write_bytes(b""),
        change,
    ):
        await half(server, client, tmp_path / "f")
        harm()
        download = await client.download(server.url, tmp_path / "f")
        assert download.resumed_from == 0, harm
        assert download.path.read_bytes() == server.body


async def test_damage_that_is_made_good(server: FileServer, client: Client, tmp_path: Path) -> None:
    part, sidecar = tmp_path / "f.part", tmp_path / "f.part.jsonl"
    await half(server, client, tmp_path / "f")
    with sidecar.open("a") as file:
        file.write('[0, 99999999999]\n[-5, 3]\n["a", 1]\nnonsense\n[3, 1]\n[1048576, 10')  # the last was cut short
    with part.open("r+b") as cut:
        cut.truncate(MIB // 2)
    download = await client.download(server.url, tmp_path / "f")
    assert download.resumed_from == MIB // 2
    assert download.path.read_bytes() == BODY


async def test_another_url_begins_anew_but_for_a_checksum(server: FileServer, client: Client, tmp_path: Path) -> None:
    import hashlib

    checksum = "sha256:" + hashlib.sha256(BODY).hexdigest()
    await half(server, client, tmp_path / "f")
    assert (await client.download(f"{server.url}/?signed=2", tmp_path / "f")).resumed_from == 0
    await half(server, client, tmp_path / "f", checksum=checksum)
    download = await client.download(f"{server.url}/?signed=2", tmp_path / "f", checksum=checksum)
    assert (download.resumed_from, download.verified) == (MIB, (checksum,))
    # Secrets of the URL and of the response stay out of the file that is left.
    server.fields = [("Set-Cookie", "sid=cookie-secret")]
    await half(server, client, tmp_path / "f")
    assert "secret" not in (tmp_path / "f.part.jsonl").read_text()


async def test_all_that_is_missing_is_the_end(server: FileServer, client: Client, tmp_path: Path) -> None:
    # Killed after the last byte, before the file got its name.
    await half(server, client, tmp_path / "f")
    (tmp_path / "f.part").write_bytes(BODY)
    with (tmp_path / "f.part.jsonl").open("a") as file:
        file.write(f"[{MIB}, {len(BODY)}]\n")
    download = await client.download(server.url, tmp_path / "f")
    assert (download.fetched, download.path.read_bytes()) == (0, BODY)
    # Whoever wrote the half file: the server is asked for its last byte, which is what tells the version.
    assert server.asked == [f"bytes={len(BODY) - 1}-{len(BODY) - 1}"]
    assert server.requests[0].get("If-Range") == '"v1"'


async def test_a_stranger_plants_no_half_file(server: FileServer, client: Client, tmp_path: Path) -> None:
    await half(server, client, tmp_path / "good")  # what such a sidecar looks like
    state = (tmp_path / "good.part.jsonl").read_text()
    for name in ("good.part", "good.part.jsonl"):
        (tmp_path / name).unlink()
    async with FileServer(b"evil" * (len(BODY) // 4) + b"e") as evil:
        for name, body in (
            ("good.part", evil.body),
            ("Good.Part.jsonl", state.encode() + b"[0, %d]\n" % len(BODY)),
            ("good.part.jsonl.NEW", b""),
            ("x" * 300 + ".part", b""),
        ):
            evil.body = body
            evil.fields = [("Content-Disposition", f'attachment; filename="{name}"')]
            saved = await client.download(evil.url, tmp_path)
            assert saved.path.name.endswith("_")
    # And one that got there all the same does not count: its mode, a link, a version that the server does not have.
    planted, sidecar = tmp_path / "good.part", tmp_path / "good.part.jsonl"
    for kind in ("mode", "link", "version"):
        (tmp_path / "good").unlink(missing_ok=True)
        planted.write_bytes(b"e" * len(BODY))
        text = f"{state.splitlines()[0]}\n[0, {len(BODY)}]\n"
        if kind == "link":
            (tmp_path / "elsewhere").write_text(text)
            (tmp_path / "elsewhere").chmod(0o600)
            sidecar.symlink_to(tmp_path / "elsewhere")
        else:
            sidecar.write_text(text.replace("v1", "v0") if kind == "version" else text)
            sidecar.chmod(0o644 if kind == "mode" else 0o600)
        assert (await client.download(server.url, tmp_path / "good")).path.read_bytes() == BODY, kind
    (tmp_path / "good").unlink()
    (tmp_path / "victim").write_bytes(b"mine")
    planted.symlink_to(tmp_path / "victim")
    with pytest.raises(DownloadError, match="is a link"):
        await client.download(server.url, tmp_path / "good")
    assert (tmp_path / "victim").read_bytes() == b"mine"
