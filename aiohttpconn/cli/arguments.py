"""The command line as a value."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from .exits import UsageError
from .network import (
    Network,
    Parser,
    add_body_options,
    add_network_options,
    add_other_options,
    add_request_options,
    body_of,
    network_of,
)
from .quantities import count

CONCURRENCY = 8

_EXAMPLES = """\
examples:
  aiohttpconn https://example.org/                      print a page
  aiohttpconn -o page.html https://example.org/         save it
  aiohttpconn -O https://example.org/{a,b,c}.iso        save three at once, with progress bars
  aiohttpconn -i -X PUT -H 'X-Kind: t' -d @in.json URL  send a file, show the answer's head too
  aiohttpconn -x http://proxy:3128 --cacert ca.pem URL  through a proxy, trusting a CA of one's own
  aiohttpconn download -s 8 https://example.org/a.iso   save it by 8 connections, resumed
  aiohttpconn map -i urls.txt -o out.jsonl              fetch a list, one line of JSON for each
  aiohttpconn bench https://example.org/ -c 64 -n 10000 how fast it answers
  aiohttpconn demo                                      see it at work; needs no network

exit codes: 0 fetched, 1 HTTP error status (with --fail), 2 usage, 3 no whole answer or not saved,
130 interrupted. With several URLs the highest of theirs.
"""


@dataclass(frozen=True, slots=True)
class Options(Network):
    """What the command line asks for.

    `output` is a path, ``"-"`` or None (both: standard output); `data` is the body as it is to be sent.
    """

    urls: tuple[str, ...]
    output: str | None = None
    remote_names: bool = False
    include_heads: bool = False
    method: str = "GET"
    data: bytes | None = None
    fail: bool = False
    concurrency: int = CONCURRENCY
    quiet: bool = False

    @property
    def saves(self) -> bool:
        """Whether bodies go to files, not to standard output."""
        return self.remote_names or self.output not in (None, "-")


def parse_arguments(argv: Sequence[str]) -> Options:
    """The options that `argv` (without the program's name) stands for.

    Reads the files that ``-d @FILE`` names. Raises `UsageError`; ``--help`` and ``--version`` print and raise
    SystemExit.
    """
    found = _parser().parse_intermixed_args(argv)
    urls = tuple(found.urls)
    if found.output is not None and len(urls) > 1:
        raise UsageError("-o is for one URL; use -O to save several under their own names")
    data = body_of(found)
    return Options(
        urls=urls,
        output=found.output,
        remote_names=found.remote_names,
        include_heads=found.include_heads,
        method=found.method or ("GET" if data is None else "POST"),
        data=data,
        fail=found.fail,
        concurrency=found.concurrency,
        quiet=found.quiet,
        **network_of(found),
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="aiohttpconn",
        usage="aiohttpconn [options] URL…\n       aiohttpconn download|map|bench --help\n       aiohttpconn demo",
        description="Fetch URLs: print their bodies in the order given, or save them; several at a time.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("urls", metavar="URL", nargs="+", help=argparse.SUPPRESS)

    answer = parser.add_argument_group("the answer")
    where = answer.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="FILE", help="save the body as FILE, once it is whole")
    where.add_argument(
        "-O", "--remote-name", dest="remote_names", action="store_true", help="save each under its URL's last segment"
    )
    answer.add_argument(
        "-i", "--include", dest="include_heads", action="store_true", help="put the response's head before its body"
    )
    answer.add_argument("-f", "--fail", action="store_true", help="no body and exit code 1 for a 4xx or 5xx")

    add_body_options(add_request_options(parser))
    way = add_network_options(parser)
    way.add_argument(
        "--concurrency", metavar="N", type=count, default=CONCURRENCY, help=f"URLs fetched at a time ({CONCURRENCY})"
    )

    add_other_options(parser)
    return parser
