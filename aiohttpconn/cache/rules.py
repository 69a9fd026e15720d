"""What may be stored and what may be used again: RFC 9111, as `hishel`'s state machine decides it.

It decides by Date and by the clock, and by nothing else. So it is shown the fields of a record with a Date at which
this machine's clock would have been when the origin made it (that takes Age, the time on the way and a server's wrong
clock into account), and a question like "may it be used though it has been stale for a minute?" is put to it by showing
a lifetime that is a minute longer.
"""

from __future__ import annotations

import enum
import math
import re
import uuid
from email.utils import formatdate
from typing import TYPE_CHECKING

import hishel

from ..client.retries import http_date
from .directives import MOST, directives, seconds
from .record import Record, variant_of

if TYPE_CHECKING:
    from ..headers import Headers
    from ..messages import Request, ResponseHead

CACHED_METHODS = ("GET", "HEAD")
_NEVER_STORED = frozenset({"set-cookie", "set-cookie2", "age"})
"""Set-Cookie took effect when it came; said again later it would undo what was set since. Age is made anew."""
_ID = uuid.UUID(int=0)
_PRIVATE_LIFETIME = re.compile(r'(?<![\w-])(max-age)\s*=\s*"?(\d+)"?', re.IGNORECASE)
_LONG_NUMBER = re.compile(r'(=\s*"?)\d{11,}')  # to hishel no number, if it has thousands of digits
_SHARED_LIFETIME = re.compile(r'(?<![\w-])(max-age|s-maxage)\s*=\s*"?(\d+)"?', re.IGNORECASE)


class Use(enum.Enum):
    """What a stored response is good for."""

    FRESH = "as it is"
    STALE = "as it is, while it is revalidated"
    REVALIDATE = "if the server says that it still holds"


class Judgement:
    """The rules for one cache."""

    def __init__(self, *, shared: bool, stale_if_error: float) -> None:
        self._options = hishel.CacheOptions(shared=shared, supported_methods=list(CACHED_METHODS), allow_stale=False)
        self._shared = shared
        self._stale_if_error = stale_if_error

    # --- using ---

    def use(self, request: Request, record: Record, now: float) -> Use:
        """What a record is good for."""
        wanted = directives(request.headers)
        plain = not wanted and "Pragma" not in request.headers
        if plain and record.fresh_at == int(now):
            return Use.FRESH  # as was found within this second, which is as fine as its clock goes
        if "no-cache" in wanted or (not wanted and "no-cache" in request.headers.get("Pragma", "").lower()):
            return Use.REVALIDATE  # RFC 9111 section 5.4
        oldest, ahead = seconds(wanted, "max-age"), seconds(wanted, "min-fresh")
        late = (seconds(wanted, "max-stale") or (0 if wanted["max-stale"] else MOST)) if "max-stale" in wanted else 0
        if oldest is not None and now - record.born > oldest + late:
            return Use.REVALIDATE
        if self._holds(record, -(ahead or 0)):
            if plain:
                record.fresh_at = int(now)
            return Use.FRESH
        said = directives(record.head(now).headers)
        if self._may_be_stale(said):
            if late and self._holds(record, late):
                return Use.FRESH
            window = seconds(said, "stale-while-revalidate")
            if window and oldest is None and ahead is None and self._holds(record, window):
                return Use.STALE
        return Use.REVALIDATE

    def holds_despite_error(self, request: Request, record: Record, now: float) -> bool:
        """Whether a stale record may stand in for an answer that cannot be had (RFC 5861 section 4)."""
        said, wanted = directives(record.head(now).headers), directives(request.headers)
        if not self._may_be_stale(said) or "no-cache" in wanted:
            return False
        window = max(seconds(said, "stale-if-error") or 0, seconds(wanted, "stale-if-error") or 0, self._stale_if_error)
        return window > 0 and self._holds(record, window)

    def _may_be_stale(self, said: dict[str, str]) -> bool:
        # RFC 9111 section 4.2.4.
        forbidding = {"must-revalidate", "no-cache"} | ({"proxy-revalidate", "s-maxage"} if self._shared else set())
        return forbidding.isdisjoint(said)

    def _holds(self, record: Record, leeway: float) -> bool:
        """Whether a record is fresh, or would be, if its lifetime were `leeway` seconds longer."""
        request = hishel.Request(record.method, record.url)
        entry = self._entry(request, record, leeway)
        return isinstance(hishel.IdleClient(self._options).next(request, [entry]), hishel.FromCache)

    def _entry(self, request: hishel.Request, record: Record, leeway: float = 0) -> hishel.Entry:
        if record.judged is None:
            record.judged = _shown(record.pairs, record.born)
        headers: hishel.Headers = record.judged
        if leeway:
            headers = self._lasting(headers, record.born, leeway)
        return hishel.Entry(_ID, request, hishel.Response(record.status, headers))

    def _lasting(self, headers: hishel.Headers, born: float, leeway: float) -> hishel.Headers:
        """The fields of a response that was made at `born`, with a lifetime that is `leeway` seconds longer."""
        lists: dict[str, str | list[str]] = {name: headers.get_list(name) or [] for name in headers}
        lifetime, longer = _SHARED_LIFETIME if self._shared else _PRIVATE_LIFETIME, int(leeway)
        said = ", ".join(lists.get("cache-control", []))
        changed, count = lifetime.subn(lambda found: f"{found[1]}={max(0, int(found[2]) + longer)}", said)
        if count:
            lists["cache-control"] = [changed]
        elif "expires" in lists:  # what has no date, or one of long ago, expired when it was made
            lists["expires"] = [_date(max(http_date(lists["expires"][0], born) or 0, born) + leeway)]
        else:  # a lifetime by heuristics is nowhere said: it begins later
            lists["date"] = [_date(born + leeway)]
        return hishel.Headers(lists)

    # --- asking ---

    def revalidation(self, request: Request, record: Record) -> hishel.NeedRevalidation:
        """The state in which the server is asked whether a record still holds."""
        # Said by the caller or not, it is to be revalidated: that was decided before.
        asked = hishel.Request(record.method, record.url, hishel.Headers({"cache-control": "no-cache"}))
        state = hishel.IdleClient(self._options).next(asked, [self._entry(asked, record)])
        assert isinstance(state, hishel.NeedRevalidation)
        return state

    def conditions(self, state: hishel.NeedRevalidation) -> list[tuple[str, str]]:
        """The fields that make the request a question (RFC 9111 section 4.3.1); none if the record has no validator."""
        names = ("If-None-Match", "If-Modified-Since")
        return [(name, state.request.headers[name]) for name in names if name.lower() in state.request.headers]

    def refreshed(
        self, state: hishel.NeedRevalidation, record: Record, head: ResponseHead, sent_at: float, now: float
    ) -> Record | None:
        """The record after a 304; None if that does not speak of it (RFC 9111 section 4.3.4)."""
        born = born_at(head.headers, sent_at, now)
        following: hishel.AnyState = state.next(hishel.Response(304, _shown(tuple(head.headers.items()), born)))
        while isinstance(following, hishel.InvalidateEntries):
            following = following.next()
        if not isinstance(following, hishel.NeedToBeUpdated):
            return None
        kept = following.updating_entries[-1].response.headers
        # It says which names there are; the new values are those of names that the 304 has and may change.
        fixed = {"content-encoding", "content-type", "content-range", "content-length"}
        new = [
            pair
            for pair in head.headers.items()
            if pair[0].lower() in kept and pair[0].lower() not in fixed | _NEVER_STORED
        ]
        changed = {name.lower() for name, _ in new}
        pairs = [pair for pair in record.pairs if pair[0].lower() in kept and pair[0].lower() not in changed] + new
        return Record(
            record.method,
            record.url,
            record.varies,
            record.variant,
            record.version,
            record.status,
            record.reason,
            pairs,
            record.body,
            born,
        )

    # --- storing ---

    def record(self, request: Request, url: str, head: ResponseHead, sent_at: float, now: float) -> Record | None:
        """The record to be made of a response, its body still to come; None if it must not be stored, or could never be
        used."""
        if "no-store" in directives(request.headers):
            return None
        varies = tuple(sorted({name.strip().lower() for name in ",".join(head.headers.getall("Vary", ())).split(",")}))
        if "*" in varies:
            return None
        born = born_at(head.headers, sent_at, now)
        pairs = tuple(head.headers.items())
        # `variant_of` keeps what was got with credentials for those who have them; of them, hishel is told.
        credentials = {"authorization": "x"} if "Authorization" in request.headers else {}
        asked = hishel.Request(request.method, url, hishel.Headers(credentials))
        state = hishel.CacheMiss(self._options, asked).next(hishel.Response(head.status, _shown(pairs, born)))
        if not isinstance(state, hishel.StoreAndUse):
            return None
        kept = state.response.headers
        pairs = tuple([pair for pair in pairs if pair[0].lower() in kept and pair[0].lower() not in _NEVER_STORED])
        varies = tuple([name for name in varies if name])
        variant = variant_of(request, varies)
        record = Record(request.method, url, varies, variant, head.version, head.status, head.reason, pairs, b"", born)
        return record if self._is_useful(record, now) else None

    def _is_useful(self, record: Record, now: float) -> bool:
        headers = record.head(now).headers
        if "ETag" in headers or "Last-Modified" in headers or self._holds(record, 0):
            return True
        said = directives(headers)
        window = max(seconds(said, "stale-while-revalidate") or 0, seconds(said, "stale-if-error") or 0)
        return window > 0 and self._may_be_stale(said) and self._holds(record, window)


def born_at(headers: Headers, sent_at: float, now: float) -> float:
    """When a response that came now was made by the origin, by this machine's clock (RFC 9111 section 4.2.3)."""
    date = http_date(headers.get("Date", ""), now)
    apparent = 0.0 if date is None else max(0.0, now - date)
    age = headers.get("Age", "")
    told = float(age) + (now - sent_at) if age.isascii() and age.isdigit() and len(age) < 11 else 0.0
    # A Date has whole seconds: what is less than one says nothing.
    return now - max(apparent if apparent >= 1 else 0.0, told)


def _shown(pairs: tuple[tuple[str, str], ...], born: float) -> hishel.Headers:
    """Fields as hishel is shown them: those of a response that was made at `born` by this machine's clock."""
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        held = fields.setdefault(name.lower(), [])
        assert isinstance(held, list)
        held.append(value)
    if "expires" in fields:
        date, expires = [http_date(fields[name][0], born) if name in fields else None for name in ("date", "expires")]
        if expires is not None:
            fields["expires"] = [_date(born + expires - (born if date is None else date))]
    if "cache-control" in fields:
        fields["cache-control"] = [_LONG_NUMBER.sub(rf"\g<1>{MOST}", value) for value in fields["cache-control"]]
    fields["date"] = [_date(born)]
    return hishel.Headers(fields)


def _date(at: float) -> str:
    return formatdate(min(max(at, 0), 253402300799) if math.isfinite(at) else 0, usegmt=True)
