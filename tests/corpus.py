"""The shared conformance data. It lies beside the repository and is never copied into it."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "corpus"


def directory() -> Path:
    """Where the corpora are looked for: `$AIOHTTPCONN_CORPUS`, else `../shared/corpus` beside the repository."""
    given = os.environ.get("AIOHTTPCONN_CORPUS")
    return Path(given) if given else BESIDE


@cache
def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def load(name: str) -> Any:
    """The corpus `name` (e.g. ``"llhttp_response.json"``), parsed. Where it is absent, the calling module is skipped.

    What is returned is shared between callers: read it, do not change it.
    """
    path = directory() / name
    if not path.is_file():
        pytest.skip(f"no corpus {name} in ../shared/corpus or $AIOHTTPCONN_CORPUS", allow_module_level=True)
    return _read(path)
