"""A client whose pool is audited after the test, and one that trusts the test authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client
from tests.auditing import audit_quiet, settle

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


@pytest.fixture
async def client(client_ctx: ssl.SSLContext) -> AsyncIterator[Client]:
    """A client that knows nothing of the environment and trusts the test authority.

    After the test no slot of its pool may be taken; after `close()` nothing may be open.
    """
    async with Client(trust_env=False, timeout=10, verify=client_ctx) as client:
        yield client
        await settle()
        assert client.pool is not None
        audit_quiet(client.pool)
    audit_quiet(client.pool)
    assert client.stats().open == 0
