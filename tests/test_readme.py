"""The examples of README and of every docstring run, as they stand, in a fresh interpreter with warnings as errors."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import examples
from tests.servers.origin import OriginServer, Reply
from tests.servers.proxy import ConnectProxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    import trustme

    from tests.servers.raw import Received

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SECONDS = 60

# Each example is a process of its own, with a loop of its own: which loop its servers run on makes no difference.
one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])


def readme_blocks() -> list[tuple[int, str]]:
    return examples.blocks(README.read_text(encoding="utf-8")) if README.exists() else []


def package_modules() -> list[str]:
    """The modules of the package that have examples."""
    paths = sorted((ROOT / "aiohttpconn").rglob("*.py"))
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if ">>> " in path.read_text("utf-8")
    ]
    return [name.removesuffix(".__init__") for name in names]


def anything(request: Received) -> Reply:
    """The answer to whatever an example asks for: a small JSON document."""
    document = {"path": request.path, "method": request.method, "items": [1, 2, 3]}
    return Reply(json.dumps(document).encode(), fields=[("Content-Type", "application/json")])


@dataclass
class Stage:
    """What the examples need: servers in the places that they name, and a directory to write into."""

    ports: dict[str, int]
    directory: Path
    ca_file: Path

    async def run(self, *arguments: str, source: str = "") -> tuple[int, str]:
        """Run `tests.examples`; its exit code (1 also if it complained on stderr), and what it printed."""
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        environment |= {
            examples.PORTS_VARIABLE: json.dumps(self.ports),
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": str(self.ca_file),
            "DASK_LOGGING__DISTRIBUTED": "error",  # it notes on stderr whatever its own connections end with
        }
        command = [sys.executable, "-W", "error", "-m", "tests.examples", *arguments]
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, complaints = await asyncio.wait_for(child.communicate(source.encode()), SECONDS)
        except TimeoutError:
            child.kill()
            await child.wait()
            pytest.fail(f"the example did not end within {SECONDS} s")
        assert child.returncode is not None
        # A warning in a finaliser, or what asyncio logs ('never retrieved'), is on stderr only.
        return child.returncode or (1 if complaints else 0), (output + complaints).decode()


@pytest.fixture
async def stage(tmp_path: Path, ca: trustme.CA, ca_file: Path, server_ctx: ssl.SSLContext) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(OriginServer())
        secure = await stack.enter_async_context(OriginServer(tls=server_ctx))
        proxy = await stack.enter_async_context(ConnectProxy())
        secure_proxy = await stack.enter_async_context(ConnectProxy(tls=server_ctx))
        for server in (plain, secure):
            assert isinstance(server, OriginServer)
            server.fallback = anything
        (tmp_path / "ca.pem").write_bytes(ca_file.read_bytes())
        (tmp_path / "client.pem").write_bytes(ca.issue_cert("me@example.org").private_key_and_cert_chain_pem.bytes())
        ports = {"8000": plain.port, "8443": secure.port, "3128": proxy.port, "3129": secure_proxy.port}
        yield Stage(ports, tmp_path, ca_file)


def test_readme_has_examples() -> None:
    assert readme_blocks(), "README.md has no Python block"


def test_readme_has_the_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert "python3 -m venv .venv && .venv/bin/pip install '.[cli]' && .venv/bin/aiohttpconn demo" in text
    assert "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest" in text


@pytest.mark.parametrize("block", [pytest.param(code, id=f"line-{line}") for line, code in readme_blocks()])
@one_loop
async def test_readme_block(stage: Stage, block: str) -> None:
    code, output = await stage.run("readme", source=block)
    assert code == 0, output


@pytest.mark.parametrize("module", package_modules())
@one_loop
async def test_docstrings(stage: Stage, module: str) -> None:
    code, output = await stage.run("doctest", module)
    assert code == 0, output


# --- the runner itself ------------------------------------------------------------------------------------------------


def test_blocks_are_found_with_their_lines() -> None:
    text = "# T\n\n```python\na = 1\nb = 2\n```\n\n```sh\nls\n```\n\n```python\nc\n```\n"
    assert examples.blocks(text) == [(4, "a = 1\nb = 2\n"), (13, "c\n")]


def test_ports_are_rewritten_where_examples_name_them() -> None:
    ports = {"8000": 1, "8443": 2, "3128": 3}
    assert examples.rewrite("http://localhost:8000/80008000", ports) == "http://localhost:1/80008000"
    assert examples.rewrite('C("localhost", 8443, x=8443)', ports) == 'C("localhost", 2, x=8443)'
    assert examples.rewrite("C('localhost', port=3128)", ports) == "C('localhost', port=3)"
    assert examples.rewrite("http://localhost:80001/", ports) == "http://localhost:80001/"


FETCH = """
import urllib.request
with urllib.request.urlopen("{url}/some/page") as response:
    assert b"/some/page" in response.read()
open("written", "w").close()
"""


@pytest.mark.parametrize("url", ["http://localhost:8000", "https://localhost:8443"])
@one_loop
async def test_a_block_reaches_the_servers_and_writes_into_its_own_directory(stage: Stage, url: str) -> None:
    code, output = await stage.run("readme", source=FETCH.format(url=url))
    assert (code, output) == (0, "")
    assert (stage.directory / "written").exists()


@pytest.mark.parametrize(
    "source",
    [
        "raise SystemExit(3)",
        "1 / 0",
        "import asyncio\nawait asyncio.sleep(0)\nassert False",
        "async def f(): pass\nf()",  # never awaited
        "import warnings\nwarnings.warn('x', DeprecationWarning)",
        "import asyncio\nasync def f(): 1 / 0\nt = asyncio.create_task(f())\nawait asyncio.sleep(0.01)\ndel t",
    ],
)
@one_loop
async def test_a_block_that_fails_is_noticed(stage: Stage, source: str) -> None:
    code, output = await stage.run("readme", source=source)
    assert code != 0, output


@one_loop
async def test_top_level_await_and_asyncio_run_both_work(stage: Stage) -> None:
    for source in ("import asyncio\nawait asyncio.sleep(0)", "import asyncio\nasyncio.run(asyncio.sleep(0))"):
        assert await stage.run("readme", source=source) == (0, "")


DOCUMENTED = '''
def good():
    """
    >>> import asyncio
    >>> async def two():
    ...     return 2
    >>> await two()
    2
    >>> int("x")
    Traceback (most recent call last):
    ValueError: invalid literal...
    >>> print("http://localhost:8000/")
    http://localhost:8000/
    """
'''


@one_loop
async def test_docstring_examples_may_await_and_are_compared(stage: Stage) -> None:
    (stage.directory / "documented.py").write_text(DOCUMENTED)
    assert await stage.run("doctest", "documented") == (0, "5 examples\n")
    mistakes = (("\n    2\n", "\n    3\n"), ("ValueError", "KeyError"), ("invalid literal...", "nothing"))
    for number, (right, wrong) in enumerate(mistakes):
        # A module of its own each time: one rewritten within the second at the same size is taken from its bytecode.
        (stage.directory / f"documented{number}.py").write_text(DOCUMENTED.replace(right, wrong))
        code, output = await stage.run("doctest", f"documented{number}")
        assert code == 1
        assert "expected" in output
