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

NEEDS_LATER = {
    "basic authentication of the request": {2, 84, 242, 346, 974, 1134, 1168, 1296, 2040, 2208},
    "digest authentication": {72, 88, 154, 246, 388, 1030, 1286, 1412, 1418, 2062, 2064, 2066, 2076},
    "cookies": {6, 172, 392, 420, 444, 798, 1024, 1104, 1136, 1216, 1218, 1228, 1408, 1476},
    "max_body": {292, 1618},
}
"""Cases that need what the client does not have yet."""

DECIDED_OTHERWISE = {
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


def what_it_needs(case: dict[str, Any]) -> str | None:
    """Which of `NEEDS_LATER` a case asks for; None if the client has it all."""
    options, steps = case["options"], case["steps"]
    schemes = {step["auth"]["scheme"] for step in steps if "auth" in step}
    if "digest" in schemes:
        return "digest authentication"
    if schemes or any(re.match(r"https?://[^/?#]*@", _bare(step["url"])) for step in steps):
        return "basic authentication of the request"
    if options.get("cookie_engine") or any("cookies" in step for step in steps):
        return "cookies"
    if "max_body" in options:
        return "max_body"
    return "proxies of the environment" if "env" in case else None  # there is none today


def _bare(url: str) -> str:
    """The URL with the placeholders for addresses and ports (``@HOSTIP@``) filled in, so that its own @ stand out."""
    return re.sub(r"@[A-Z0-9]+@", "0", url)


def test_what_is_left_for_later_is_what_needs_it() -> None:
    left = {number: why for why, numbers in NEEDS_LATER.items() for number in numbers}
    assert left == {number: need for number, case in cases().items() if (need := what_it_needs(case))}


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
    later = set().union(*NEEDS_LATER.values())
    numbers = sorted(cases().keys() - later - DECIDED_OTHERWISE.keys())
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
