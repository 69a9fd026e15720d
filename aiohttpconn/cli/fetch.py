"""Fetch what the command line asks for: several URLs at a time, each into its output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .. import Client, HTTPException, Request, Response
from .exits import Exit
from .network import complaint, exit_of, make_client, make_requests
from .output import OrderedOutput, Output
from .progress import Meter, Report
from .report import report_of

if TYPE_CHECKING:
    from .arguments import Options


async def fetch(options: Options) -> Exit:
    """Fetch all URLs; the highest exit of theirs.

    Raises `UsageError` before anything is sent, `StandardOutputError` when there is nowhere to print to.
    """
    async with make_client(options, options.concurrency) as client:
        requests = make_requests(client, options.method, options.urls, options.data)
        with report_of(bars=options.saves, quiet=options.quiet) as report:
            return await _Run(options, client, report, requests).run()


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
        if options.saves:
            # Only for who saves; and now: loading it (a fifth of the start) would hold up the first body.
            from .files import file_output  # noqa: PLC0415

            self._file_output = file_output
        if options.remote_names:
            from ..download.file_name import url_name  # noqa: PLC0415 - the same
            from .filenames import distinct  # noqa: PLC0415

            self._names = distinct(url_name(request.url) for request in requests)
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
            except (HTTPException, OSError) as error:
                self._failed(number, error)
            finally:
                if self._ordered is not None:
                    self._ordered.finish(number)

    def _failed(self, number: int, error: HTTPException | OSError) -> None:
        self._report.failed(complaint(str(self._requests[number].url.without_userinfo()), error))
        self._worst = max(self._worst, exit_of(error))

    async def _fetch(self, number: int) -> None:
        response = await self._client.send(self._requests[number], stream=True)
        try:
            if self._options.fail:
                response.raise_for_status()
            if self._ordered is not None:
                async with self._ordered.part(number) as output:
                    await self._copy(response, output)
                return
            name = self._names[number]
            with Meter(self._report, name, _size(response)) as meter:
                async with self._file_output(name) as output:
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
