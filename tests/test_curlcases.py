"""curl's own test data, played against `Client` by the judge that comes with the data.

The cases lie beside the repository in ``../shared/curlcases``, or where `$AIOHTTPCONN_CURLCASES` says.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.corpus

ROOT = Path(__file__).resolve().parents[1]
DIRECTORY = Path(os.environ.get("AIOHTTPCONN_CURLCASES") or ROOT.parent / "shared" / "curlcases")

if not (DIRECTORY / "run.py").is_file():
    pytest.skip("no ../shared/curlcases and no $AIOHTTPCONN_CURLCASES", allow_module_level=True)

DECIDED_OTHERWISE = {
    392: "cookies that are Secure are not set over http, by localhost neither",
    1090: "bare LF in chunk framing is a ProtocolError here",
    1116: "bare LF in chunk framing is a ProtocolError here",
    1142: "http:////host is http://host to a WHATWG parser",
    1482: "`chunked, chunked` is a ProtocolError here",
}
"""Cases where this client's contract differs from what curl does. The tests of the wire and of URLs have them too."""


@cache
def cases() -> dict[int, dict[str, Any]]:
    with open(DIRECTORY / "cases.jsonl", encoding="utf-8") as lines:
        return {case["num"]: case for case in map(json.loads, lines)}


def test_what_is_decided_otherwise_is_marked_so_in_the_data() -> None:
    assert all("open" in cases()[number] for number in DECIDED_OTHERWISE)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(["--piece", "20"], id="20-bytes-at-a-time"),
        pytest.param(["--piece", "0"], id="whole"),
        pytest.param(["--piece", "1", "--pause", "0.0005"], id="dripping"),
    ],
)
def test_every_case_passes(pieces: list[str]) -> None:
    numbers = sorted(cases().keys() - DECIDED_OTHERWISE.keys())
    command = [sys.executable, str(DIRECTORY / "run.py"), "--client", "aiohttpconn", "--python", sys.executable]
    command += ["--strict-errors", "--only", ",".join(map(str, numbers)), *pieces]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    played = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    last = played.stdout.rstrip().rpartition("\n")[2]
    told = re.fullmatch(r"aiohttpconn: passed (\d+) of (\d+)", last)
    assert told, played.stdout + played.stderr
    if int(told[2]) < len(numbers) and "IPv6" not in played.stdout:
        pytest.fail(f"only {told[2]} of {len(numbers)} cases were played")
    assert told[1] == told[2], played.stdout
