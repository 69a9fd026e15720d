"""Runs the examples of README and of docstrings, each in a fresh interpreter, against servers that answer them.

Examples speak to ``http://localhost:8000``, ``https://localhost:8443`` and the proxies ``http://localhost:3128`` and
``https://localhost:3129``; the tests put the ports of their own servers in their place. ``await`` may stand at the top
level, as in ``python -m asyncio``.

    python -m tests.examples readme < block.py
    python -m tests.examples doctest aiohttpconn.config
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import json
import os
import re
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS_VARIABLE = "EXAMPLES_PORTS"
"""Environment variable: JSON of the ports in examples → the ports to use."""

TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(markdown: str) -> list[tuple[int, str]]:
    """The Python blocks of a Markdown text: (line of the first line of code, code)."""
    return [(markdown.count("\n", 0, match.start(1)) + 1, match[1]) for match in BLOCK.finditer(markdown)]


def rewrite(text: str, ports: Mapping[str, int]) -> str:
    """`text` with the ports of localhost that examples use replaced: in URLs, and as ``"localhost", 8000``."""
    for shown, used in ports.items():
        text = re.sub(rf"(localhost(?:\"|')?(?::|, ?(?:port=)?)){shown}\b", rf"\g<1>{used}", text)
    return text


def run_block(source: str, runner: asyncio.Runner, filename: str = "README.md") -> None:
    """Run one block in a namespace of its own."""
    _run(compile(source, filename, "exec", TOP_LEVEL_AWAIT), {"__name__": "__main__"}, runner)


def _run(code: types.CodeType, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    value = types.FunctionType(code, namespace)()
    if inspect.iscoroutine(value):
        runner.run(value)


def run_doctests(module: types.ModuleType, ports: Mapping[str, int]) -> tuple[int, list[str]]:
    """Run the docstrings' examples of a module: how many there are, and what is wrong with them."""
    count, wrong = 0, []
    for test in doctest.DocTestFinder().find(module):
        with asyncio.Runner() as runner:  # of a docstring, examples share the loop and the names
            for example in test.examples:
                count += 1
                complaint = _run_example(example, test, runner, ports)
                if complaint:
                    wrong.append(f"{test.name}, line {(test.lineno or 0) + example.lineno + 1}: {complaint}")
                    break
    return count, wrong


def _run_example(
    example: doctest.Example, test: doctest.DocTest, runner: asyncio.Runner, ports: Mapping[str, int]
) -> str | None:
    """What is wrong with one example; None if nothing is."""
    printed, raised = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            code = compile(rewrite(example.source, ports), test.name, "single", TOP_LEVEL_AWAIT)
            _run(code, test.globs, runner)
        except Exception as error:
            raised = error
    if raised is not None:
        if example.exc_msg is None:
            return "".join(traceback.format_exception(raised))
        got, want = "".join(traceback.format_exception_only(raised)), rewrite(example.exc_msg, ports)
        # The module's name in front of an error's is left out in examples, as it is in prose.
        got = re.sub(r"^[\w.]+\.(\w+(:|$))", r"\1", got)
        want = re.sub(r"^[\w.]+\.(\w+(:|$))", r"\1", want)
    else:
        got, want = printed.getvalue(), rewrite(example.want, ports)
    checker = doctest.OutputChecker()
    if checker.check_output(want, got, doctest.ELLIPSIS):
        return None
    return f"{example.source.strip()}\nexpected: {want}got: {got}"


def main(arguments: list[str]) -> int:
    ports = json.loads(os.environ.get(PORTS_VARIABLE, "{}"))
    if arguments[0] == "readme":
        with asyncio.Runner() as runner:
            run_block(rewrite(sys.stdin.read(), ports), runner)
        return 0
    count, wrong = run_doctests(importlib.import_module(arguments[1]), ports)
    print(f"{count} examples")
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
