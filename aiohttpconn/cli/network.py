"""What every command may be told of its requests and of the way there; and the client that comes of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .. import (
    BodyLengthMismatch,
    Client,
    HTTPException,
    HTTPStatusError,
    IncompleteRead,
    InvalidHeader,
    Limits,
    Timeout,
    TLSError,
)
from .._version import __version__
from ..config import UNSET, Unset
from ..errors import InvalidURL
from ..proxy import Proxy
from .exits import Exit, UsageError
from .quantities import seconds

if TYPE_CHECKING:
    from ..messages import Request

_FORM = ("Content-Type", b"application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """`timeout` is seconds, UNSET for the library's defaults; `proxy` is UNSET for the environment's, None for none;
    `cert` is the client's certificate and its key, None for one file with both."""

    headers: tuple[tuple[str, bytes], ...] = ()
    proxy: str | Unset | None = UNSET
    verify: bool | str = True
    cert: tuple[str, str | None] | None = None
    timeout: float | Unset = UNSET
    follow_redirects: bool = True


def make_client(network: Network, connections: int, **options: Any) -> Client:
    """The client for so many exchanges at a time. Raises `UsageError`."""
    try:
        return Client(
            headers=network.headers,
            timeout=Timeout.of(network.timeout).replace(pool=None),  # there are as many connections as exchanges
            limits=Limits(max_connections=max(100, connections)),
            proxy=network.proxy,
            verify=network.verify,
            cert=UNSET if network.cert is None else network.cert,
            follow_redirects=network.follow_redirects,
            **options,
        )
    except (TLSError, InvalidHeader) as error:
        raise UsageError(reason(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or error}") from error


def make_requests(client: Client, method: str, urls: Iterable[str], data: bytes | None = None) -> list[Request]:
    """The requests for the URLs of a command line. Raises `UsageError`."""
    try:
        return [client.build_request(method, url, content=data) for url in urls]
    except ValueError as error:  # InvalidURL and InvalidMethod are ones
        raise UsageError(reason(error)) from error


# --- the arguments ----------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`."""

    def __init__(self, *, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=100),
            add_help=False,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def add_request_options(parser: Parser) -> argparse._ArgumentGroup:
    """Fields and redirects."""
    request = parser.add_argument_group("the request")
    request.add_argument(
        "-H", "--header", dest="headers", metavar="FIELD", type=_header, action="append", default=[],
        help="add 'Name: value'; may be repeated",
    )  # fmt: skip
    request.add_argument(
        "--no-redirects", dest="follow_redirects", action="store_false", help="take a redirect for the answer"
    )
    return request


def add_body_options(request: argparse._ArgumentGroup) -> None:
    """Method and body."""
    request.add_argument("-X", "--request", dest="method", metavar="METHOD", help="GET, or POST with -d, unless given")
    request.add_argument(
        "-d", "--data", metavar="DATA", action="append",
        help="send DATA as it is, the content of @FILE, or standard input (@-); repeated ones are joined by &",
    )  # fmt: skip


def body_of(found: argparse.Namespace) -> bytes | None:
    """The body that the arguments ask for, None for none; a form unless the fields say otherwise. Reads the files that
    ``-d @FILE`` names. Raises `UsageError`."""
    if not found.data:
        return None
    if not any(name.lower() == "content-type" for name, _ in found.headers):
        found.headers = [*found.headers, _FORM]
    return b"&".join(map(_data, found.data))


def add_network_options(parser: Parser) -> argparse._ArgumentGroup:
    """Proxy, certificates, time."""
    way = parser.add_argument_group("the way there")
    way.add_argument(
        "-x", "--proxy", metavar="URL", help="go through this proxy (http, https, socks5h…); '' for none at all"
    )
    trust = way.add_mutually_exclusive_group()
    trust.add_argument("--cacert", metavar="FILE", help="trust the CA certificates in FILE, and no others")
    trust.add_argument("-k", "--insecure", action="store_true", help="do not verify certificates")
    way.add_argument("-E", "--cert", metavar="FILE", help="the client's certificate, in PEM; its key too, unless --key")
    way.add_argument("--key", metavar="FILE", help="the key of --cert")
    way.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="for a connection, and then for each sign of life",
    )
    return way


def add_other_options(parser: Parser) -> argparse._ArgumentGroup:
    """What is said, and --help."""
    rest = parser.add_argument_group("the rest")
    rest.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    rest.add_argument("-h", "--help", action="help", help="show this and exit")
    rest.add_argument("--version", action="version", version=f"aiohttpconn {__version__}", help="show it and exit")
    return rest


def network_of(found: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Network`, of what was parsed. Raises `UsageError`."""
    if found.key is not None and found.cert is None:
        raise UsageError("--key is that of --cert, which is missing")
    return {
        "headers": tuple(found.headers),
        "proxy": _proxy(found.proxy),
        "verify": False if found.insecure else found.cacert or True,
        "cert": None if found.cert is None else (found.cert, found.key),
        "timeout": UNSET if found.timeout is None else found.timeout,
        "follow_redirects": found.follow_redirects,
    }


def _header(text: str) -> tuple[str, bytes]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"a field is 'Name: value', not {text!r}")
    # Bytes: the value goes out as it was typed, in the terminal's charset.
    return name, os.fsencode(value.strip(" \t"))


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


# --- what goes wrong --------------------------------------------------------------------------------------------------


def reason(error: Exception) -> str:
    """Why, in one line; without the URL, which stands before it, and with the command's own names."""
    if isinstance(error, IncompleteRead):
        # Its own text counts what the caller was not given, and here everything was written.
        missing = "" if error.expected is None else f", {error.expected:,} bytes are missing"
        return f"the body ended early{missing}" + (f" ({error.why})" if error.why else "")
    if isinstance(error, HTTPException):
        # Without what was being done: that is the URL, which stands in front. And options have other names here.
        return error.describe().replace("pass verify= ", "pass --cacert ")
    if isinstance(error, FileExistsError):
        return f"{error.filename} is there already (--overwrite replaces it)"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot write {error.filename}: {error.strerror}"
    return f"cannot be saved: {error.strerror or error}" if isinstance(error, OSError) else str(error)


def complaint(asked: str, error: Exception) -> str:
    """What to say of a URL that failed."""
    text = f"{asked}: {reason(error)}"
    request = getattr(error, "request", None)
    if request is not None and (led := str(request.url.without_userinfo())) != asked:
        text += f" (redirected to {led})"
    return text


def exit_of(error: Exception) -> Exit:
    """The exit that an error of one URL comes to."""
    if isinstance(error, HTTPStatusError):
        return Exit.HTTP_ERROR
    if isinstance(error, (InvalidHeader, BodyLengthMismatch)):
        return Exit.USAGE
    return Exit.FAILED
