"""``aiohttpconn download``: files saved by `Client.download_all`, gone on with when they were broken off."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import URL, Download, DownloadResult, InvalidURL
from ..download.part_file import PartFile
from ..download.progress import Progress
from ..url import without_password
from .download_list import PASSED_OVER, Item, checksum, item_of, listed_files, segments
from .exits import Exit, Interrupted, UsageError
from .lists import LineList
from .network import (
    Network,
    Parser,
    add_network_options,
    add_other_options,
    add_request_options,
    complaint,
    exit_of,
    make_client,
    make_requests,
    network_of,
)
from .progress import Meter, Report, came, complain, human_size
from .quantities import count, count_or_none, size
from .report import report_of

CONCURRENCY = 8

_EPILOG = """\
A file on its way is called NAME.part, beside which NAME.part.jsonl says what it is of. Whatever
broke off, or was interrupted or killed, is gone on with by the same command. Files that are
complete are not fetched again as long as their size and time of last change are those that the
server states.

the list (-i): a URL a line, further URLs of the same file (mirrors) after it, between tabs. As for
aria2c, indented lines below it are of that file: out=NAME, dir=FOLDER (in place of -d),
checksum=sha-256=HEX, header=NAME: VALUE, split=SEGMENTS. Options of aria2 that do not change what
is fetched, or where it goes, are passed over, and a file with another one refused. Blank lines, and
those that begin with #, count for nothing.

exit codes: 0 all files are there, 1 HTTP error status, 2 usage, 3 not whole, not as the checksum
says, or not saved, 130 interrupted. With several files the highest of theirs.
"""


@dataclass(frozen=True, slots=True)
class DownloadOptions(Network):
    """What the command line asks for. `list` is a path, ``"-"`` for standard input."""

    urls: tuple[str, ...] = ()
    list: str | None = None
    output: str | None = None
    directory: str | None = None
    segments: int | str = 1
    checksum: str | None = None
    mirrors: tuple[str, ...] = ()
    limit_rate: int | None = None
    concurrency: int = CONCURRENCY
    repairs: int = 5
    resume: bool = True
    overwrite: bool | None = None
    fsync: bool = False
    quiet: bool = False


def parse_arguments(argv: Sequence[str]) -> DownloadOptions:
    """The options that `argv` stands for. Raises `UsageError`; ``--help`` prints and raises SystemExit."""
    found = _parser().parse_intermixed_args(argv)
    urls = tuple(found.urls)
    if not urls and found.list is None:
        raise UsageError("what is to be downloaded? A URL, or -i FILE with a list of them")
    if len(urls) != 1 or found.list is not None:
        for name in ("output", "checksum", "mirrors"):
            if getattr(found, name):
                raise UsageError(f"{_NAMES[name]} is for one URL")
    if found.output == "-":
        raise UsageError("-o -: a download is a file; aiohttpconn -o - URL prints, and -o ./- is a file of that name")
    return DownloadOptions(
        urls=urls,
        list=found.list,
        output=found.output,
        directory=found.directory,
        segments=found.segments,
        checksum=found.checksum,
        mirrors=tuple(found.mirrors),
        limit_rate=found.limit_rate,
        concurrency=found.concurrency,
        repairs=found.repairs,
        resume=found.resume,
        overwrite=found.overwrite,
        fsync=found.fsync,
        quiet=found.quiet,
        **network_of(found),
    )


_NAMES = {"output": "-o", "checksum": "--checksum", "mirrors": "--mirror"}


def _parser() -> Parser:
    parser = Parser(
        prog="aiohttpconn download",
        usage="aiohttpconn download [options] URL…\n       aiohttpconn download [options] -i FILE",
        description="Save files: whole or not at all, several at a time, gone on with when they break off.",
        epilog=_EPILOG,
    )
    parser.add_argument("urls", metavar="URL", nargs="*", help=argparse.SUPPRESS)

    files = parser.add_argument_group("the files")
    files.add_argument(
        "-i", "--input", dest="list", metavar="FILE", help="take URLs from this list; - for standard input"
    )
    files.add_argument("-o", "--output", metavar="FILE", help="save the one URL as FILE")
    files.add_argument("-d", "--directory", metavar="DIR", help="save in DIR, which is made if need be")
    files.add_argument(
        "--checksum", metavar="ALGORITHM:HEX", type=checksum, help="what the one file must have, as sha256:…"
    )
    files.add_argument(
        "--mirror", dest="mirrors", metavar="URL", action="append", default=[], help="another URL of the one file"
    )
    files.add_argument(
        "-c", "--resume", action=argparse.BooleanOptionalAction, default=True,
        help="go on with what an earlier run left (it does unless told not to)",
    )  # fmt: skip
    files.add_argument(
        "--overwrite", action=argparse.BooleanOptionalAction, default=None,
        help="replace files that are there; without either, only what -o or out= names",
    )  # fmt: skip
    files.add_argument("--fsync", action="store_true", help="have them on the disk at the end")

    speed = parser.add_argument_group("how fast")
    speed.add_argument(
        "-s", "--segments", metavar="N", type=segments, default=1, help="connections for each file, or auto (1)"
    )
    speed.add_argument(
        "-j", "--concurrency", metavar="N", type=count, default=CONCURRENCY, help=f"files at a time ({CONCURRENCY})"
    )
    speed.add_argument("--limit-rate", metavar="RATE", type=size, help="bytes per second in all, as 500K or 5M")
    speed.add_argument(
        "--retries", dest="repairs", metavar="N", type=count_or_none, default=5,
        help="failures in a row, with no byte between, that are borne (5)",
    )  # fmt: skip

    add_request_options(parser)
    add_network_options(parser)
    add_other_options(parser)
    return parser


# --- the work ---------------------------------------------------------------------------------------------------------


async def download(options: DownloadOptions) -> Exit:
    """Save all files; the highest exit of theirs. Raises `UsageError` before anything is sent, and `Interrupted`."""
    listed = None if options.list is None else LineList(options.list)
    if options.directory is not None:
        try:
            await asyncio.to_thread(os.makedirs, options.directory, exist_ok=True)
        except OSError as error:
            raise UsageError(f"-d {options.directory}: {error.strerror or error}") from error
    connections = options.concurrency * (8 if isinstance(options.segments, str) else options.segments)
    async with make_client(options, connections) as client:
        make_requests(client, "GET", (*options.urls, *options.mirrors))
        with report_of(bars=True, quiet=options.quiet) as report:
            run = _Run(options, report)
            try:
                await client.download_all(
                    run.items(listed),
                    directory=options.directory,
                    concurrency=options.concurrency,
                    segments=options.segments,
                    resume=options.resume,
                    overwrite=options.overwrite,
                    fsync=options.fsync,
                    repairs=options.repairs,
                    limit_rate=options.limit_rate,
                    on_result=run.ended,
                )
            except asyncio.CancelledError:
                raise Interrupted(run.kept()) from None
            except OSError as error:  # the list cannot be read: what a file comes to is its result
                raise UsageError(f"-i {options.list}: {error}") from error
    if run.passed_over and not options.quiet:
        names = ", ".join(f"{name}=" for name in sorted(run.passed_over))
        complain(f"-i {options.list}: passed over, as not of what is fetched, or where it goes: {names}")
    return run.worst


class _Run:
    """What has come of the files so far."""

    def __init__(self, options: DownloadOptions, report: Report) -> None:
        self.worst = Exit.OK
        self.passed_over: set[str] = set()
        self._options = options
        self._report = report
        self._meters: dict[str, dict[str, Meter]] = {}  # by URL and path: of what is on its way
        self._saved = 0

    async def items(self, listed: LineList | None) -> AsyncIterator[Item]:
        """What `download_all` is to do."""
        options = self._options
        for url in options.urls:
            own: dict[str, Any] = {"mirrors": options.mirrors} if options.mirrors else {}
            if options.checksum is not None:
                own["checksum"] = options.checksum
            yield self._watched(url, options.output, own)
        if listed is not None:
            async for urls, own in listed_files(listed.lines_as_they_come()):
                self.passed_over |= own.keys() & PASSED_OVER
                try:
                    item = item_of(urls, own)
                except (ValueError, argparse.ArgumentTypeError) as error:
                    self.ended(DownloadResult(urls[0], None, None, error))
                else:
                    yield self._watched(*item)

    def _watched(self, url: str, path: str | None, own: dict[str, Any]) -> Item:
        return url, path, {**own, "on_progress": lambda progress: self._moved(url, progress)}

    def _moved(self, url: str, progress: Progress) -> None:
        meters = self._meters.setdefault(url, {})
        meter = meters.get(progress.path)
        if meter is None:
            meter = Meter(self._report, os.path.basename(progress.path), progress.total, progress.done)
            meters[progress.path] = meter
            self._report.begun(meter)
        meter.total = progress.total
        meter.advance(progress.done - meter.size)

    def ended(self, result: DownloadResult) -> None:
        """A file is there, or has failed."""
        error = result.error
        for path, meter in list(self._meters.get(result.url, {}).items()):
            if error is not None or path == str(result.path):
                self._report.ended(meter)
                del self._meters[result.url][path]
        if not self._meters.get(result.url):
            self._meters.pop(result.url, None)
        if error is None:
            self._saved += 1
            download = result.unwrap()
            self._report.saved(_near(str(download.path)), _summary(download))
            return
        notes = getattr(error, "__notes__", ())
        kept = "".join(f" ({_of_command(note)})" for note in notes)
        self._report.failed(complaint(_shown(result.url), error) + kept)
        self.worst = max(self.worst, exit_of(error))

    def kept(self) -> str:
        """What is left after an interruption, and how to go on."""
        whole = f"{self._saved:,} file{'' if self._saved == 1 else 's'} complete"
        parts = [PartFile(path).part for meters in self._meters.values() for path in meters]
        names = [_near(part) for part in parts if os.path.exists(part)]
        if not names:
            return f"{whole}; the same command fetches what is missing"
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        return f"{whole}, {names[0]}{more} kept; the same command goes on from there"


def _of_command(note: str) -> str:
    """What the library says of a call, said of the command."""
    return note.replace("the same download", "the same command").replace("resume=False", "--no-resume")


def _near(path: str) -> str:
    """The path as a user would write it: relative if it is below the current folder."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        return path
    return path if relative.startswith(os.pardir) else relative


def _shown(url: str) -> str:
    """The URL as it may be shown, without what it says of a user."""
    try:
        return str(URL(url).without_userinfo())
    except InvalidURL:
        return without_password(url)


def _summary(download: Download) -> str:
    text = came(download.fetched, download.elapsed)
    if download.resumed_from >= download.size and not download.fetched:
        text = f"{human_size(download.size)}, was there already"
    elif download.resumed_from:
        text += f", after {human_size(download.resumed_from)} of an earlier run"
    return text + "".join(f", {digest.partition(':')[0]} verified" for digest in download.verified)
