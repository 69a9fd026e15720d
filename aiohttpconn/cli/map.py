"""``aiohttpconn map``: a list of URLs fetched by `Client.map`, one line of JSON for each."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from time import monotonic
from typing import Any

from .. import AdaptiveThrottle, Client, RateLimit, Response, RobotsTxt
from ..bulk.file_lock import FileLock
from ..bulk.result import MapResult
from .exits import Exit, Interrupted, UsageError
from .lists import LineList
from .network import (
    Network,
    Parser,
    add_network_options,
    add_other_options,
    add_request_options,
    make_client,
    make_requests,
    network_of,
)
from .progress import complain
from .quantities import count, count_or_none, rate, size
from .records import Folder, RecordFile, RecordPipe, open_records, record_of
from .ticker import shown

CONCURRENCY = 100
PER_HOST = 8
MAX_BODY = 16 << 20
_OF_DATABASE = ("", "-wal", "-shm", "-journal")
_OF_CHECKPOINT = (*_OF_DATABASE, ".lock")
"""How the names of its files end."""
_OF_DESCRIPTORS = ("/dev/std", "/dev/fd/", "/proc/")
"""How the names of what is open already begin, of whatever kind it is."""

_EPILOG = """\
a line: {"url", as in the list, "status", "location", where redirects led to, "type", "size", of
the body, "seconds", from the request to the head} or {"url", "error", "message"}. They come as they
are done, not in the order of the list.

With -o the file remembers what is finished (FILE.checkpoint) until all of it is: a run that was
interrupted, or killed, is gone on with by the same command, and what came to an error is tried
again. Given a --checkpoint, any further run goes on, and adds to FILE. (After a crash the last
lines may come twice.)

exit codes: 0 all were answered, 1 some with 4xx or 5xx (with --fail), 2 usage, 3 some not at all,
130 interrupted.
"""


@dataclass(frozen=True, slots=True)
class MapOptions(Network):
    """What the command line asks for. `list` and `output` are paths, or ``"-"``."""

    list: str = "-"
    output: str = "-"
    concurrency: int = CONCURRENCY
    per_host: int = PER_HOST
    rate: tuple[float, float] | None = None
    robots: bool = False
    throttle: bool = False
    checkpoint: str | None = None
    resume: bool = True
    method: str = "GET"
    body: bool = False
    head: bool = False
    save_dir: str | None = None
    max_body: int = MAX_BODY
    retries: int = 0
    fail: bool = False
    quiet: bool = False

    @property
    def saves(self) -> bool:
        """Whether lines go to a file that can be gone on with: one of a name, and not what the shell has opened."""
        if self.output == "-" or os.path.abspath(self.output).startswith(_OF_DESCRIPTORS):
            return False
        return os.path.isfile(self.output) or not os.path.exists(self.output)


def parse_arguments(argv: Sequence[str]) -> MapOptions:
    """The options that `argv` stands for. Raises `UsageError`; ``--help`` prints and raises SystemExit."""
    found = _parser().parse_args(argv)
    network = network_of(found)
    names = {field.name for field in fields(MapOptions)} - network.keys()
    return MapOptions(**{name: getattr(found, name) for name in names}, **network)


def _parser() -> Parser:
    parser = Parser(
        prog="aiohttpconn map",
        usage="aiohttpconn map [options] -i FILE [-o FILE]",
        description="Fetch the URLs of a list, many at a time; write a line of JSON for each.",
        epilog=_EPILOG,
    )
    files = parser.add_argument_group("what comes and goes")
    files.add_argument(
        "-i", "--input", dest="list", metavar="FILE", default="-", help="the list, a URL a line (standard input)"
    )
    files.add_argument("-o", "--output", metavar="FILE", default="-", help="the lines of JSON (standard output)")
    files.add_argument("--body", action="store_true", help='put the body in the line: "body", or "base64" if no text')
    files.add_argument("--head", action="store_true", help='put the fields in the line: "headers", as pairs')
    files.add_argument("--save-dir", metavar="DIR", help='save bodies as files in DIR: "file" names them')
    files.add_argument("--checkpoint", metavar="FILE", help="remember in FILE what is finished, for all further runs")
    files.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True,
        help="go on with what an earlier run left (it does unless told not to)",
    )  # fmt: skip
    files.add_argument("-f", "--fail", action="store_true", help="exit code 1 if there was a 4xx or 5xx")

    speed = parser.add_argument_group("how fast")
    speed.add_argument(
        "-j", "--concurrency", metavar="N", type=count, default=CONCURRENCY, help=f"at a time in all ({CONCURRENCY})"
    )
    speed.add_argument(
        "--per-host", metavar="N", type=count, default=PER_HOST, help=f"at a time to one host ({PER_HOST})"
    )
    speed.add_argument("--rate", metavar="N", type=rate, help="requests a second to one host, as 10 or 100/m")
    speed.add_argument("--throttle", action="store_true", help="send less to a host that answers 429 or 503, or slowly")
    speed.add_argument("--robots", action="store_true", help="keep to robots.txt, for the User-Agent that is sent")

    request = add_request_options(parser)
    request.add_argument("-X", "--request", dest="method", metavar="METHOD", default="GET", help="GET, unless given")
    request.add_argument(
        "--max-body", metavar="SIZE", type=size, default=MAX_BODY, help="larger bodies are errors (16M)"
    )
    request.add_argument(
        "--retries", metavar="N", type=count_or_none, default=0, help="further attempts for what fails (0)"
    )
    add_network_options(parser)
    add_other_options(parser)
    return parser


# --- the work ---------------------------------------------------------------------------------------------------------


async def map_list(options: MapOptions) -> Exit:
    """Fetch the list. Raises `UsageError` before anything is sent, `Interrupted`, and `StandardOutputError`."""
    checkpoint = options.checkpoint
    if checkpoint is None and options.saves:
        checkpoint = f"{options.output}.checkpoint"
    folder = None if options.save_dir is None else Folder(options.save_dir)
    client = make_client(
        options,
        options.concurrency,
        politeness=_rules(options),
        max_body=options.max_body,
        retries=options.retries or None,
    )
    async with client:
        make_requests(client, options.method, ["http://localhost/"])  # the method may be none
        listed = LineList(options.list)
        run = _Run(options, listed)
        _check_files(options, listed, checkpoint)
        try:
            async with AsyncExitStack() as stack:
                with _held(checkpoint):  # neither it nor the lines of a run that goes on are begun anew
                    append = _goes_on(options, checkpoint)
                    records = await stack.enter_async_context(open_records(options.output, append=append))
                async with shown(run, quiet=options.quiet):
                    await run.run(client, records, folder, checkpoint)
        except asyncio.CancelledError:
            raise Interrupted(run.kept(checkpoint)) from None
        except OSError as error:  # of the checkpoint, the list, or a line to be written: the rest are results
            said = str(error) if error.errno is None else f"{error.filename or options.output}: {error.strerror}"
            complain(said)
            return Exit.FAILED
        if checkpoint is not None and options.checkpoint is None:
            with suppress(BlockingIOError), _held(checkpoint):  # another run that has it by now removes it
                _remove(checkpoint)
    if not options.quiet:
        complain(run.summary())
    return run.exit


def _rules(options: MapOptions) -> list[Any]:
    rules: list[Any] = []
    if options.robots:
        try:
            rules.append(RobotsTxt())
        except ImportError as error:
            raise UsageError(f"--robots: {error}") from error
    if options.rate is not None:
        rules.append(RateLimit(options.rate[0], per=options.rate[1]))
    if options.throttle:
        rules.append(AdaptiveThrottle(limit=options.per_host))
    return rules


def _check_files(options: MapOptions, listed: LineList, checkpoint: str | None) -> None:
    """Raises `UsageError` for a file with two parts to play: one of them would make away with the other."""
    output = 1 if options.output == "-" else options.output
    if _is_same(listed.descriptor, output):
        raise UsageError(f"-o {options.output}: the lines of JSON would go into the list itself")
    for ending in () if checkpoint is None else _OF_CHECKPOINT:
        path = f"{checkpoint}{ending}"
        for part, other in (("the list itself", listed.descriptor), (f"-o {options.output}", output)):
            if _is_same(other, path):
                raise UsageError(f"{path} is of the checkpoint, and {part}")


def _is_same(one: str | int, other: str | int) -> bool:
    """Whether two paths or descriptors are of one regular file, or will be."""
    try:
        status = os.stat(one)
        return stat.S_ISREG(status.st_mode) and os.path.samestat(status, os.stat(other))
    except OSError:  # what is not there yet can still have one name
        if isinstance(one, int) or isinstance(other, int):
            return False
        return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def _held(checkpoint: str | None) -> Iterator[None]:
    """No other run has the checkpoint meanwhile. Raises BlockingIOError if one has it, and `UsageError`."""
    if checkpoint is None:
        yield
        return
    try:
        lock = FileLock(checkpoint)
    except BlockingIOError:
        raise
    except OSError as error:
        raise UsageError(f"{error.filename or checkpoint}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.lift()


def _goes_on(options: MapOptions, checkpoint: str | None) -> bool:
    """Whether lines are added to those of an earlier run. What is not gone on with is removed."""
    if checkpoint is None:
        return False
    is_lost = options.checkpoint is None and not os.path.exists(options.output)
    if is_lost or not options.resume:
        _remove(checkpoint)
    return options.checkpoint is not None or os.path.exists(checkpoint)


def _remove(checkpoint: str) -> None:
    for ending in _OF_DATABASE:
        try:
            os.unlink(checkpoint + ending)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(f"{checkpoint + ending}: {error.strerror or error}") from error


class _Run:
    """What has come so far."""

    def __init__(self, options: MapOptions, listed: LineList) -> None:
        self._options = options
        self._listed = listed
        self._began = monotonic()
        self._answered = 0
        self._refused = 0  # with 4xx or 5xx
        self._errors: Counter[str] = Counter()

    async def run(
        self, client: Client, records: RecordFile | RecordPipe, folder: Folder | None, checkpoint: str | None
    ) -> None:
        """Fetch all of them, and write their lines."""
        options = self._options

        async def save(response: Response) -> str | None:
            return None if folder is None else await folder.save(response)

        results = client.map(
            self._listed.lines(),
            concurrency=options.concurrency,
            per_host=options.per_host,
            checkpoint=checkpoint,
            handle=save if folder is not None else None,
            method=options.method,
        )
        async with results:
            async for result in results:
                self._count(result)
                line = record_of(result, body=options.body, head=options.head)
                # Written before the next one is asked for, which lets the checkpoint know that this one is finished.
                await records.write(line)

    def _count(self, result: MapResult) -> None:
        if result.error is not None:
            self._errors[type(result.error).__name__] += 1
        else:
            self._answered += 1
            self._refused += result.unwrap().status >= 400

    @property
    def exit(self) -> Exit:
        """What it comes to."""
        if self._errors:
            return Exit.FAILED
        return Exit.HTTP_ERROR if self._options.fail and self._refused else Exit.OK

    def text(self) -> str:
        """See `Counter`."""
        failed = sum(self._errors.values())
        done = self._answered + failed
        text = f"{done:,} done, {done / max(monotonic() - self._began, 1e-3):,.0f}/s"
        return text + (f", {failed:,} failed" if failed else "")

    def share(self) -> float | None:
        """See `Counter`."""
        return min(1.0, self._listed.read / self._listed.size) if self._listed.size else None

    def summary(self) -> str:
        """What it has come to."""
        text = f"{self._answered:,} answered"
        if self._refused:
            text += f" ({self._refused:,} with 4xx or 5xx)"
        text += f" in {monotonic() - self._began:.1f} s"
        if self._errors:
            kinds = ", ".join(f"{number:,} × {name}" for name, number in self._errors.most_common(8))
            text += f"; {sum(self._errors.values()):,} failed: {kinds}"
        return text

    def kept(self, checkpoint: str | None) -> str:
        """What is left after an interruption, and how to go on."""
        done = self._answered + sum(self._errors.values())
        if checkpoint is None:
            return f"{done:,} were done; the next run begins anew (with --checkpoint FILE, or -o FILE, it would go on)"
        return f"{done:,} were done, as {checkpoint} knows; the same command goes on from there"
