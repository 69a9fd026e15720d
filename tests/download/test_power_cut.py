"""`fsync=True`: what the sidecar promises is on the disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from aiohttpconn.download.sidecar import Sidecar
from tests.download.server import BODY

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttpconn import Client
    from tests.download.server import FileServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="this system has no fdatasync()")


@pytest.mark.parametrize("segments", [1, 3])
async def test_nothing_is_noted_that_is_not_synced(
    segments: int, server: FileServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def watch(place: Any, name: str) -> None:
        call = getattr(place, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            result = call(*arguments, **options)
            events.append(name)
            return result

        monkeypatch.setattr(place, name, watched)

    watch(os, "fsync")
    watch(os, "pwritev")
    watch(os, "replace")
    watch(Sidecar, "note")
    sync = os.fdatasync
    monkeypatch.setattr("aiohttpconn.download.part_file._sync_data", lambda it: (sync(it), events.append("fdatasync")))
    # Limited, so that nothing is pumped, and in one thread's order where there is one segment.
    await client.download(server.url, tmp_path / "f", segments=segments, fsync=True, limit_rate=1e9)
    assert (tmp_path / "f").read_bytes() == BODY
    assert "note" in events
    if segments == 1:
        written = False
        for event in events:
            written = event == "pwritev" or (written and event != "fdatasync")
            assert not (written and event == "note")
    assert events.count("fdatasync") >= 1
    assert events[-2:] == ["replace", "fsync"]  # the folder
    assert "fsync" in events[:-2]  # the file
    events.clear()
    await client.download(server.url, tmp_path / "g", segments=segments)
    assert not {"fsync", "fdatasync"} & set(events)
