"""What a download is given that makes no sense: an error that names it, before anything is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn import ConnectError
from aiohttpconn.download import repair
from aiohttpconn.download.repair import Patience

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttpconn import Client
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
    "options", [{"window": None}, {"window": "1M"}, {"segments": None}, {"mirrors": None}, {"repairs": "x"}], ids=str
)
async def test_of_a_stream(options: dict[str, Any], server: FileServer, client: Client) -> None:
    with pytest.raises(TypeError, match=rf"{next(iter(options))} must"):
        client.stream_ranges(server.url, **options)
    assert not server.connections


async def test_of_many(server: FileServer, client: Client) -> None:
    with pytest.raises(TypeError, match="concurrency must"):
        await client.download_all([server.url], concurrency="x")  # type: ignore[arg-type]
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
