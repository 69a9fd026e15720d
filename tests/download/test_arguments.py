"""What a download is given that makes no sense: an error that names it, before anything is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import Client, ConnectError
from aiohttpconn.download import repair
from aiohttpconn.download.repair import Patience

if TYPE_CHECKING:
    from pathlib import Path

    from tests.download.server import FileServer


@pytest.mark.parametrize(
    "options",
    [
        {"mirrors": None},
        {"mirrors": 3},
        {"mirrors": [None]},
        {"path": ""},
        {"path": 3},
        {"path": b"f"},
        {"url": 3},
        {"segments": None},
        {"segments": 65},
        {"progress": "yes"},
        {"resume": "no"},
        {"overwrite": "yes"},
        {"fsync": 1},
        {"limit_rate": "1M"},
        {"repairs": None},
    ],
    ids=str,
)
async def test_of_a_file(options: dict[str, Any], server: FileServer, client: Client, tmp_path: Path) -> None:
    arguments = {"url": server.url, "path": tmp_path / "f", **options}
    name = "mirror" if options == {"mirrors": [None]} else next(iter(options))
    with pytest.raises((TypeError, ValueError), match=rf"{name}.* (must|is empty)"):
        await client.download(arguments.pop("url"), arguments.pop("path"), **arguments)
    assert not server.connections


@pytest.mark.parametrize(
    "options",
    [
        {"window": None},
        {"window": "1M"},
        {"segments": None},
        {"segments": 65},
        {"segments": "many"},
        {"mirrors": None},
        {"repairs": "x"},
    ],
    ids=str,
)
async def test_of_a_stream(options: dict[str, Any], server: FileServer, client: Client) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"{next(iter(options))} must"):
        client.stream_ranges(server.url, **options)
    assert not server.connections


async def test_of_many(server: FileServer, client: Client) -> None:
    with pytest.raises(TypeError, match="concurrency must"):
        await client.download_all([server.url], concurrency="x")  # type: ignore[arg-type]
    assert not server.connections


@pytest.mark.parametrize("name", ["Range", "if-range"])
async def test_fields_that_are_its_own(name: str, server: FileServer, client: Client, tmp_path: Path) -> None:
    fields = {name: "bytes=0-10"}
    async with Client(headers=fields) as other:
        for each, options, says in (
            (client, {"headers": fields}, "itself$"),
            (other, {}, "itself, and the client has"),
        ):
            with pytest.raises(ValueError, match=f"(?i)a download sets {name} {says}"):
                await each.download(server.url, tmp_path / "f", **options)
            with pytest.raises(ValueError, match=f"(?i)a download sets {name} {says}"):
                each.stream_ranges(server.url, **options)
    assert not server.connections


async def test_a_keyword_that_is_none_is_named(server: FileServer, client: Client, tmp_path: Path) -> None:
    def refused(says: str) -> Any:
        return pytest.raises(TypeError, match=f"^{re.escape(says)}$")

    wrong: dict[str, Any]
    for wrong, says in (
        ({"segment": 8}, "takes no keyword 'segment'; did you mean 'segments'?"),
        ({"zzzzz": 1}, "takes no keyword 'zzzzz'"),
        ({"number": 1}, "takes no keyword 'number'"),
        ({"json": {}}, "takes no json=: it is a GET without a body"),
    ):
        with refused(f"download() {says}"):
            await client.download(server.url, tmp_path / "f", **wrong)
        with refused(f"download_all() {says}"):
            await client.download_all([server.url], **wrong)
        with refused(f"stream_ranges() {says}"):
            client.stream_ranges(server.url, **wrong)
        [result] = await client.download_all([(server.url, tmp_path / "f", wrong)])
        with refused(f"download() {says}"):
            result.unwrap()
    for name in ("progress", "on_result", "directory", "concurrency"):
        [result] = await client.download_all([(server.url, tmp_path / "f", {name: True})])
        with refused(f"{name}= is for all items together, not for one of them"):
            result.unwrap()
    assert not server.connections


async def test_a_port_where_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(repair.asyncio, "sleep", pause)
    refused = ConnectError("cannot connect")
    refused.__cause__ = ConnectionRefusedError()
    patience = Patience(5)
    await patience.bear(refused, 0)
    with pytest.raises(ConnectError):
        await patience.bear(refused, 0)
    assert pauses == [0.0]
    # A server that has sent something, and is being restarted, is waited for.
    patience = Patience(5)
    for _ in range(5):
        await patience.bear(refused, 1)
    assert sum(pauses) > 2
