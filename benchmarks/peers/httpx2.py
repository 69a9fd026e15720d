"""httpx2, which has httpx's interface."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import httpx2

from .httpx import HttpxPeer


class Httpx2Peer(HttpxPeer):
    library: ClassVar[ModuleType] = httpx2


PEER = Httpx2Peer
