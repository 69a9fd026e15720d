"""What is known of a half file, beside it: JSON Lines. The first line says which version of which file it is of, each
further one is a span [start, end) that has been written.

A span is written to the file first and noted then, each note is one short append: whenever the process is killed, what
is noted is there. (When the machine loses power, it may not be, unless by `fsync`; a `checksum` tells.)
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .spans import Spans
from .version import Version

if TYPE_CHECKING:
    from ..headers import Headers

FORMAT: Final = 1
_KEPT_FIELDS: Final = (
    "Content-Type",
    "Content-Encoding",
    "Content-Length",
    "Content-Disposition",
    "Content-Language",
    "ETag",
    "Last-Modified",
    "Repr-Digest",
    "Digest",
    "Content-Digest",
    "Content-MD5",
)
"""The fields of a response that describe the file. The others may hold secrets."""
_LEAST_NOTES: Final = 2_000
"""Notes that are left in the file, however few spans they come to."""


class State(NamedTuple):
    """Which file a half file is of."""

    source: str
    """The `key` of the source that it was begun with."""
    checksum: str | None
    version: Version
    url: str
    """The URL of the response, to be shown: without userinfo, query and fragment."""
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, source: str, checksum: str | None, version: Version, url: str, headers: Headers) -> State:
        fields = tuple((name, value) for name in _KEPT_FIELDS for value in headers.getall(name, []))
        return cls(source, checksum, version, url, fields)

    def line(self) -> str:
        content = {**self._asdict(), "version": list(self.version), "fields": list(self.fields), "format": FORMAT}
        return json.dumps(content) + "\n"

    @classmethod
    def parsed(cls, line: str) -> State | None:
        """What `line()` was made of; None if it is damaged, or of another version of this library."""
        try:
            data: Any = json.loads(line)
        except (ValueError, RecursionError):
            return None
        match data:
            case {
                "format": 1,
                "source": str() as source,
                "checksum": None | str() as checksum,
                "version": saved,
                "url": str() as url,
                "fields": list() as fields,
            } if (version := Version.restored(saved)) is not None:
                pairs = tuple((pair[0], pair[1]) for pair in fields if isinstance(pair, list) and len(pair) == 2)
                return cls(source, checksum, version, url, pairs)
        return None


class Sidecar:
    """The file. Its methods block, and are called by one thread at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._state: State | None = None
        self._notes = 0

    def load(self) -> tuple[State, Spans] | None:
        """What it holds; None if there is none, or none that makes sense, or that this user wrote: whoever writes it
        says which bytes are right. A line that was cut short is passed over."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _FLAGS | NO_LINK)
            with open(descriptor, encoding="utf-8", errors="replace") as file:
                if not _is_ours(descriptor):
                    return None
                state = State.parsed(file.readline())
                if state is None:
                    return None
                spans = Spans()
                limit = state.version.size
                for line in file:
                    match _json(line):
                        case [int() as start, int() as end] if 0 <= start < end and (limit is None or end <= limit):
                            spans.add(start, end)
        except OSError:
            return None
        return state, spans

    def begin(self, state: State, spans: Spans) -> None:
        """Write it anew: in one step, so that there is always the old or the new one."""
        self.close()
        new = self.path + ".new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)  # of a run that was killed, or not ours at all
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS | NO_LINK
        with open(os.open(new, flags, _PRIVATE), "w", encoding="utf-8") as file:
            file.write(state.line())
            file.writelines(f"[{start}, {end}]\n" for start, end in spans)
        os.replace(new, self.path)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | _FLAGS | NO_LINK)
        self._state, self._notes = state, len(spans)

    def note(self, start: int, end: int, spans: Spans) -> None:
        """These bytes have been written; `spans` are all that have."""
        if self._state is None:
            return
        if self._notes > _LEAST_NOTES + 2 * len(spans):
            self.begin(self._state, spans)
        os.write(self._descriptor, b"[%d, %d]\n" % (start, end))
        self._notes += 1

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._state = -1, None

    def remove(self) -> None:
        """Close it, and delete it."""
        self.close()
        for path in (self.path, self.path + ".new"):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_ours(descriptor: int) -> bool:
    """Whether this user's downloads wrote it, for themselves only: what they saved for others has another mode."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not hasattr(os, "geteuid"):
        return stat.S_ISREG(status.st_mode)
    if status.st_uid != os.geteuid():
        return False
    return stat.S_IMODE(status.st_mode) == _PRIVATE or not _has_modes(descriptor)


def _has_modes(descriptor: int) -> bool:
    """Whether the file system keeps modes: those of many USB sticks say the same of each file."""
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, _PRIVATE)
    return stat.S_IMODE(os.fstat(descriptor).st_mode) == _PRIVATE


_PRIVATE: Final = 0o600
NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
"""A link in the place of what is kept beside a file was put there by somebody else."""
_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
