"""Where a file comes from: its URL and its mirrors, and what they answer when they are asked for a range of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from multidict import CIMultiDict

from ..config import UNSET, Unset
from ..errors import BodyTooLarge, DownloadError, FileChanged, HTTPException, PoolTimeout
from ..headers import Headers, HeadersInput, header_pairs
from .digests import stated_digests
from .file_name import url_name
from .ranges import UNKNOWN, content_range, unsatisfied_size
from .source import Source
from .version import Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ..fetch import Fetch, Fetched
    from ..messages import Request
    from ..url import URL
    from .digests import Digest
    from .repair import Patience

_OF_URL: Final = frozenset(["headers", "params"])
"""What of a request's keywords is in it once it is built."""
_REFUSING: Final = frozenset([400, 403, 405, 406, 412, 416, 417, 422, 501])
"""Statuses that may be about the range, and not about the file: it is asked for as a whole then, which tells."""
_ITS_OWN: Final = ("Range", "If-Range")


class RangesIgnored(DownloadError):
    """The server answers a request for a range with something else, though the file has not changed."""


class OtherFile(DownloadError):
    """A mirror has, for all that is known, another file: ranges of it are not mixed with the first source's."""


class Answer(NamedTuple):
    """A response that brings the bytes [start, end) of a file of `size` bytes, None where that is not known."""

    response: Fetched
    start: int
    end: int
    size: int | None


class Sources:
    """All URLs of one file, asked in turn."""

    def __init__(
        self, fetch: Fetch, urls: Sequence[str | URL], headers: HeadersInput | None, keywords: Mapping[str, Any]
    ) -> None:
        self._fetch = fetch
        self._keywords = dict(keywords)
        limit = self._keywords.get("max_body", UNSET)
        self._max_body: int | None = fetch.max_body if isinstance(limit, Unset) else limit
        self._pairs = header_pairs(headers)
        given = {name.lower() for name, _ in self._pairs}
        for name in _ITS_OWN:
            if name.lower() in given:
                raise ValueError(f"a download sets {name} itself")
            if name in fetch.headers:
                raise ValueError(f"a download sets {name} itself, and the client has one for all requests")
        asked = [value for name, value in self._pairs if name.lower() == "accept-encoding"]
        self._decodes = any(_codings(asked))
        """Whether the caller asked for codings. One that nobody asked for (.tar.gz, aws-chunked) is the file's own."""
        if not asked:
            # Ranges and digests are those of the bytes that are sent (RFC 9110 section 8.4).
            self._pairs.append(("Accept-Encoding", "identity"))
        self.all = [Source(url) for url in urls]
        self.trusting = False
        """Whether of a mirror equal size makes it the same file: a checksum tells in the end."""
        self.lenient = False
        """Whether that is so of any response."""
        self.latency = 0.0
        """Seconds that the response to the last request for all of the file took to begin."""
        self._origin = self.all[0]
        self._version: Version | None = None
        self._digests: list[Digest] = []
        self._codings: list[str] = []
        self._turn = 0

    @property
    def queued(self) -> bool:
        """Whether requests may have to wait for rules before they are sent."""
        return self._fetch.holds_back

    def url_name(self) -> str:
        """What the URL calls the file, before a redirect or the response says otherwise; "" for one that is none."""
        try:
            return url_name(self._fetch.build_request("GET", self._origin.url).url)
        except HTTPException:
            return ""

    @property
    def alive(self) -> list[Source]:
        """Those that are still asked."""
        return [source for source in self.all if source.lost is None]

    @property
    def _same(self) -> list[Source]:
        """Those of them that may bring ranges."""
        return [source for source in self.alive if not source.differs]

    def is_origin(self, source: Source) -> bool:
        """Whether it is the source that tells which file it is."""
        return source is self._origin

    def refer(self, origin: Source | None, version: Version, headers: Headers) -> None:
        """This is the file: what others have must be the same, else they bring no ranges of it.

        - `origin`: who has it; None for one that is not asked any more.
        """
        for source in self.all:
            source.version, source.differs = None, False
            source.landed = source.landed if source is origin else None
        if origin is not None:
            origin.version = version
        self._origin = origin or self.all[0]
        self._version, self._digests = version, stated_digests(headers, whole=False)
        self._codings = _codings(headers.getall("Content-Encoding", []))

    def next(self) -> Source:
        """Whom to ask for a range. Raises what the last was given up for, if there is nobody left."""
        same = self._same
        if not same:
            lost = [source.lost for source in self.all if source.lost is not None]
            raise lost[-1] if lost else FileChanged("no source has the file any more that it was")
        self._turn += 1
        return same[(self._turn - 1) % len(same)]

    def give_up(self, source: Source, error: HTTPException) -> bool:
        """Do not ask a source any more, if there is another; whether there is."""
        if any(each is not source for each in self._same):
            source.lost = error
        return source.lost is not None

    def turn_to_others(self, error: HTTPException) -> bool:
        """Those that had the file have failed: whether there are some that have another one, all of it."""
        others = [source for source in self.alive if source.differs]
        if not others:
            return False
        for source in self._same:
            source.lost = error
        for source in others:
            source.differs, source.version = False, None
        return True

    @asynccontextmanager
    async def whole(
        self, patience: Patience, received: int, validator: str | None = None
    ) -> AsyncIterator[tuple[Source, Fetched]]:
        """The response to a request for all of the file, of the first source that has it, asked again after a failure
        that passes.

        - `received`: bytes so far.
        - `validator`: of the file that is there already, whole or half. Unless it is another one by now, the response
          is a 206 of the first byte, which has been read, and the connection can be used again. (That is one request
          whether or not it has changed, of the kind that resumes a download. A 304 to If-Modified-Since would not say
          how long the file is, and what HEAD says costs a second request, if it may be sent with a signed URL at all.)

        Raises what the last of them failed with.
        """
        fields = [] if validator is None else [("Range", "bytes=0-0"), ("If-Range", validator)]
        while True:
            source = (self._same or self.alive)[0]
            failure: HTTPException
            async with AsyncExitStack() as stack:
                try:
                    began = perf_counter()
                    response = await stack.enter_async_context(self._stream(source, fields))
                    self.latency = perf_counter() - began
                    if fields and response.status in (206, *_REFUSING) and not await self._is_first_byte(response):
                        fields = []
                        continue
                    response.raise_for_status()
                    if response.status not in (200, 203) and not (fields and response.status == 206):
                        raise DownloadError(
                            f"status {response.status} brings no file", doing=f"GET {response.url.shown}"
                        )
                except HTTPException as error:
                    failure = error
                else:
                    _land(source, response)
                    yield source, response
                    return
            if not self.give_up(source, failure):
                await patience.bear(failure, received)

    async def _is_first_byte(self, response: Fetched) -> bool:
        """Whether it brings the first byte, as it was asked; it is read then."""
        found = content_range(response.headers) if response.status == 206 else None
        if found is None or found[:2] != (0, 1) or self.is_coded(response.headers):
            return False
        size = 0
        async for piece in response.iter_raw():
            size += len(piece)
            if size > 1:
                break
        return size == 1

    @asynccontextmanager
    async def range(self, source: Source, start: int, end: int, size: int | None) -> AsyncIterator[Answer]:
        """The response to a request for the bytes [start, end) of a file of `size` bytes (None: not known yet), or for
        the first of them: a server may send less.

        Raises `FileChanged`, `RangesIgnored`, `HTTPStatusError`, and what requests raise.
        """
        fields = [("Range", f"bytes={start}-{end - 1 if end < UNKNOWN else ''}")]
        known = None if self.lenient else source.version
        if known is not None and known.validator is not None:
            fields.append(("If-Range", known.validator))
        async with AsyncExitStack() as stack:
            response = await self._open(stack, source, fields)
            doing = f"GET {response.url.shown}"
            if response.status == 206:
                yield self._partial(source, response, start, end, size, doing)
            elif response.status == 416 and (there := unsatisfied_size(response.headers)) is not None:
                if there != (start if size is None else size):
                    raise self._changed(source, f"the file has {there} bytes now", doing)
                if size is not None:
                    raise RangesIgnored(f"bytes {start} to {end} of {size} are said not to be there", doing=doing)
                yield Answer(response, start, start, start)
            elif response.status == 200:
                now = self.version(response)
                if not (self.lenient and now.size == size) and (known is None or not known.same(now)):
                    raise self._changed(source, "the file is another one than before", doing)
                raise RangesIgnored("a request for a range was answered with the whole file", doing=doing)
            elif response.status in _REFUSING:
                raise RangesIgnored(f"a request for a range was refused with status {response.status}", doing=doing)
            else:
                response.raise_for_status()
                raise DownloadError(f"status {response.status} brings no file", doing=doing)

    async def heeds_ranges(self, size: int) -> bool:
        """Whether a server heeds ranges that does not say: it is asked for the last byte of so many.

        Nobody who holds a response may wait for this: where there is one connection at a time, he has it.
        """
        try:
            async with self.range(self.next(), size - 1, size, size):
                return True
        except HTTPException:
            return False

    def _partial(self, source: Source, response: Fetched, start: int, end: int, size: int | None, doing: str) -> Answer:
        found = content_range(response.headers)
        if found is None or found.start != start or self._is_coded_otherwise(response.headers):
            # Among them multipart/byteranges, which nobody asked for (RFC 9110 section 15.3.7.2).
            stated = response.headers.get("Content-Range", response.headers.get("Content-Type", "nothing"))
            raise RangesIgnored(f"bytes {start} to {end} were asked for, and {stated!r} came", doing=doing)
        now = Version.of(response.headers, found.size)
        if size is not None and found.size not in (None, size):
            raise self._changed(source, f"the file has {found.size} bytes instead of {size}", doing)
        if source.version is None or self.lenient:
            if not self.trusting and not self._agrees(now, response.headers):
                raise self._changed(source, "nothing tells that the file is the same", doing)
            source.version = now
        elif source.version.contradicts(now):
            raise FileChanged("the file is another one than before", doing=doing)
        _land(source, response)
        return Answer(response, start, min(found.end, end), found.size)

    def check_whole(self, source: Source, response: Fetched) -> None:
        """Raise `FileChanged` for a response that brings all of another file than the one that was referred to."""
        now = self.version(response)
        same = not self._is_coded_otherwise(response.headers)
        if self.is_origin(source):
            same = same and self._version is not None and self._version.same(now)
        else:
            same = same and (self.trusting or self._agrees(now, response.headers))
        if not same:
            raise FileChanged("the file is another one than before", doing=f"GET {response.url.shown}")

    def is_coded(self, headers: Headers) -> bool:
        """Whether the content is not the file itself, but has to be decoded first."""
        return self._decodes and bool(_codings(headers.getall("Content-Encoding", [])))

    def _is_coded_otherwise(self, headers: Headers) -> bool:
        codings = _codings(headers.getall("Content-Encoding", []))
        return bool(codings) and (self._decodes or codings != self._codings)

    def version(self, response: Fetched) -> Version:
        """The version of the file of which a response brings all, or a range."""
        found = content_range(response.headers) if response.status == 206 else None
        size = self.content_length(response.headers) if found is None else found.size
        return Version.of(response.headers, size)

    def content_length(self, headers: Headers) -> int | None:
        """Content-Length, if it is one, and the file's."""
        stated = headers.get("Content-Length", "").partition(",")[0].strip()
        if not (stated.isascii() and stated.isdigit()) or len(stated) > 18:
            return None
        if "Transfer-Encoding" in headers or self.is_coded(headers):
            return None
        return int(stated)

    def check_size(self, size: int | None) -> None:
        """Raise `BodyTooLarge` for a file that is over `max_body`."""
        limit = self._max_body
        if limit is not None and size is not None and size > limit:
            raise BodyTooLarge(f"the file has {size} bytes, and max_body is {limit}", doing=f"GET {self.all[0].shown}")

    def _agrees(self, version: Version, headers: Headers) -> bool:
        """Whether a mirror surely has the file."""
        if self._version is None or not self._version.agrees(version):
            return False
        stated = {digest.algorithm: digest.value for digest in stated_digests(headers, whole=False)}
        return all(stated.get(digest.algorithm, digest.value) == digest.value for digest in self._digests)

    def _changed(self, source: Source, text: str, doing: str) -> DownloadError:
        if source is self._origin or source.version is not None:
            return FileChanged(text, doing=doing)
        source.differs = True
        return OtherFile(text, doing=doing)

    async def _open(self, stack: AsyncExitStack, source: Source, fields: list[tuple[str, str]]) -> Fetched:
        """The response to a request for a range: from where redirects led before, else from the source's own URL."""
        landed = source.landed
        if landed is not None:
            try:
                response = await stack.enter_async_context(self._stream_from(landed.with_fields(fields)))
            except PoolTimeout:
                raise
            except HTTPException:
                source.landed = None
            else:
                if response.status < 400 or response.status in (416, 429, 503):
                    return response
                source.landed = None
                await response.close()
        return await stack.enter_async_context(self._stream(source, fields))

    @asynccontextmanager
    async def _stream_from(self, request: Request) -> AsyncIterator[Fetched]:
        keywords = {name: value for name, value in self._keywords.items() if name not in _OF_URL}
        first = request.redirected_from
        if first is not None and first != request.url.origin:
            # What was given for one origin stays there: the client keeps back its own.
            keywords.pop("auth", None)
            if isinstance(keywords.get("cookies"), Mapping):
                del keywords["cookies"]
        response = await self._fetch.send(request, stream=True, **keywords)
        try:
            yield response
        finally:
            await response.close()

    def _stream(self, source: Source, fields: list[tuple[str, str]]) -> Any:
        headers: Headers = Headers(CIMultiDict([*self._pairs, *fields]))
        return self._fetch.stream("GET", source.url, headers=headers, **self._keywords)


def _land(source: Source, response: Fetched) -> None:
    """Remember where redirects led. (Fields of the hop, signed anew each time, are left out.)"""
    request = response.asked or response.request
    landed = request.redirected_from is not None
    source.landed = request.without_fields("Range", "If-Range") if landed else None


def _codings(values: Sequence[str]) -> list[str]:
    """The content codings that fields name, identity left out."""
    named = [coding.partition(";")[0].strip() for coding in ",".join(values).lower().split(",")]
    return [coding for coding in named if coding not in ("", "identity")]
