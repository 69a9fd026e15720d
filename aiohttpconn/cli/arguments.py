"""The command line as a value."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from .._version import __version__
from ..config import UNSET, Unset
from ..errors import InvalidURL
from ..proxy import Proxy
from .exits import UsageError

CONCURRENCY = 8
_FORM = ("Content-Type", b"application/x-www-form-urlencoded")

_EXAMPLES = """\
examples:
  aiohttpconn https://example.org/                      print a page
  aiohttpconn -o page.html https://example.org/         save it
  aiohttpconn -O https://example.org/{a,b,c}.iso        save three at once, with progress bars
  aiohttpconn -i -X PUT -H 'X-Kind: t' -d @in.json URL  send a file, show the answer's head too
  aiohttpconn -x http://proxy:3128 --cacert ca.pem URL  through a proxy, trusting a CA of one's own
  aiohttpconn demo                                      see it at work; needs no network

exit codes: 0 fetched, 1 HTTP error status (with --fail), 2 usage, 3 no whole answer or not saved,
130 interrupted. With several URLs the highest of theirs.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for.

    `output` is a path, ``"-"`` or None (both: standard output); `data` is the body as it is to be sent; `timeout` is
    seconds, UNSET for the library's defaults; `proxy` is UNSET for the environment's, None for none.
    """

    urls: tuple[str, ...]
    output: str | None = None
    remote_names: bool = False
    include_heads: bool = False
    method: str = "GET"
    headers: tuple[tuple[str, bytes], ...] = ()
    data: bytes | None = None
    proxy: str | Unset | None = UNSET
    verify: bool | str = True
    timeout: float | Unset = UNSET
    fail: bool = False
    follow_redirects: bool = True
    concurrency: int = CONCURRENCY
    quiet: bool = False

    @property
    def saves(self) -> bool:
        """Whether bodies go to files, not to standard output."""
        return self.remote_names or self.output not in (None, "-")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse_arguments(argv: Sequence[str]) -> Options:
    """The options that `argv` (without the program's name) stands for.

    Reads the files that ``-d @FILE`` names. Raises `UsageError`; ``--help`` and ``--version`` print and raise
    SystemExit.
    """
    found = _parser().parse_intermixed_args(argv)
    urls = tuple(found.urls)
    if found.output is not None and len(urls) > 1:
        raise UsageError("-o is for one URL; use -O to save several under their own names")
    headers = tuple(found.headers)
    data = b"&".join(map(_data, found.data)) if found.data else None
    if data is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, _FORM)
    return Options(
        urls=urls,
        output=found.output,
        remote_names=found.remote_names,
        include_heads=found.include_heads,
        method=found.method or ("GET" if data is None else "POST"),
        headers=headers,
        data=data,
        proxy=_proxy(found.proxy),
        verify=False if found.insecure else found.cacert or True,
        timeout=UNSET if found.timeout is None else found.timeout,
        fail=found.fail,
        follow_redirects=found.follow_redirects,
        concurrency=found.concurrency,
        quiet=found.quiet,
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aiohttpconn",
        usage="aiohttpconn [options] URL…\n       aiohttpconn demo",
        description="Fetch URLs: print their bodies in the order given, or save them; several at a time.",
        epilog=_EXAMPLES,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=100),
        add_help=False,
        allow_abbrev=False,
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
    answer.add_argument(
        "--no-redirects", dest="follow_redirects", action="store_false", help="show a redirect, do not follow it"
    )

    request = parser.add_argument_group("the request")
    request.add_argument("-X", "--request", dest="method", metavar="METHOD", help="GET, or POST with -d, unless given")
    request.add_argument(
        "-H", "--header", dest="headers", metavar="FIELD", type=_header, action="append", default=[],
        help="add 'Name: value'; may be repeated",
    )  # fmt: skip
    request.add_argument(
        "-d", "--data", metavar="DATA", action="append",
        help="send DATA as it is, the content of @FILE, or standard input (@-); repeated ones are joined by &",
    )  # fmt: skip

    way = parser.add_argument_group("the way there")
    way.add_argument(
        "-x", "--proxy", metavar="URL", help="go through this proxy (http, https, socks5h…); '' for none at all"
    )
    trust = way.add_mutually_exclusive_group()
    trust.add_argument("--cacert", metavar="FILE", help="trust the CA certificates in FILE, and no others")
    trust.add_argument("-k", "--insecure", action="store_true", help="do not verify certificates")
    way.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="for a connection, and then for each sign of life",
    )
    way.add_argument(
        "--concurrency", metavar="N", type=_count, default=CONCURRENCY, help=f"URLs fetched at a time ({CONCURRENCY})"
    )

    rest = parser.add_argument_group("the rest")
    rest.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    rest.add_argument("-h", "--help", action="help", help="show this and exit")
    rest.add_argument("--version", action="version", version=f"aiohttpconn {__version__}", help="show it and exit")
    return parser


def _header(text: str) -> tuple[str, bytes]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"a field is 'Name: value', not {text!r}")
    # Bytes: the value goes out as it was typed, in the terminal's charset.
    return name, os.fsencode(value.strip(" \t"))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number of seconds is wanted, not {text!r}")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is wanted, not {text!r}")
    return int(text)


def _data(text: str) -> bytes:
    if not text.startswith("@"):
        return os.fsencode(text)
    name = text[1:]
    try:
        if name == "-":
            return sys.stdin.buffer.read()
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"-d {text}: {error.strerror or error}") from error


def _proxy(text: str | None) -> str | Unset | None:
    if text is None:
        return UNSET
    if not text:
        return None
    url = text if "://" in text else f"http://{text}"
    try:
        Proxy.of(url)
    except InvalidURL as error:
        raise UsageError(f"-x: {error.describe()}") from error
    return url
