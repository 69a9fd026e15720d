"""The demo: it runs anywhere, shows what it should, and does not say that all is well when it is not."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aiohttpconn import Client, ProxyError
from aiohttpconn.cli import demo_servers
from tests.cli.command import environment, finish, run, run_on_terminal, start

if TYPE_CHECKING:
    from tests.cli.command import Outcome


def shown(outcome: Outcome) -> str:
    """What a reader sees of it, without the colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.stdout.decode())


def check(text: str) -> None:
    """All four acts went well."""
    assert re.search(r"1  One connection.*\n +✓ 200 OK, text/plain.*: Hello", text), text
    opened, reused = re.search(r"✓ (\d+) connections opened, ([\d,]+) times", text).groups()  # type: ignore[union-attr]
    assert int(opened) <= 64
    assert int(opened) + int(reused.replace(",", "")) == 2000
    assert re.search(r"✓ [\d,]+ requests/s, every answer checked", text), text
    assert re.search(r"✓ 256\.0 MiB in [\d.]+ s: .*/s, streamed", text), text
    assert "✓ all 8 lengths and SHA-256 digests right" in text
    assert "✓ https://origin.example/hello: 200 OK, by a tunnel to origin.example:443" in text
    assert "✓ certificate verified against the demo's CA" in text
    assert "✓ without that CA: the certificate of origin.example was refused" in text
    assert "All as it should be" in text
    assert "✗" not in text


async def test_the_demo_in_a_pipe_is_plain_text() -> None:
    # A proxy in the environment is not asked: there is nobody.
    env = environment(http_proxy="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1")
    outcome = await run("demo", env=env)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert b"\x1b" not in outcome.stdout
    check(shown(outcome))


async def test_the_demo_on_a_terminal_has_bars() -> None:
    outcome = await run_on_terminal("demo")
    text = shown(outcome).replace("\r\n", "\n")
    assert outcome.code == 0
    check(text)
    for number in range(8):
        assert re.search(rf"https? +/download/{number} +[━╸╺]+ +32\.0/32\.0 MiB", text), text[-3000:]


@pytest.mark.parametrize("module", ["trustme", "rich"])
async def test_the_demo_names_the_extra_that_it_lacks(module: str) -> None:
    outcome = await run("demo", missing=(module,))
    assert (outcome.code, outcome.stdout) == (2, b"")
    assert module in outcome.complaint
    assert "pip install 'aiohttpconn[cli]'" in outcome.complaint


async def test_the_demos_help() -> None:
    outcome = await run("demo", "--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(b"usage: aiohttpconn demo\n")


async def test_interrupted_demo() -> None:
    process = start("demo", bufsize=0, env=environment(PYTHONUNBUFFERED="1"))
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert (outcome.code, outcome.complaint) == (130, "interrupted")


_BREAK = """\
import sys
from aiohttpconn.cli import demo_servers, main
{change}
sys.exit(main(["demo"]))
"""


@pytest.mark.asyncio(loop_factories=["asyncio"])  # it makes no difference to the process
@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            "issue = demo_servers.trustme.CA.issue_cert\n"
            "demo_servers.trustme.CA.issue_cert = lambda ca, *names: issue(ca, 'other.example', '127.0.0.1')",
            "the certificate of origin.example was refused",
            id="certificate-of-another-name",
        ),
        pytest.param(
            "answer = demo_servers._answer\ndemo_servers._answer = lambda status, *rest: answer(b'500 Oh', *rest)",
            "/hello answered 500",
            id="error-status",
        ),
        pytest.param("demo_servers.download_digest = lambda n: 'no'", "another SHA-256", id="wrong-digest"),
        pytest.param("demo_servers.TunnelProxy.serve = demo_servers.Origin.serve", "refused CONNECT", id="no-tunnel"),
    ],
)
async def test_the_demo_fails_when_something_is_wrong(change: str, says: str) -> None:
    program = [sys.executable, "-W", "error", "-c", _BREAK.format(change=change)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    outcome = await finish(process)
    assert outcome.code == 3
    assert outcome.complaint.startswith("demo: ")
    assert says in outcome.complaint
    assert "All as it should be" not in shown(outcome)


# --- its servers ------------------------------------------------------------------------------------------------------


async def test_the_demos_servers_leave_nothing_behind_when_they_are_stopped_in_the_middle() -> None:
    async with demo_servers.DemoServers() as servers, Client(verify=servers.trust, trust_env=False) as client:
        url = f"https://127.0.0.1:{servers.secure.port}/download/1"
        async with client.stream("GET", url) as response:
            async for _ in response.iter_bytes():
                break
        # The rest is for the test's own sweep.


async def test_the_demos_proxy_opens_only_its_own_tunnel() -> None:
    async with demo_servers.DemoServers() as servers:
        proxy = f"http://127.0.0.1:{servers.proxy.port}"
        async with Client(proxy=proxy, verify=servers.trust) as client:
            with pytest.raises(ProxyError, match="403"):
                await client.get("https://elsewhere.example/")
        assert servers.proxy.tunnels == []
