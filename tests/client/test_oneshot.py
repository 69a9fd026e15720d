"""One request without a client: `await aiohttpconn.get(url)`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

import aiohttpconn
from aiohttpconn import ReadTimeout, TLSError
from tests.auditing import Ground
from tests.cancellation import cancel_everywhere

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.servers.origin import OriginServer

VERBS = ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"]


@pytest.mark.parametrize("method", VERBS)
async def test_every_verb_sends_its_method_and_keeps_nothing_open(method: str, http_server: OriginServer) -> None:
    verb = getattr(aiohttpconn, method.lower())
    response = await verb(f"{http_server.url}/request", params={"x": "1"}, headers={"X-A": "b"}, trust_env=False)
    assert response.status == 200
    (received,) = http_server.requests
    assert (received.method, received.target, received.get("X-A")) == (method, "/request?x=1", "b")
    assert response.content == b"" if method == "HEAD" else response.json()["method"] == method
    await http_server.wait_idle()


@pytest.mark.parametrize("method", VERBS)
def test_every_verb_is_documented_and_public(method: str) -> None:
    verb = getattr(aiohttpconn, method.lower())
    assert method.lower() in aiohttpconn.__all__
    assert inspect.getdoc(verb)
    assert inspect.iscoroutinefunction(verb)


async def test_request_takes_any_method_and_what_a_client_takes(http_server: OriginServer) -> None:
    response = await aiohttpconn.request("PURGE", f"{http_server.url}/request", content=b"x", trust_env=False)
    assert response.json()["method"] == "PURGE"
    response = await aiohttpconn.post(f"{http_server.url}/echo", json=[1], trust_env=False)
    assert response.json() == [1]
    response = await aiohttpconn.get(
        f"{http_server.url}/redirect/302?/request", follow_redirects=False, trust_env=False, proxy=None
    )
    assert response.status == 302
    with pytest.raises(ReadTimeout):
        await aiohttpconn.get(f"{http_server.url}/hold", timeout=0.05, trust_env=False)


async def test_verify(https_server: OriginServer, client_ctx: ssl.SSLContext, ca_file: Path) -> None:
    ways: list[Any] = [client_ctx, str(ca_file), ca_file, False]
    for verify in ways:
        assert (await aiohttpconn.get(https_server.url, verify=verify, trust_env=False)).text == "hello"
    for verify in (True, aiohttpconn.UNSET):
        with pytest.raises(TLSError):
            await aiohttpconn.get(https_server.url, verify=verify, trust_env=False)


async def test_an_argument_nobody_knows_is_a_type_error(http_server: OriginServer) -> None:
    with pytest.raises(TypeError):
        await aiohttpconn.get(http_server.url, no_such_thing=1)
    assert http_server.connections == 0


async def test_cancelled_anywhere_it_leaves_nothing(http_server: OriginServer) -> None:
    ground = Ground()

    async def once() -> None:
        response = await aiohttpconn.get(f"{http_server.url}/redirect/302?/bytes/200000", trust_env=False)
        assert len(response.content) == 200_000

    async def nothing_left() -> None:
        await http_server.wait_idle()
        assert await ground.cleared() == []

    assert await cancel_everywhere(once, nothing_left) > 0
