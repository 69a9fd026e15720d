"""`download`: one file, from its URL to its place."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import aiofiles.os
from multidict import CIMultiDict

from ..errors import ChecksumMismatch, DownloadError, FileChanged, HTTPException, TotalTimeout
from ..headers import Headers
from .digests import Digest, mismatch, stated_digests
from .file_name import file_name
from .part_file import PartFile, check_replaceable
from .place import choose
from .ranges import LEAST_SEGMENT, UNKNOWN, Plan, heeds_ranges
from .repair import Patience, is_passing
from .result import Download
from .sidecar import State
from .sources import OtherFile, RangesIgnored
from .there import date_of
from .transfer import StartOver, Transfer
from .version import Version, timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..fetch import Fetched
    from ..url import URL
    from .progress import Meter
    from .rate import Rate
    from .source import Source
    from .sources import Sources
    from .wanted import Wanted

_AUTOMATIC: Final = 8
_AUTOMATIC_SHARE: Final = 16 << 20
"""Bytes for each of the segments that "auto" makes, up to 8: less is over before a new connection has gained speed."""
_RESTARTS: Final = 5
"""How often a download begins anew: because the file changes, or because what broke cannot be gone on with."""

_PAGES: Final = ("text/html", "application/xhtml+xml")


class OneFile:
    """The download of one file."""

    def __init__(self, sources: Sources, wanted: Wanted, meter: Meter, rate: Rate | None) -> None:
        self._sources = sources
        self._wanted = wanted
        self._meter = meter
        self._rate = rate
        sources.trusting = wanted.checksum is not None
        self._patience = Patience(wanted.repairs)
        self._part: PartFile | None = None
        self._fresh = not wanted.resume
        self._undivided = False
        self._fields: Headers = Headers(CIMultiDict())
        self._digests: list[Digest] = []
        self._modified: str | None = None
        self._url = ""
        self._size: int | None = None
        self._resumed_from = 0
        self._received = 0
        self._connections = 1
        self._there = ""
        """The file that was there already, and complete: nothing has to be brought."""

    async def run(self, total: float | None) -> Download:
        """Bring it. `total`: seconds for everything, None for no limit."""
        try:
            return await self._in_time(total)
        except Exception as error:
            part = self._part
            if part is not None and isinstance(error, OSError) and not isinstance(error, HTTPException):
                error.filename = error.filename or part.part  # a full disk says only that it is full
            if part is not None and part.state is not None and part.spans.size:
                kept = f"{part.spans.size} bytes are kept in {part.part}"
                error.add_note(f"{kept}: the same download goes on from there, or begins anew with resume=False")
            raise

    async def _in_time(self, total: float | None) -> Download:
        began = perf_counter()
        complete = False
        scope = asyncio.timeout(total)
        try:
            async with scope:
                path = await self._run()
            complete = True
        except TimeoutError as error:
            if not scope.expired():
                raise
            doing = f"downloading {self._url or self._sources.all[0].shown}"
            raise TotalTimeout(f"took longer than {total} s in all", doing=doing) from error
        finally:
            if self._part is not None:
                await self._part.close()
            self._meter.end(complete)
        assert self._size is not None
        digests = tuple(str(digest) for digest in self._digests)
        elapsed = perf_counter() - began
        return Download(
            Path(path),
            self._url,
            self._size,
            self._resumed_from,
            self._received,
            self._connections,
            digests,
            elapsed,
            self._fields,
        )

    async def _run(self) -> str:
        restarts = changes = 0
        while True:
            try:
                await self._bring()
                return self._there or await self._finish()
            except (FileChanged, RangesIgnored, StartOver) as turn:
                restarts += 1
                self._fresh = True
                changes += isinstance(turn, FileChanged)
                # Who changes all the time may be several servers behind one name.
                self._undivided = self._undivided or isinstance(turn, RangesIgnored) or changes > 1
                self._sources.lenient = changes > 1 and self._wanted.checksum is not None
                cause = turn.__cause__ if isinstance(turn, StartOver) else turn
                assert isinstance(cause, HTTPException)
                if restarts > _RESTARTS:
                    if isinstance(cause, RangesIgnored):
                        raise DownloadError(*cause.args, doing=cause.doing) from cause
                    raise cause from cause.__cause__
                if isinstance(turn, StartOver):
                    await self._patience.bear(cause, self._received)
            except HTTPException as error:
                if isinstance(error, (DownloadError, ChecksumMismatch)) or not self._sources.turn_to_others(error):
                    raise
                self._fresh = True
                self._patience = Patience(self._wanted.repairs)

    async def _bring(self) -> None:
        wanted = self._wanted
        if not wanted.in_folder:
            self._place(wanted.path)
            if wanted.checksum is not None and (size := await wanted.is_there(wanted.path, None)) is not None:
                self._leave(wanted.path, size, [])
                return
            if not self._fresh and await self._reopen(None):
                await self._confirm()
                await self._transfer(None)
                return
        if not await self._ask(await self._validator()):
            await self._ask(None)

    async def _validator(self) -> str | None:
        """What tells the server which file is there already, half or whole; None if there is none."""
        path = self._wanted.path
        if self._part is None:
            path = os.path.join(path, self._sources.url_name())
            begun = None if self._fresh else await PartFile(path).begun()
            if begun is not None and begun.version.validator is not None:
                return begun.version.validator
        return date_of(path) if self._wanted.overwrite is None else None

    async def _ask(self, validator: str | None) -> bool:
        """Ask for the file, and bring it, or what is missing of it. `validator`: of what seems to be there already;
        False if it was confirmed, and is not the file all the same: nothing has been brought then."""
        async with self._sources.whole(self._patience, self._received, validator) as (source, response):
            coded = self._sources.is_coded(response.headers)
            version = self._sources.version(response)
            self._fields, self._url = response.headers, _said(response.url)
            stated = [] if coded else stated_digests(response.headers, whole=response.status != 206)
            if self._part is None:
                name = file_name(response.headers, response.url)
                path, size = await choose(self._wanted, self._sources, name, version, stated)
            else:
                path, size = self._part.path, await self._wanted.is_there(self._part.path, version, stated)
            if size is not None:
                self._leave(path, size, stated)
                self._fields = _as_of_all(response.headers, size)
                await response.close()
                return True
            if self._wanted.in_folder:
                self._place(path)
                if not self._fresh and await self._reopen(version):
                    await response.close()
                    await self._transfer(None)
                    return True
            if response.status == 206:
                return False
            self._sources.refer(source, version, response.headers)
            await self._begin(source, response, version, coded)
            pieces = response.iter_bytes() if coded else response.iter_raw()
            await self._transfer((source, response, pieces))
            if not coded:
                self._digests += stated_digests(response.trailers, whole=True)
            return True

    def _place(self, path: str) -> None:
        """This is where it goes."""
        if self._part is not None:
            return
        overwrite = self._wanted.overwrite
        if overwrite is None:
            overwrite = not self._wanted.in_folder
        if not overwrite and os.path.lexists(path):
            raise FileExistsError(17, "File exists (overwrite=True replaces it)", path)
        check_replaceable(path)
        self._part = PartFile(path, self._wanted.sync)

    def _leave(self, path: str, size: int, stated: list[Digest]) -> None:
        """The file is there already, and has the checksum, or else these digests: nothing has to be brought."""
        checksum = self._wanted.checksum
        self._there, self._size, self._resumed_from, self._connections = path, size, size, 0
        self._digests = list({digest[:2]: digest for digest in stated}.values()) if checksum is None else [checksum]

    async def _reopen(self, version: Version | None) -> bool:
        """Whether there is a half file that can be gone on with. `version` is what the server has, where that is known:
        else it is asked by If-Range."""
        assert self._part is not None
        state = await self._part.load()
        if state is None or not self._part.spans.size:
            return False
        checksum = None if self._wanted.checksum is None else str(self._wanted.checksum)
        source = next((each for each in self._sources.all if each.key == state.source), None)
        if checksum is not None and state.checksum == checksum:
            pass  # the same file, wherever it comes from: what was signed into a URL may have changed
        elif source is None or state.version.validator is None:
            return False
        if version is not None and not state.version.same(version):
            return False
        self._sources.check_size(state.version.size)
        self._sources.refer(source, state.version, Headers(CIMultiDict(state.fields)))
        self._describe(state)
        self._resumed_from = self._part.spans.size
        return True

    async def _confirm(self) -> None:
        """Have the server confirm a half file that lacks nothing: nobody else is asked for anything any more, unless a
        checksum tells."""
        assert self._part is not None
        size = self._size
        if not size or self._wanted.checksum is not None or self._part.spans.gaps(size):
            return
        while True:
            source = self._sources.next()
            try:
                async with self._sources.range(source, size - 1, size, size):
                    return
            except OtherFile:
                continue
            except (FileChanged, RangesIgnored):
                raise
            except HTTPException as error:
                if is_passing(error) or not self._sources.give_up(source, error):
                    await self._patience.bear(error, self._received)

    async def _begin(self, source: Source, response: Fetched, version: Version, coded: bool) -> None:
        """Nothing is there yet that can be gone on with. A folder that is missing is made."""
        assert self._part is not None
        self._check_kind(response)
        self._sources.check_size(version.size)
        checksum = self._wanted.checksum
        known = None if checksum is None else str(checksum)
        state = State.of(source.key, known, version, self._url, response.headers)
        resumable = not coded and (version.validator is not None or checksum is not None)
        folder = os.path.dirname(self._part.part)
        if not os.path.lexists(folder):  # noqa: ASYNC240 - it is made only now: a response has come
            await aiofiles.os.makedirs(folder, exist_ok=True)
        await self._part.start_over(state if resumable else None)
        self._describe(state)
        self._digests = [] if coded else self._digests
        self._fields = response.headers  # all of them: a state keeps some
        self._resumed_from = 0

    def _check_kind(self, response: Fetched) -> None:
        """Refuse to throw a half file away for a page that is not even meant to be it: of a login that ran out, of a
        network that wants to be paid. (curl and aria2 go on with no file that is answered by 200, wget with any.)"""
        part = self._part
        assert part is not None
        if part.state is None or not part.spans.size:
            return
        was, now = _media_type(Headers(CIMultiDict(part.state.fields))), _media_type(response.headers)
        if now in _PAGES and was not in _PAGES:
            raise DownloadError(
                f"{now} came, and {part.part} is of {was or 'another type'}; resume=False begins anew",
                doing=f"GET {response.url.shown}",
            )

    def _describe(self, state: State) -> None:
        self._fields = Headers(CIMultiDict(state.fields))
        self._url, self._size, self._modified = state.url, state.version.size, state.version.modified
        self._digests = stated_digests(self._fields, whole=True)

    async def _transfer(self, first: tuple[Source, Fetched, AsyncIterator[bytes]] | None) -> None:
        part = self._part
        assert part is not None
        end = UNKNOWN if self._size is None else self._size
        gaps = part.spans.gaps(end)
        self._meter.start(part.path, part.spans.size, self._size)
        if not gaps:
            return
        segments = self._segments(sum(end - start for start, end in gaps))
        # What is gone on with is asked for in ranges anyway. Where nobody knows, the plan is divided on the way.
        known = heeds_ranges(self._fields) or part.spans.size
        plan = Plan(gaps, segments if known else 1, latency=self._sources.latency, queued=self._sources.queued)
        resumable = part.state is not None
        transfer = Transfer(
            part,
            self._sources,
            plan,
            self._patience,
            self._meter,
            self._rate,
            size=self._size,
            resumable=resumable,
            received=self._received,
        )
        try:
            await transfer.run(first, segments)
        finally:
            self._received = transfer.received
            self._connections = max(self._connections, transfer.connections)
        self._size = transfer.size

    def _segments(self, missing: int) -> int:
        """How many connections to use for so many bytes."""
        assert self._part is not None
        if self._undivided or self._size is None or self._part.state is None or heeds_ranges(self._fields) is False:
            return 1
        if isinstance(self._wanted.segments, str):
            return min(_AUTOMATIC, 1 + missing // _AUTOMATIC_SHARE)
        return min(self._wanted.segments, max(1, missing // LEAST_SEGMENT))

    async def _finish(self) -> str:
        part = self._part
        assert part is not None
        assert self._size is not None
        if part.spans.gaps(self._size) or part.spans.size != self._size:
            raise DownloadError(f"{part.part} does not have all of the file")  # a defect of this library
        await self._verify(part, self._size)
        overwrite = not self._wanted.in_folder if self._wanted.overwrite is None else self._wanted.overwrite
        await part.complete(timestamp(self._modified), overwrite=overwrite)
        return part.path

    async def _verify(self, part: PartFile, size: int) -> None:
        """Hash the file as it is on the disk, and compare."""
        expected = list(self._digests)
        if self._wanted.checksum is not None:
            expected.insert(0, self._wanted.checksum)
        if not expected:
            return
        import hashlib  # noqa: PLC0415 - loaded by then

        hashers = {name: hashlib.new(name, usedforsecurity=False) for name in {each.algorithm for each in expected}}
        for hasher in hashers.values():
            await part.hash(hasher, 0, size)
        for digest in expected:
            found = hashers[digest.algorithm].digest()
            if found != digest.value:
                await part.discard()
                raise mismatch(digest, found, self._url, f": all {size} bytes were thrown away")
        self._digests = list({digest[:2]: digest for digest in expected}.values())


def _media_type(headers: Headers) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _as_of_all(headers: Headers, size: int) -> Headers:
    """The fields of a response that may have brought a range as if it had brought all of the file."""
    pairs = [pair for pair in headers.items() if pair[0].lower() not in ("content-range", "content-length")]
    return Headers(CIMultiDict([*pairs, ("Content-Length", str(size))]))


def _said(url: URL) -> str:
    """The URL without what may be secret, as it is also kept for another run."""
    return re.split("[?#]", url.shown)[0]
