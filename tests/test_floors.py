"""The house's floors: imports point down or, without a circle, sideways. Read from the source, nothing is imported.

An import counts wherever it stands, in a function too. One under ``if TYPE_CHECKING`` must keep to the floors as well;
it only may close a circle within a floor, because it never happens.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "aiohttpconn"

FLOORS = (
    ("errors", "_version"),
    ("config", "flock", "headers", "secrets", "unix_socket", "url", "proxy", "messages"),
    ("wire",),
    ("net",),
    ("connection", "http1", "request_head", "upload", "response", "loan", "pace", "exchange"),
    ("lifetime", "pool", "transport", "waits"),
    ("client", "fetch", "download", "bulk", "politeness", "cache"),
    ("cli", "testing", "distributed", "har", "otel", "__init__", "__main__"),
)
"""From the ground up. A name stands for the module, or for the package and all that is in it."""

FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}

DOES_IO = {"asyncio", "socket", "ssl", "select", "selectors", "threading", "uvloop", "aiofiles"}
"""What the wire must do without."""


@dataclass(frozen=True)
class Import:
    """One import: of what, on which line, and whether only type checkers see it."""

    target: str
    line: int
    typing_only: bool


def modules_of(root: Path) -> dict[str, Path]:
    """The package's modules by dotted name, below `root`. A package goes by its own name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def floor_of(module: str) -> int | None:
    """The floor a module lives on; None for one that has no room in the house."""
    parts = module.split(".")
    return FLOOR_OF.get(parts[1] if len(parts) > 1 else "__init__")


def _is_typing_only(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


ImportNode = ast.Import | ast.ImportFrom | ast.Call


def _imports(node: ast.AST, typing_only: bool = False) -> Iterator[tuple[ImportNode, bool]]:
    """All nodes that import, with whether only type checkers see them."""
    if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_import_call(node):
        yield cast("ImportNode", node), typing_only
    elif isinstance(node, ast.If) and _is_typing_only(node.test):
        for child in node.body:
            yield from _imports(child, True)
        for child in node.orelse:
            yield from _imports(child, typing_only)
        return
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, typing_only)


def _is_import_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module"


def imports_of(module: str, path: Path, known: Mapping[str, Path]) -> list[Import]:
    """What a module imports: each name as the module that defines it, `known` telling submodules from other names."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node, typing_only in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call):
            targets = [
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
        else:
            source = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            targets = [name if name in known else source for name in names]
        found += [Import(target, node.lineno, typing_only) for target in dict.fromkeys(targets)]
    return found


def violations(root: Path) -> list[str]:
    """Everything below `root` that breaks the rules of the house, one line each."""
    known = modules_of(root)
    wrong = [f"{module}: has no floor in the house" for module in known if floor_of(module) is None]
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        here = floor_of(module)
        for item in imports_of(module, path, known):
            where = f"{path.relative_to(root)}:{item.line}: {module} imports {item.target}"
            if item.target.partition(".")[0] != PACKAGE:
                if module.startswith(f"{PACKAGE}.wire") and item.target.partition(".")[0] in DOES_IO:
                    wrong.append(f"{where}, and the wire does no I/O")
                continue
            if item.target not in known:
                wrong.append(f"{where}, which is not there")
                continue
            there = floor_of(item.target)
            if here is not None and there is not None and there > here:
                wrong.append(f"{where}, which is {there - here} floor(s) up")
            if not item.typing_only and item.target != module:
                graph.setdefault(module, set()).add(item.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append(f"circular import: {' -> '.join(reversed(error.args[1]))}")
    return wrong


def test_imports_point_down_and_in_no_circle() -> None:
    assert modules_of(ROOT), "there are no modules"
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        pytest.param({"errors": "from aiohttpconn.pool import Pool", "pool": ""}, "5 floor(s) up", id="up"),
        pytest.param({"errors": "def f():\n    from . import pool", "pool": ""}, "5 floor(s) up", id="up-lazily"),
        pytest.param({"net/tcp": "from ..pool import Pool", "pool": ""}, "2 floor(s) up", id="up-relative"),
        pytest.param(
            {"url": "if TYPE_CHECKING:\n    from aiohttpconn.pool import P", "pool": ""},
            "4 floor(s) up",
            id="up-for-types",
        ),
        pytest.param({"pool": "import aiohttpconn"}, "2 floor(s) up", id="the-package-itself-is-the-top"),
        pytest.param(
            {"net/tcp": "from aiohttpconn.net import tls", "net/tls": "from aiohttpconn.net import tcp"},
            "circular import",
            id="circle",
        ),
        pytest.param(
            {"net/tcp": "from aiohttpconn.net import tls", "net/tls": "def f():\n    import aiohttpconn.net.tcp"},
            "circular import",
            id="lazy-circle",
        ),
        pytest.param(
            {
                "net/tcp": "from . import tls",
                "net/tls": "import importlib\nimportlib.import_module('aiohttpconn.net.tcp')",
            },
            "circular import",
            id="circle-by-name",
        ),
        pytest.param({"wire/head": "def f():\n    import asyncio.streams"}, "no I/O", id="wire-with-asyncio"),
        pytest.param({"attic": ""}, "has no floor", id="unknown-module"),
        pytest.param({"pool": "from aiohttpconn.gone import x"}, "which is not there", id="missing-module"),
    ],
)
def test_a_breach_of_the_rules_is_found(tmp_path: Path, sources: dict[str, str], complaint: str) -> None:
    _build(tmp_path, sources)
    assert any(complaint in line for line in violations(tmp_path)), violations(tmp_path)


def test_what_the_rules_allow_is_not_complained_of(tmp_path: Path) -> None:
    sources = {
        "errors": "import asyncio",
        "wire/head": "from aiohttpconn.errors import E\nfrom aiohttpconn.wire import grammar",
        "wire/grammar": "import re",
        "connection": "from . import response, errors\nfrom .net import tcp",
        "response": "if TYPE_CHECKING:\n    from aiohttpconn.connection import C\nelse:\n    from .errors import E",
        "net/tcp": "def f():\n    from aiohttpconn.wire.head import x",
        "__init__": "from aiohttpconn.connection import C\nfrom aiohttpconn.pool import P",
        "pool": "from aiohttpconn.connection import C",
    }
    _build(tmp_path, sources)
    assert violations(tmp_path) == []


def _build(root: Path, sources: Mapping[str, str]) -> None:
    for name, text in {"__init__": "", **sources}.items():
        path = root / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.parent.name != PACKAGE:
            (path.parent / "__init__.py").touch()


def test_importing_the_package_loads_nothing_that_is_used_only_later() -> None:
    program = f"import sys, {PACKAGE}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    late = {"rich", "isal", "uvloop", "aiofiles", "brotli", "backports.zstd", "trustme", "httpx", "aiohttp", "aiodns"}
    late |= {
        f"{PACKAGE}.{name}"
        for name in ("net.lookups", "net.guard", "net.overrides", "net.address_book", "net.dns", "pool.audit")
    }
    late |= {"sqlite3"} | {f"{PACKAGE}.{name}" for name in ("bulk", "download", "fetch")}
    late |= {f"{PACKAGE}.{name}" for name in ("client.proxies", "client.digest", "wire.socks", "net.socks")}
    late |= {"protego", "hishel", "sqlite3", f"{PACKAGE}.politeness", f"{PACKAGE}.cache"}
    # What a plain GET does without: proxies, what is asked of a pool by hand, requests without a client.
    late |= {f"{PACKAGE}.{name}" for name in ("proxy", "client.environ", "client.oneshot", "client.cookie_checks")}
    late |= {f"{PACKAGE}.{name}" for name in ("pool.pooled_connection", "pool.stats")}
    late |= {"dataclasses", "json"}
    assert late & set(loaded.stdout.split()) == set()


def test_importing_the_package_compiles_few_patterns() -> None:
    """They were a tenth of what the import cost. What only errors, proxies or masked secrets need can wait: `re`
    compiles a pattern that is a text when it is first used, and keeps it."""
    program = f"""
import asyncio, collections.abc, re._compiler, ssl, sys
compiled, compile_pattern = [], re._compiler.compile
def counted(pattern, flags=0):
    frame = sys._getframe()
    while frame.f_globals["__name__"].partition(".")[0] in ("re", "__main__"):
        frame = frame.f_back
    compiled.append(frame.f_globals["__name__"])
    return compile_pattern(pattern, flags)
re._compiler.compile = counted
import {PACKAGE}
print(*(name for name in compiled if name.startswith({PACKAGE!r})))
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    allowed = {
        "client.client",
        "client.set_cookie",
        "headers",
        "request_head",
        "url",
        "wire.grammar",
        "wire.keep_alive",
    }
    assert set(found.stdout.split()) <= {f"{PACKAGE}.{name}" for name in allowed}
