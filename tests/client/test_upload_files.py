"""`files=`: multipart/form-data over real sockets, read by parsers that are not ours."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import gzip
import io
import mmap
import os
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiofiles
import pytest

from aiohttpconn import BodyLengthMismatch, Client, InvalidHeader
from aiohttpconn.testing import script
from tests.bodies import endless
from tests.servers.origin import OriginServer, pattern
from tests.servers.raw import Connection, Head, Hold, Received, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.servers.nginx import Nginx

MIB = 1 << 20


class Part(NamedTuple):
    """What a server sees of one part."""

    name: str
    filename: str | None
    media_type: str | None
    content: bytes


def unescaped(name: str) -> str:
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


async def parsed_by_starlette(received: Received) -> list[Part]:
    """The parts as python-multipart and Starlette read them."""
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartParser

    async def stream() -> AsyncIterator[bytes]:
        for at in range(0, len(received.body), 10_000):
            yield received.body[at : at + 10_000]

    form = await MultiPartParser(Headers({"Content-Type": received.get("Content-Type") or ""}), stream()).parse()
    parts = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            parts.append(Part(name, value.filename, value.content_type, await value.read()))
            await value.close()
        else:
            parts.append(Part(name, None, None, value.encode()))
    return parts


def parsed_by_email(received: Received) -> list[Part]:
    """The parts as the standard library's parser for mail reads them."""
    head = f"Content-Type: {received.get('Content-Type')}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + received.body)
    assert message.is_multipart()
    assert not message.defects
    parts = []
    for part in message.iter_parts():  # type: ignore[attr-defined]
        fields = {name.title(): value for name, value in part.raw_items()}
        parameters = dict(part.get_params(header="Content-Disposition"))
        content = part.get_payload(decode=True)
        parts.append(Part(parameters["name"], parameters.get("filename"), fields.get("Content-Type"), content))
    return parts


async def sent(client: Client, server: OriginServer, **options: Any) -> list[Part]:
    await client.post(f"{server.url}/echo", **options)
    return await parsed_by_starlette(server.requests[-1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 300,000 bytes."""
    path = tmp_path / "numbers.csv"
    path.write_bytes(pattern(300_000))
    return path


# --- shapes -----------------------------------------------------------------------------------------------------------


async def test_the_wire_byte_for_byte(client: Client, http_server: OriginServer) -> None:
    await client.post(
        f"{http_server.url}/echo",
        data={"a": "1", "ä": ["€", None]},
        files={"f": ("x.txt", b"one\r\ntwo"), "g": ("y", "grün", "text/x-own", {"X-Part": "yes"})},
        headers={"Content-Type": "multipart/form-data; boundary=limit"},
    )
    (received,) = http_server.requests
    assert received.get_all("Content-Type") == ["multipart/form-data; boundary=limit"]
    assert received.get_all("Content-Length") == [str(len(received.body))]
    assert received.body.decode() == (
        '--limit\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        '--limit\r\nContent-Disposition: form-data; name="ä"\r\n\r\n€\r\n'
        '--limit\r\nContent-Disposition: form-data; name="ä"\r\n\r\n\r\n'
        '--limit\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\n'
        "one\r\ntwo\r\n"
        '--limit\r\nContent-Disposition: form-data; name="g"; filename="y"\r\nContent-Type: text/x-own\r\n'
        "X-Part: yes\r\n\r\ngrün\r\n"
        "--limit--\r\n"
    )


@pytest.mark.parametrize(
    ("value", "filename", "media_type", "content"),
    [
        (b"bytes", "upload", "application/octet-stream", b"bytes"),
        (bytearray(b"bytes"), "upload", "application/octet-stream", b"bytes"),
        (memoryview(b"bytes"), "upload", "application/octet-stream", b"bytes"),
        ("text €", "upload", "application/octet-stream", "text €".encode()),
        (b"", "upload", "application/octet-stream", b""),
        (("a.json", b"{}"), "a.json", "application/json", b"{}"),
        (("a.json", b"{}", None), "a.json", "application/json", b"{}"),
        (("a.json", b"{}", "text/plain"), "a.json", "text/plain", b"{}"),
        (("no-such.ending-known", b"{}"), "no-such.ending-known", "application/octet-stream", b"{}"),
        (("a", b"{}", "text/plain", {"content-type": "text/html"}), "a", "text/html", b"{}"),
        (("a", b"{}", None, None), "a", "application/octet-stream", b"{}"),
        (("a", [b"on", bytearray(b"e")]), "a", "application/octet-stream", b"one"),
        (lambda: ("a", iter([b"on", b"e"])), "a", "application/octet-stream", b"one"),
        (lambda: ("a", io.BytesIO(b"one")), "a", "application/octet-stream", b"one"),
        (lambda: ("a", io.StringIO("€")), "a", "application/octet-stream", "€".encode()),
        ((Path("dir/a.txt"), b"one"), "dir/a.txt", "text/plain", b"one"),
        ((None, b"field"), None, None, b"field"),
        ((None, "field €"), None, None, "field €".encode()),
    ],
)
async def test_every_shape_of_a_file(
    value: Any, filename: str, media_type: str, content: bytes, client: Client, http_server: OriginServer
) -> None:
    if callable(value):
        value = value()  # what can be read once only is made for each loop
    expected = [Part("f", filename, media_type, content)]
    assert await sent(client, http_server, files={"f": value}) == expected
    assert parsed_by_email(http_server.requests[-1]) == expected


async def test_line_ends_of_fields_are_cr_lf_and_files_stay_as_they_are(
    client: Client, http_server: OriginServer
) -> None:
    text = "a\nb\rc\r\nd\n"
    files: dict[str, Any] = {"f\n": ("f\n", text), "g": (None, text), "h": io.StringIO(text, newline="")}
    request = client.build_request(
        "POST", f"{http_server.url}/echo", data={"s": text, "b": text.encode(), "n\rn": "\n"}, files=files
    )
    await client.send(request)
    (received,) = http_server.requests
    assert [(part.name, part.filename, part.content) for part in parsed_by_email(received)] == [
        ("s", None, b"a\r\nb\r\nc\r\nd\r\n"),
        ("b", None, text.encode()),
        ("n%0D%0An", None, b"\r\n"),
        ("f%0D%0A", "f%0A", text.encode()),
        ("g", None, text.encode()),
        ("h", "upload", text.encode()),
    ]


async def test_pairs_repeat_a_name_and_keep_their_order(client: Client, http_server: OriginServer) -> None:
    files = [("f", ("1.txt", b"1")), ("g", ("2.txt", b"2")), ("f", ("3.txt", b"3"))]
    parts = await sent(client, http_server, data=[("x", "0")], files=files)
    assert [(part.name, part.filename, part.content) for part in parts] == [
        ("x", None, b"0"),
        ("f", "1.txt", b"1"),
        ("g", "2.txt", b"2"),
        ("f", "3.txt", b"3"),
    ]
    assert parts == parsed_by_email(http_server.requests[-1])


@pytest.mark.parametrize("name", ['say "hello".txt', "two\r\nlines.txt", "grüße €😀.txt", "back\\slash;x=y.txt", "%22"])
async def test_names_that_are_no_plain_text(name: str, client: Client, http_server: OriginServer) -> None:
    (part,) = await sent(client, http_server, files={name: (name, b"content")})
    assert part.filename is not None
    if name != "%22":
        assert (unescaped(part.name), unescaped(part.filename)) == (name, name)
    (received,) = http_server.requests
    first = received.body.split(b"\r\n")[1].decode()
    assert first.startswith("Content-Disposition: form-data; name=")
    assert first.count('"') == 4, "nothing in a name ends it"


async def test_a_name_that_is_no_unicode_goes_as_it_is_on_disk(
    tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.txt"
    with open(path, "wb") as opened:
        opened.write(b"x")
    await client.post(f"{http_server.url}/echo", files={"f": Path(os.fsdecode(path))})
    assert b'filename="\xff.txt"' in http_server.requests[0].body


async def test_no_files_is_a_plain_form(client: Client, http_server: OriginServer) -> None:
    await client.post(f"{http_server.url}/echo", data={"a": "b"}, files={})
    await client.post(f"{http_server.url}/echo", files=[])
    first, second = http_server.requests
    assert (first.body, first.get("Content-Type")) == (b"a=b", "application/x-www-form-urlencoded")
    assert (second.body, second.get("Content-Type")) == (b"", None)


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (5, TypeError),
        (b"bytes", TypeError),
        ("text", TypeError),
        (io.BytesIO(b"x"), TypeError),
        ([b"x"], TypeError),
        ({1: b"x"}, TypeError),
        ({"f": ("a",)}, TypeError),
        ({"f": ("a", b"x", "text/plain", {}, 5)}, TypeError),
        ({"f": (5, b"x")}, TypeError),
        ({"f": ("a", None)}, TypeError),
        ({"f": ("a", 5)}, TypeError),
        ({"f": ("a", {"b": "c"})}, TypeError),
        ({"f": [("a", b"x"), ("b", b"y")]}, TypeError),
        ({"f": ("a", b"x", "text/plain\r\nX: y")}, InvalidHeader),
        ({"f": ("a", b"x", None, {"X": "a\r\nb"})}, InvalidHeader),
        ({"f": ("a", b"x", None, {"X Y": "a"})}, InvalidHeader),
        ({"f": Path("/no/such/file")}, FileNotFoundError),
        ({"f": Path("/")}, ValueError),
    ],
)
def test_what_is_no_file(files: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Client(trust_env=False).build_request("POST", "http://localhost/", files=files)


# --- boundary and Content-Type ----------------------------------------------------------------------------------------


async def test_each_request_has_a_boundary_of_its_own(client: Client, http_server: OriginServer) -> None:
    for _ in range(2):
        await client.post(f"{http_server.url}/echo", files={"f": b"x"})
    types = [received.get("Content-Type") or "" for received in http_server.requests]
    assert types[0] != types[1]
    assert all(text.startswith("multipart/form-data; boundary=") for text in types)


async def test_a_content_type_without_a_boundary_gets_one(client: Client, http_server: OriginServer) -> None:
    """Sent as the caller wrote it, no server could read the body."""
    parts = await sent(client, http_server, files={"f": b"x"}, headers={"content-type": "multipart/form-data"})
    assert parts == [Part("f", "upload", "application/octet-stream", b"x")]
    (received,) = http_server.requests
    assert len(received.get_all("Content-Type")) == 1
    await client.post(f"{http_server.url}/echo", files={"f": b"x"}, headers={"Content-Type": "multipart/mixed;"})
    assert (http_server.requests[1].get("Content-Type") or "").startswith("multipart/mixed; boundary=")


async def test_a_content_type_that_is_not_multipart(client: Client, http_server: OriginServer) -> None:
    with pytest.raises(ValueError, match="multipart"):
        await client.post(http_server.url, files={"f": b"x"}, headers={"Content-Type": "application/json"})
    with pytest.raises(ValueError, match="boundary"):
        bad = {"Content-Type": f"multipart/form-data; boundary={'a' * 71}"}
        await client.post(http_server.url, files={"f": b"x"}, headers=bad)
    assert http_server.connections == 0


async def test_a_quoted_boundary(client: Client, http_server: OriginServer) -> None:
    own = {"Content-Type": 'multipart/form-data; boundary="a b:c"'}
    await client.post(f"{http_server.url}/echo", files={"f": ("a", b"x")}, headers=own)
    (received,) = http_server.requests
    assert received.get("Content-Type") == own["Content-Type"]
    assert received.body.startswith(b"--a b:c\r\n")
    assert parsed_by_email(received) == [Part("f", "a", "application/octet-stream", b"x")]


# --- files ------------------------------------------------------------------------------------------------------------


async def test_an_open_file_goes_by_its_name_from_where_it_stands(
    file: Path, client: Client, http_server: OriginServer
) -> None:
    with open(file, "rb") as opened:
        opened.seek(1000)
        parts = await sent(client, http_server, files={"f": opened})
        assert not opened.closed
    assert parts == [Part("f", "numbers.csv", "text/csv", pattern(300_000)[1000:])]
    (received,) = http_server.requests
    assert received.get("Content-Length") == str(len(received.body))


@pytest.mark.parametrize("wrap", [lambda path: path, lambda path: ("other.bin", path)])
async def test_a_path_is_opened_when_it_is_sent_and_closed(
    wrap: Any, file: Path, client: Client, http_server: OriginServer
) -> None:
    request = client.build_request("POST", f"{http_server.url}/echo", files={"f": wrap(file)})
    descriptors = len(os.listdir("/dev/fd"))
    await client.send(request)
    await client.send(request)
    first, second = http_server.requests
    assert first.body == second.body
    (part,) = await parsed_by_starlette(first)
    assert part.content == pattern(300_000)
    assert part.filename == ("numbers.csv" if wrap(file) is file else "other.bin")
    assert first.get("Content-Length") == str(len(first.body))
    assert len(os.listdir("/dev/fd")) <= descriptors + 2, "but for the connection, nothing is open"


async def test_a_path_as_content(file: Path, client: Client, http_server: OriginServer) -> None:
    response = await client.put(f"{http_server.url}/echo", content=file)
    assert response.content == pattern(300_000)
    assert http_server.requests[0].get("Content-Length") == "300000"


async def test_one_file_may_be_two_parts(file: Path, client: Client, http_server: OriginServer) -> None:
    with open(file, "rb") as opened:
        parts = await sent(client, http_server, files={"f": opened, "g": opened})
    assert [part.content for part in parts] == [pattern(300_000)] * 2


@pytest.mark.parametrize("kind", ["temporary", "spooled", "mmap", "unbuffered"])
async def test_files_that_can_be_measured(kind: str, file: Path, client: Client, http_server: OriginServer) -> None:
    opened: Any
    if kind == "temporary":
        opened = tempfile.NamedTemporaryFile()  # noqa: SIM115
        opened.write(pattern(300_000))
        opened.seek(0)
    elif kind == "spooled":
        opened = tempfile.SpooledTemporaryFile(max_size=MIB)  # noqa: SIM115
        opened.write(pattern(300_000))
        opened.seek(0)
    elif kind == "mmap":
        with open(file, "rb") as under:
            opened = mmap.mmap(under.fileno(), 0, access=mmap.ACCESS_READ)
    else:
        opened = open(file, "rb", buffering=0)  # noqa: SIM115
    with opened:
        opened.read(5)
        (part,) = await sent(client, http_server, files={"f": ("name", opened)})
    assert part.content == pattern(300_000)[5:]
    assert http_server.requests[0].get("Content-Length") == str(len(http_server.requests[0].body))


@pytest.mark.parametrize("kind", ["gzip", "zip", "pipe", "text", "generator", "async generator", "aiofiles"])
async def test_what_cannot_be_measured_goes_in_chunks(
    kind: str, tmp_path: Path, client: Client, http_server: OriginServer
) -> None:
    content = b"0123456789" * 30_000
    (tmp_path / "plain").write_bytes(content)

    async def generate() -> AsyncIterator[bytes]:
        yield content[:7]
        yield content[7:]

    opened: Any
    if kind == "gzip":
        (tmp_path / "packed").write_bytes(gzip.compress(content))
        opened = gzip.open(tmp_path / "packed")  # noqa: SIM115
    elif kind == "zip":
        with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
            archive.writestr("member", content)
        opened = zipfile.ZipFile(tmp_path / "archive").open("member")  # noqa: SIM115
    elif kind == "pipe":
        content = content[:5000]
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        opened = open(reading, "rb")  # noqa: SIM115
    elif kind == "text":
        opened = open(tmp_path / "plain", encoding="ascii")  # noqa: SIM115
    elif kind == "aiofiles":
        opened = await aiofiles.open(tmp_path / "plain", "rb")
    else:
        opened = iter([content[:7], content[7:]]) if kind == "generator" else generate()
    parts = await sent(client, http_server, data={"a": "b"}, files={"f": ("name", opened), "g": b"sized"})
    if hasattr(opened, "close"):
        closing = opened.close()
        if closing is not None:
            await closing
    (received,) = http_server.requests
    assert [part.content for part in parts] == [b"b", content, b"sized"]
    assert (received.get("Transfer-Encoding"), received.get("Content-Length")) == ("chunked", None)


async def test_a_file_that_shrinks_meanwhile_is_an_error(file: Path, client: Client, http_server: OriginServer) -> None:
    request = client.build_request("POST", f"{http_server.url}/echo", files={"f": file})
    os.truncate(file, 1000)
    with pytest.raises(BodyLengthMismatch):
        await client.send(request)
    assert client.stats().open == 0


async def test_an_own_content_length_is_held_to(client: Client, http_server: OriginServer) -> None:
    request = client.build_request("POST", f"{http_server.url}/echo", files={"f": b"x"})
    right = len(b"".join([piece async for piece in request.body]))
    own = {"Content-Type": request.headers["Content-Type"]}
    files = [("f", (piece for piece in [b"x"]))]
    await client.post(f"{http_server.url}/echo", files=files, headers=own | {"Content-Length": str(right)})
    (received,) = http_server.requests
    assert (received.get("Transfer-Encoding"), len(received.body)) == (None, right)
    with pytest.raises(BodyLengthMismatch):
        await client.post(
            f"{http_server.url}/echo", files={"f": b"x"}, headers=own | {"Content-Length": str(right + 1)}
        )
    await client.post(f"{http_server.url}/echo", files={"f": b"x"}, headers=own | {"Transfer-Encoding": "chunked"})
    received = http_server.requests[-1]
    assert (received.get("Content-Length"), len(received.body)) == (None, right)


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_generators_and_files_are_closed_when_the_server_says_no(
    file: Path, client: Client, raw_server: Any
) -> None:
    ended: list[bool] = []
    os.truncate(file, 256 * MIB)
    server = await raw_server([Head(), Send(script.response(b"no!", 413, close=True)), Hold()])
    descriptors = len(os.listdir("/dev/fd"))
    for content in (endless(ended), file):
        response = await client.post(server.url, files={"f": ("f", content)})
        assert (response.status, response.text) == (413, "no!")
    assert ended == [True]
    await server.wait_idle()
    assert len(os.listdir("/dev/fd")) <= descriptors


async def test_a_cancelled_upload_leaves_nothing_open(file: Path, client: Client, raw_server: Any) -> None:
    async def never_read(reader: Any, writer: Any, conn: Connection) -> None:
        conn.stop_reading()
        started.set()
        await asyncio.sleep(60)

    os.truncate(file, 256 * MIB)
    started = asyncio.Event()
    server = await raw_server(never_read)
    descriptors = len(os.listdir("/dev/fd"))
    task = asyncio.create_task(client.post(server.url, files={"f": file}))
    await started.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.stats().open == 0
    for _ in range(200):  # a thread may still be reading: it closes the file when it is through
        paths = [
            os.readlink(f"/dev/fd/{number}") for number in os.listdir("/dev/fd") if os.path.lexists(f"/dev/fd/{number}")
        ]
        if str(file) not in paths:
            break
        await asyncio.sleep(0.01)
    assert str(file) not in paths
    assert len(os.listdir("/dev/fd")) <= descriptors + 2  # the server's end


async def test_an_error_of_a_part_is_the_callers_own(client: Client, http_server: OriginServer) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.post(f"{http_server.url}/echo", files={"f": failing()})
    assert client.stats().open == 0


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["open", "path"])
async def test_memory_does_not_grow_with_the_upload(
    kind: str, tmp_path: Path, client: Client, raw_server: Any, soak: bool
) -> None:
    """A file with a hole in it, of 1 GiB with ``--soak``: under 8 MiB, the server's in this process included."""
    size = 1024 * MIB if soak else 48 * MIB
    counted = 0

    async def count(reader: asyncio.StreamReader, writer: Any, conn: Connection) -> None:
        nonlocal counted
        received = await conn.read_head()
        length = int(received.get("Content-Length") or 0)
        while counted < length:
            counted += len(await reader.read(65536))
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    path = tmp_path / "hole"
    with open(path, "wb") as sparse:
        sparse.truncate(size)
    server = await raw_server(count)
    with open(path, "rb") as opened:
        tracemalloc.start()
        try:
            response = await client.post(server.url, data={"a": "b"}, files={"f": opened if kind == "open" else path})
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert response.status == 200
    assert counted > size
    assert peak < 8 * MIB


@pytest.mark.interop
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nginx_takes_an_upload(scheme: str, file: Path, nginx: Nginx, client: Client) -> None:
    base = nginx.https if scheme == "https" else nginx.http
    os.truncate(file, 8 * MIB)
    request = client.build_request("POST", f"{base}/upload", data={"a": "b"}, files={"f": file})
    response = await client.send(request)
    assert response.text == request.headers["Content-Length"]
    refused = await client.post(f"{base}/413", files={"f": file})
    assert refused.status == 413
    with open(file, "rb") as opened:
        chunked = await client.post(f"{base}/upload", files={"f": opened, "g": iter([b"x"])})
    assert int(chunked.text) > 8 * MIB  # nginx counts what came in chunks, and says so to whom it passes it on
