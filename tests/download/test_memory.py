"""The memory that a download takes, in a process that does nothing else: bounded, however large the file."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.download.server import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.nginx import Nginx

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")


def test_memory_over_tls_is_that_of_all_segments_together(nginx: Nginx, tmp_path: Path) -> None:
    """Under 8 MiB for eight segments. (With a block for each segment: 11 and, for 64, more than 50.)"""
    grown = []
    for segments in ("1", "8", "64"):
        command = [sys.executable, "-m", "tests.download.grown", f"{nginx.https}/big", str(tmp_path / "f"), segments]
        grown.append(int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    assert (tmp_path / "f").stat().st_size == nginx.big
    assert max(grown[:2]) < 8 * MIB
    assert grown[2] < 32 * MIB
