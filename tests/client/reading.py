"""The ways to read the body of a streamed response: whole, or by one of its iterators."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttpconn import Response


async def take(response: Response, way: str) -> int:
    """Read a body one way; how many bytes or characters came."""
    if way == "read":
        return len(await response.read())
    return sum([len(str(piece)) if way == "iter_ndjson" else len(piece) async for piece in getattr(response, way)()])
