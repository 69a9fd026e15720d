"""Fetch what the command line asks for: several URLs at a time, each into its output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .. import (
    BodyLengthMismatch,
    Client,
    HTTPException,
    HTTPStatusError,
    IncompleteRead,
    InvalidHeader,
    Limits,
    Request,
    Response,
    Timeout,
    TLSError,
)
from .exits import Exit, UsageError
from .filenames import distinct, file_name
from .output import OrderedOutput, Output
from .progress import Meter, Report

if TYPE_CHECKING:
    from .arguments import Options


async def fetch(options: Options) -> Exit:
    """Fetch all URLs; the highest exit of theirs.

    Raises `UsageError` before anything is sent, `StandardOutputError` when there is nowhere to print to.
    """
    try:
        client = Client(
            headers=options.headers,
            timeout=Timeout.of(options.timeout).replace(pool=None),  # there are as many connections as fetches
            limits=Limits(max_connections=max(100, options.concurrency)),
            proxy=options.proxy,
            verify=options.verify,
            follow_redirects=options.follow_redirects,
        )
    except (TLSError, InvalidHeader) as error:
        raise UsageError(_why(error)) from error
    async with client:
        try:
            requests = [client.build_request(options.method, url, content=options.data) for url in options.urls]
        except ValueError as error:  # InvalidURL and InvalidMethod are ones
            raise UsageError(_why(error)) from error
        with _report(saves=options.saves, quiet=options.quiet) as report:
            return await _Run(options, client, report, requests).run()


def _report(*, saves: bool, quiet: bool) -> Report:
    """Bars where files are saved, somebody watches and rich is there; else lines."""
    if saves and not quiet and sys.stderr is not None and sys.stderr.isatty():
        try:
            from .bars import BarReport  # noqa: PLC0415 - it loads rich (50 ms) and needs the extra "cli"
        except ImportError:
            return Report()  # lines do as well
        return BarReport()
    return Report(quiet=quiet)


class _Run:
    """The requests in their order, and where their bodies go: to `_ordered`, or to files called `_names`."""

    def __init__(self, options: Options, client: Client, report: Report, requests: list[Request]) -> None:
        self._options = options
        self._client = client
        self._report = report
        self._requests = requests
        self._worst = Exit.OK
        self._names: list[str] = []
        self._ordered: OrderedOutput | None = None
        if options.remote_names:
            self._names = distinct(file_name(request.url) for request in requests)
        elif options.saves:
            self._names = [str(options.output)]
        else:
            self._ordered = OrderedOutput(len(requests))

    async def run(self) -> Exit:
        """Fetch them all, `concurrency` at a time."""
        count = len(self._requests)
        numbers = iter(range(count))  # shared: they are begun in their order
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._ordered is not None:
                    tasks.create_task(self._ordered.run())
                for _ in range(min(self._options.concurrency, count)):
                    tasks.create_task(self._work(numbers))
        except ExceptionGroup as group:
            first = group.exceptions[0]
        else:
            return self._worst
        raise first

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            try:
                await self._fetch(number)
            except HTTPStatusError as error:
                self._failed(number, error, Exit.HTTP_ERROR)
            except (InvalidHeader, BodyLengthMismatch) as error:
                self._failed(number, error, Exit.USAGE)
            except (HTTPException, OSError) as error:
                self._failed(number, error, Exit.FAILED)
            finally:
                if self._ordered is not None:
                    self._ordered.finish(number)

    def _failed(self, number: int, error: HTTPException | OSError, code: Exit) -> None:
        asked = self._requests[number].url.without_userinfo()
        text = f"{asked}: {_why(error)}"
        request = getattr(error, "request", None)
        if request is not None and (led := request.url.without_userinfo()) != asked:
            text += f" (redirected to {led})"
        self._report.failed(text)
        self._worst = max(self._worst, code)

    async def _fetch(self, number: int) -> None:
        response = await self._client.send(self._requests[number], stream=True)
        try:
            if self._options.fail:
                response.raise_for_status()
            if self._ordered is not None:
                async with self._ordered.part(number) as output:
                    await self._copy(response, output)
                return
            from .files import file_output  # noqa: PLC0415 - it loads aiofiles (10 ms)

            name = self._names[number]
            with Meter(self._report, name, _size(response)) as meter:
                async with file_output(name) as output:
                    await self._copy(response, output, meter.advance)
        finally:
            await response.close()

    async def _copy(self, response: Response, output: Output, count: Callable[[int], None] | None = None) -> None:
        if self._options.include_heads:
            for answer in (*response.history, response):
                await output.write(_head(answer))
        async for piece in response.iter_bytes():
            await output.write(piece)
            if count is not None:
                count(len(piece))


def _head(response: Response) -> bytes:
    """Status line and fields, as they are written on the wire."""
    lines = [f"{response.http_version} {response.status} {response.reason}".rstrip()]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _size(response: Response) -> int | None:
    """How many bytes will be saved, as far as the head tells."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() and "Content-Encoding" not in response.headers else None


def _why(error: Exception) -> str:
    if isinstance(error, IncompleteRead):
        # Its own text counts what the caller was not given, and here everything was written.
        missing = "" if error.expected is None else f", {error.expected:,} bytes are missing"
        return f"the body ended early{missing}" + (f" ({error.why})" if error.why else "")
    if isinstance(error, HTTPException):
        # Without what was being done: that is the URL, which stands in front. And options have other names here.
        return error.describe().replace("pass verify= ", "pass --cacert ")
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot write {error.filename}: {error.strerror}"
    return f"cannot be saved: {error.strerror or error}" if isinstance(error, OSError) else str(error)
