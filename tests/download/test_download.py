"""`client.download`: one file to its place, whatever the server does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import itertools
import os
import resource
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import (
    BodyTooLarge,
    ChecksumMismatch,
    Client,
    ConnectError,
    DownloadError,
    FileChanged,
    HTTPStatusError,
    IncompleteRead,
    Progress,
    Timeout,
    TotalTimeout,
)
from aiohttpconn.download import Rate
from tests.cancellation import cancel_everywhere
from tests.download.server import BODY, MIB, Answer, FileServer, cut_first, silent
from tests.forked import forked
from tests.servers.origin import pattern

if TYPE_CHECKING:
    from tests.servers.nginx import Nginx
    from tests.servers.raw import Received


def only(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(os.listdir(folder))


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_a_file_is_saved_and_described(server: FileServer, client: Client, tmp_path: Path) -> None:
    download = await client.download(f"{server.url}/f?secret=1", tmp_path / "f.bin")
    assert download.path == tmp_path / "f.bin"
    assert download.path.read_bytes() == BODY
    assert only(tmp_path) == ["f.bin"]
    assert (download.size, download.fetched, download.resumed_from) == (len(BODY), len(BODY), 0)
    assert (download.segments, download.verified, download.url) == (1, (), f"{server.url}/f")
    assert download.headers["ETag"] == '"v1"'
    assert download.path.stat().st_mtime == 1445412480  # Last-Modified
    assert server.requests[0].get("Accept-Encoding") == "identity"


async def test_from_nginx_in_segments_over_http_and_tls(nginx: Nginx, client: Client, tmp_path: Path) -> None:
    digest = hashlib.sha256(pattern(nginx.big)).hexdigest()
    for base in (nginx.http, nginx.https):
        (tmp_path / "big").unlink(missing_ok=True)
        download = await client.download(f"{base}/big", tmp_path / "big", segments=4, checksum=f"sha256:{digest}")
        assert download.verified == (f"sha256:{digest}",)
        assert (download.segments, download.size, download.fetched) == (4, nginx.big, nginx.big)


@pytest.mark.parametrize("length", [None, -1], ids=["empty", "empty-until-close"])
async def test_an_empty_file(length: int | None, client: Client, tmp_path: Path) -> None:
    async with FileServer(b"") as server:
        server.twist = lambda request, number, answer: Answer(200, answer.fields, b"", length=length)
        download = await client.download(server.url, tmp_path / "f", segments=4)
        assert (download.size, download.path.read_bytes()) == (0, b"")


async def test_a_body_without_length_is_saved(server: FileServer, client: Client, tmp_path: Path) -> None:
    server.twist = lambda request, number, answer: Answer(200, answer.fields, answer.body, length=-1)
    download = await client.download(server.url, tmp_path / "f", segments=4)
    assert (download.path.read_bytes(), download.segments) == (BODY, 1)


async def test_what_is_coded_is_saved_decoded(client: Client, tmp_path: Path) -> None:
    coded = gzip.compress(BODY)
    digest = base64.b64encode(hashlib.sha256(coded).digest()).decode()
    async with FileServer(coded) as server:
        server.fields = [("Content-Encoding", "gzip"), ("Repr-Digest", f"sha-256=:{digest}:")]
        server.twist = cut_first(MIB)  # and cannot be gone on with
        decoded = {"Accept-Encoding": "gzip"}
        download = await client.download(server.url, tmp_path / "f", segments=4, headers=decoded)
        assert download.path.read_bytes() == BODY
        assert server.asked == ["", ""]
        # What nobody asked for is the file's own (a .tar.gz): saved as it came, in ranges, and verified as such.
        server.fields.append(("Content-Encoding", "aws-chunked"))
        download = await client.download(server.url, tmp_path / "g", segments=3)
        assert download.path.read_bytes() == coded
        assert (download.segments, download.verified) == (3, ("sha256:" + hashlib.sha256(coded).hexdigest(),))
        async with client.stream_ranges(server.url, window=MIB) as stream:
            assert b"".join([piece async for piece in stream]) == coded


async def test_the_name_is_the_servers(server: FileServer, client: Client, tmp_path: Path) -> None:
    server.fields = [("Content-Disposition", "attachment; filename=\"x.txt\"; filename*=UTF-8''..%2F%e2%82%ac.txt")]
    download = await client.download(f"{server.url}/path/name.bin", tmp_path)
    assert download.path == tmp_path / "€.txt"
    (tmp_path / "€.txt").write_bytes(b"mine")
    with pytest.raises(FileExistsError) as info:  # a stranger's choice replaces nothing
        await client.download(f"{server.url}/path/name.bin", f"{tmp_path}{os.sep}")
    assert info.value.filename == str(tmp_path / "€.txt")
    await client.download(f"{server.url}/path/name.bin", tmp_path, overwrite=True)
    server.fields = []
    assert (await client.download(f"{server.url}/path/name.bin?x", tmp_path)).path == tmp_path / "name.bin"
    assert only(tmp_path) == ["name.bin", "€.txt"]


async def test_what_is_there_is_replaced_or_kept(server: FileServer, client: Client, tmp_path: Path) -> None:
    place, link = tmp_path / "f", tmp_path / "link"
    place.write_bytes(b"old")
    link.symlink_to(place)
    with pytest.raises(FileExistsError):
        await client.download(server.url, place, overwrite=False)
    assert server.requests == []
    await client.download(server.url, link)
    assert link.is_symlink()
    assert place.read_bytes() == BODY
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DownloadError, match="no regular file"):
        await client.download(server.url, tmp_path / "pipe")
    # Somebody else made the file while this was on its way.
    place.unlink()

    def meanwhile(request: Received, number: int, answer: Answer) -> Answer:
        place.write_bytes(b"theirs")
        return answer

    server.twist = meanwhile
    with pytest.raises(FileExistsError):
        await client.download(server.url, place, overwrite=False)
    assert place.read_bytes() == b"theirs"


async def test_the_longest_name_that_a_file_may_have(server: FileServer, client: Client, tmp_path: Path) -> None:
    name = "x" * 251 + ".bin"
    assert (await client.download(server.url, tmp_path / name)).path.name == name
    with pytest.raises(OSError, match="File name too long") as info:
        await client.download(server.url, tmp_path / ("x" + name))
    assert info.value.errno == 36
    assert only(tmp_path) == [name]


# --- what it should be ------------------------------------------------------------------------------------------------


def field_of(name: str, body: bytes) -> tuple[str, str]:
    """A digest field."""
    sha, md5 = (base64.b64encode(hashlib.new(each, body).digest()).decode() for each in ("sha256", "md5"))
    return name, {"Digest": f"MD5=bad, SHA-256={sha}", "Content-MD5": md5}.get(name, f"unixsum=:MQ==:, sha-256=:{sha}:")


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest", "Digest", "Content-MD5"])
async def test_digests_that_the_server_sends_are_verified(
    name: str, server: FileServer, client: Client, tmp_path: Path
) -> None:
    server.fields = [field_of(name, BODY)]
    algorithm = "md5" if name == "Content-MD5" else "sha256"
    download = await client.download(server.url, tmp_path / "f", segments=3)
    assert download.verified == (f"{algorithm}:{hashlib.new(algorithm, BODY).hexdigest()}",)
    server.fields = [field_of(name, BODY + b"x")]
    with pytest.raises(ChecksumMismatch, match=name):
        await client.download(server.url, tmp_path / "g", segments=3)
    assert only(tmp_path) == ["f"]


@pytest.mark.parametrize("noise", ["a", "a=:", "a=", ",", " ", "sha-256=:", "sha-256=:A"])
@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest", "Digest"])
async def test_a_digest_field_as_long_as_a_head_may_be(
    name: str, noise: str, server: FileServer, client: Client, tmp_path: Path
) -> None:
    """Searched for members from each place on, one took the event loop a minute."""
    server.body = b"hello"
    field, stated = field_of(name, b"hello")
    server.fields = [(field, f"{noise * (60_000 // len(noise))}, {stated}")]
    download = await client.download(server.url, tmp_path / "f")
    assert download.verified == (f"sha256:{hashlib.sha256(b'hello').hexdigest()}",)


async def test_a_checksum_of_the_callers(server: FileServer, client: Client, tmp_path: Path) -> None:
    right = "sha512:" + hashlib.sha512(BODY).hexdigest()
    wrong = "sha256:" + hashlib.sha256(b"").hexdigest()
    assert (await client.download(server.url, tmp_path / "f", checksum=right)).verified == (right,)
    with pytest.raises(ChecksumMismatch, match="thrown away") as info:
        await client.download(server.url, tmp_path / "f", checksum=wrong)
    assert info.value.doing is not None
    assert (tmp_path / "f").read_bytes() == BODY  # the file that was there
    assert only(tmp_path) == ["f"]
    with pytest.raises(ValueError, match="hexadecimal"):
        await client.download(server.url, tmp_path / "f", checksum="sha256:abc")


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_a_connection_that_breaks_is_gone_on_from(server: FileServer, client: Client, tmp_path: Path) -> None:
    server.twist = cut_first(MIB + 5)
    download = await client.download(server.url, tmp_path / "f")
    assert download.path.read_bytes() == BODY
    assert server.asked == ["", f"bytes={MIB + 5}-{len(BODY) - 1}"]
    assert server.requests[1].get("If-Range") == '"v1"'
    assert download.fetched == len(BODY)


async def test_a_date_tells_versions_apart_if_it_is_old_enough(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    server.etag = 'W/"weak"'
    server.twist = cut_first(MIB)
    server.etag = None
    await client.download(server.url, tmp_path / "f")
    assert server.requests[1].get("If-Range") == server.modified
    # A file changed within the same second may be another one: it is begun anew, without a Range.
    server.date = server.modified
    server.requests.clear()
    assert (await client.download(server.url, tmp_path / "g")).path.read_bytes() == BODY
    assert server.asked == ["", ""]


async def test_what_does_not_pass_is_raised_at_once(server: FileServer, client: Client, tmp_path: Path) -> None:
    for status in (404, 503, 204):
        server.twist = lambda request, number, answer, status=status: Answer(status, [], b"", length=0)
        with pytest.raises((HTTPStatusError, DownloadError), match=str(status)):
            await client.download(server.url, tmp_path / "f", repairs=0 if status == 503 else 5)
    assert len(server.requests) == 3
    assert only(tmp_path) == []


async def test_patience_ends_and_says_what_was_kept(server: FileServer, client: Client, tmp_path: Path) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        answer.cut, answer.length = (MIB, len(answer.body)) if number == 0 else (0, len(answer.body))
        return answer

    server.twist = twist
    with pytest.raises(IncompleteRead) as info:
        await client.download(server.url, tmp_path / "f", repairs=1)
    assert f"{MIB} bytes are kept in {tmp_path / 'f.part'}" in "".join(info.value.__notes__)
    assert len(server.requests) == 2
    server.twist = lambda request, number, answer: answer
    download = await client.download(server.url, tmp_path / "f")
    assert (download.resumed_from, download.fetched) == (MIB, len(BODY) - MIB)
    assert download.path.read_bytes() == BODY
    assert only(tmp_path) == ["f"]


async def test_a_mirror_takes_the_place_of_what_fails(server: FileServer, client: Client, tmp_path: Path) -> None:
    async with FileServer() as mirror:
        mirror.etag = '"other"'
        server.twist = lambda request, number, answer: Answer(404, [], b"")
        download = await client.download(server.url, tmp_path / "f", mirrors=[mirror.url], segments=2)
        assert download.path.read_bytes() == BODY
        assert download.url == f"{mirror.url}/"
        # And when both work, both are asked.
        server.twist = lambda request, number, answer: answer
        before = mirror.connections, server.connections
        await client.download(server.url, tmp_path / "f", mirrors=[mirror.url], segments=3, overwrite=True)
        assert mirror.requests[-1].get("If-Range") in (None, '"other"')
        assert len(mirror.requests) + len(server.requests) >= 6
        assert (mirror.connections, server.connections) != before
        # One that has another file, of another size, is left.
        mirror.body = BODY[:-1]
        assert (await client.download(server.url, tmp_path / "f", mirrors=[mirror.url], segments=3)).size == len(BODY)
    with pytest.raises(ConnectError):
        await client.download(mirror.url, tmp_path / "f", mirrors=[mirror.url + "/x"], repairs=0)


async def test_a_file_that_cannot_be_written(server: FileServer, client: Client, tmp_path: Path) -> None:
    # As on a full disk: the file system takes 2 MiB and no more.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as info:
            await client.download(server.url, tmp_path / "f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert info.value.errno == 27
    assert info.value.filename == str(tmp_path / "f.part")
    assert "are kept" in "".join(info.value.__notes__)
    download = await client.download(server.url, tmp_path / "f")
    assert download.resumed_from > 0
    assert download.path.read_bytes() == BODY


async def test_the_time_for_all_of_it(server: FileServer, client: Client, tmp_path: Path) -> None:
    with pytest.raises(TotalTimeout, match=r"0\.2 s in all") as info:
        await client.download(server.url, tmp_path / "f", timeout=Timeout(total=0.2), limit_rate=MIB)
    assert "are kept" in "".join(info.value.__notes__)
    assert only(tmp_path) == ["f.part", "f.part.jsonl"]


async def test_two_at_once_do_not_write_the_same_file(server: FileServer, client: Client, tmp_path: Path) -> None:
    seen: list[Exception] = []

    async def second() -> None:
        try:
            await client.download(server.url, tmp_path / "f")
        except DownloadError as error:
            seen.append(error)

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if number == 0:
            answer.cut, answer.length, answer.after = MIB, len(BODY), second
        return answer

    server.twist = twist
    assert (await client.download(server.url, tmp_path / "f")).path.read_bytes() == BODY
    assert "another download is writing" in str(seen[0])


async def test_the_lock_does_not_outlive_its_owner_in_a_fork(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:

        def give_up(progress: Progress) -> None:
            if progress.done:
                stack.enter_context(forked())
                raise LookupError

        with pytest.raises(LookupError):
            await client.download(server.url, tmp_path / "f", on_progress=give_up)
        assert only(tmp_path) == ["f.part", "f.part.jsonl"]
        assert (await client.download(server.url, tmp_path / "f")).path.read_bytes() == BODY


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EIO])
async def test_a_file_system_without_locks(
    number: int, server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            await client.download(server.url, tmp_path / "f")
    else:
        assert (await client.download(server.url, tmp_path / "f")).path.read_bytes() == BODY


async def test_what_cannot_be_asked_for(server: FileServer, client: Client, tmp_path: Path) -> None:
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (ValueError, {"segments": 0}),
        (TypeError, {"segments": "many"}),
        (ValueError, {"limit_rate": 0}),
        (TypeError, {"mirrors": "http://x"}),
        (ValueError, {"headers": {"range": "bytes=0-1"}}),
        (TypeError, {"checksum": b"x"}),
        (ValueError, {"checksum": "crc:00"}),
        (TypeError, {"repairs": -1}),
        (TypeError, {"on_progress": 1}),
        (TypeError, {"on_progress": asyncio.sleep}),
        (TypeError, {"content": b"x"}),
        (TypeError, {"json": {}}),
    ]
    for kind, options in wrong:
        with pytest.raises(kind):
            await client.download(server.url, tmp_path / "f", **options)
    assert server.requests == []


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_progress_is_told_and_shown(server: FileServer, client: Client, tmp_path: Path) -> None:
    told: list[Progress] = []
    await client.download(server.url, tmp_path / "f", on_progress=told.append, segments=2)
    assert (told[-1].done, told[-1].total, told[-1].path) == (len(BODY), len(BODY), str(tmp_path / "f"))
    assert told == sorted(told, key=lambda progress: progress.done)
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    with RichProgress(console=Console(file=io.StringIO())) as bars:
        await client.download(server.url, tmp_path / "[f]", progress=bars)
        assert [(task.description, task.completed, task.total) for task in bars.tasks] == [
            ("[f]", len(BODY), len(BODY))
        ]


async def test_a_limit_is_kept_a_little_at_a_time(
    server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    class Unhurried(Rate):
        async def spent(self, size: int) -> None:
            taken.append(size)

    told: list[Progress] = []
    monkeypatch.setattr("aiohttpconn.download.progress.monotonic", partial(next, itertools.count(1.0, 0.06)))
    path = tmp_path / "f"
    await client.download(server.url, path, limit_rate=Unhurried(4 * 20_000), on_progress=told.append, segments=2)
    assert path.read_bytes() == BODY
    assert (max(taken), sum(taken)) == (20_000, len(BODY))
    assert told[0].speed == 0  # of one piece nothing can be told
    assert told[1].speed == pytest.approx(told[1].done / 0.18)
    await client.download(server.url, tmp_path / "g", limit_rate=Unhurried(1))
    assert taken[-1] <= max(taken[-50:]) == 1024


async def test_what_a_function_raises_that_is_told_ends_it(server: FileServer, client: Client, tmp_path: Path) -> None:
    def refuse(progress: Progress) -> None:
        raise KeyError(progress.done)

    with pytest.raises(KeyError):
        await client.download(server.url, tmp_path / "f", on_progress=refuse, segments=2)


# --- cancellation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("segments", "said"), [(1, True), (2, True), (2, False)])
async def test_cancelled_anywhere_leaves_what_can_be_gone_on_with(
    segments: int, said: bool, server: FileServer, client: Client, tmp_path: Path
) -> None:
    # Never a half file under the name, and never a wrong byte: the runs go on from each other.
    if not said:  # only who begins anew has to ask whether ranges are heeded
        server.twist = silent()

    async def scenario() -> None:
        download = await client.download(server.url, tmp_path / "f", segments=segments, repairs=0, resume=said)
        assert download.path.read_bytes() == BODY
        download.path.unlink()

    def check() -> None:
        assert set(only(tmp_path)) <= {"f.part", "f.part.jsonl", "f"}
        (tmp_path / "f").unlink(missing_ok=True)
        assert client.pool is not None
        assert client.pool.stats().in_use == 0

    assert await cancel_everywhere(scenario, check, limit=3000) > 10
    assert only(tmp_path) == []


async def test_a_file_that_changes_all_the_time(server: FileServer, client: Client, tmp_path: Path) -> None:
    def twist(request: Received, number: int, answer: Answer) -> Answer:
        server.etag = f'"{number}"'
        answer = server.answer(request)
        answer.cut, answer.length = len(answer.body) // 2, len(answer.body)
        return answer

    server.twist = twist
    with pytest.raises(FileChanged):
        await client.download(server.url, tmp_path / "f", segments=2)
    # Nothing of the versions before is left in what was kept.
    server.twist = lambda request, number, answer: answer
    server.body = bytes(reversed(BODY))
    assert (await client.download(server.url, tmp_path / "f", segments=2)).path.read_bytes() == server.body


async def test_what_is_kept_is_of_the_last_version_only(server: FileServer, client: Client, tmp_path: Path) -> None:
    other = bytes(reversed(BODY))

    def twist(request: Received, number: int, answer: Answer) -> Answer:
        if number == 0:
            answer.cut, answer.length = MIB // 2, len(BODY)
        elif number == 1:
            server.body, server.etag = other, '"v2"'
            return server.answer(request)
        elif number == 2:
            answer.cut, answer.length = MIB // 4, len(BODY)
        else:
            return Answer(404, [], b"")
        return answer

    server.twist = twist
    with pytest.raises(HTTPStatusError):
        await client.download(server.url, tmp_path / "f")
    server.twist = lambda request, number, answer: answer
    download = await client.download(server.url, tmp_path / "f")
    assert (download.resumed_from, download.path.read_bytes() == other) == (MIB // 4, True)


async def test_the_first_request_is_repaired_too(
    server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def at_once(delay: float) -> None:
        pauses.append(delay)
        await sleep(0)

    date = ("Date", "Thu, 22 Oct 2015 07:28:00 GMT")
    busy = [Answer(503, [date, ("Retry-After", "Thu, 22 Oct 2015 07:28:20 GMT")], b""), Answer(429, [], b"")]
    server.twist = lambda request, number, answer: busy.pop(0) if busy else answer
    with monkeypatch.context() as patched:
        patched.setattr("aiohttpconn.download.repair.asyncio.sleep", at_once)
        download = await client.download(server.url, tmp_path / "f")
    assert download.path.read_bytes() == BODY
    assert pauses[0] == 20  # the date, by the server's clock


async def test_a_limit_of_bodies_holds_for_files(server: FileServer, tmp_path: Path) -> None:
    async with Client(trust_env=False, max_body=MIB) as client:
        with pytest.raises(BodyTooLarge):
            await client.download(server.url, tmp_path / "f")
        with pytest.raises(BodyTooLarge):
            async with client.stream_ranges(server.url) as stream:
                await anext(stream)
        assert only(tmp_path) == []
        assert (await client.download(server.url, tmp_path / "f", max_body=None)).size == len(BODY)


async def test_nothing_shows_secrets(server: FileServer, client: Client, tmp_path: Path) -> None:
    url = server.url.replace("//", "//joe:pass@") + "/f?token=TOK"
    server.fields = [("Set-Cookie", "sid=COOKIE")]
    download = await client.download(url, tmp_path / "f")
    (result,) = await client.download_all([(url, tmp_path / "g")])
    errors: list[str] = []
    for options in ({"checksum": "md5:" + "0" * 32}, {"timeout": Timeout(total=0.1), "limit_rate": MIB}):
        with pytest.raises((ChecksumMismatch, TotalTimeout)) as info:
            await client.download(url, tmp_path / "h", overwrite=True, **options)  # type: ignore[arg-type]
        errors.append(str(info.value))
    text = " ".join([repr(download), repr(result), *errors])
    assert not [secret for secret in ("TOK", "joe", "pass", "COOKIE") if secret in text]
    # And of what was gone on with, it is the same URL.
    resumed = await client.download(url, tmp_path / "h")
    assert resumed.resumed_from > 0
    assert resumed.url == download.url == f"{server.url}/f"


async def test_all_lines_of_a_digest_field_and_trailers_count(
    server: FileServer, client: Client, tmp_path: Path
) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    server.fields = [("Repr-Digest", "unixsum=:MQ==:"), ("Repr-Digest", f"sha-256=:{wrong}:")]
    server.twist = cut_first(MIB)
    with pytest.raises(IncompleteRead):
        await client.download(server.url, tmp_path / "f", repairs=0)
    with pytest.raises(ChecksumMismatch):
        await client.download(server.url, tmp_path / "f")

    def trailing(request: Received, number: int, answer: Answer) -> Answer:
        body = b"5\r\nhello\r\n0\r\nRepr-Digest: sha-256=:%s:\r\n\r\n" % wrong.encode()
        fields = [("Transfer-Encoding", "chunked"), ("Trailer", "Repr-Digest"), ("ETag", '"v1"')]
        return Answer(200, fields, body, length=-1)

    server.twist = trailing
    with pytest.raises(ChecksumMismatch, match="Repr-Digest"):
        await client.download(server.url, tmp_path / "g")
    with pytest.raises(ChecksumMismatch, match="Repr-Digest"):
        async with client.stream_ranges(server.url) as stream:
            assert [piece async for piece in stream] == [b"hello"]


async def test_a_stream_is_verified_at_its_end(server: FileServer, client: Client) -> None:
    async def read(**options: Any) -> bytes:
        async with client.stream_ranges(server.url, window=MIB, segments=2, **options) as stream:
            return b"".join([piece async for piece in stream])

    assert await read(checksum="sha256:" + hashlib.sha256(BODY).hexdigest()) == BODY
    with pytest.raises(ChecksumMismatch, match="the caller"):
        await read(checksum="md5:" + "0" * 32)
    server.fields = [field_of("Repr-Digest", BODY + b"x")]
    with pytest.raises(ChecksumMismatch, match="Repr-Digest"):
        await read()
