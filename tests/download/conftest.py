"""A client whose pool is audited after the test, and a server of one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.client.conftest import client  # noqa: F401 - a fixture is found by being here
from tests.download.server import FileServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    """A server of one file of 3 MiB, with ranges and a strong entity tag."""
    async with FileServer() as server:
        yield server
