"""When a request is sent again: the policy, on values."""

from __future__ import annotations

import math
import socket
import ssl
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttpconn import errors
from aiohttpconn.client import retries
from aiohttpconn.client.retries import RetryRecord, http_date, retry_after
from aiohttpconn.config import Hedge, Retry
from aiohttpconn.messages import Request, ResponseHead
from aiohttpconn.url import parse

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
STEADY = Retry(jitter=0, budget=None)


class Time:
    """Clocks that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def record(time: Time | None = None, chance: float = 0.0) -> RetryRecord:
    return RetryRecord(clock=time or Time(), wall_clock=lambda: NOW, chance=lambda: chance)


def get(url: str = "http://one.example/", **options: Any) -> Request:
    return Request("GET", parse(url), **options)


def head(status: int, **fields: str) -> ResponseHead:
    pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return ResponseHead(11, status, "", CIMultiDictProxy(CIMultiDict(pairs)))


def caused(error: Exception, cause: BaseException) -> Any:
    error.__cause__ = cause
    return error


# --- what is tried again ----------------------------------------------------------------------------------------------

AGAIN = [
    errors.ConnectError("refused"),
    caused(errors.ResolveError("no address"), socket.gaierror(socket.EAI_AGAIN, "try again")),
    caused(errors.ResolveError("no address"), OSError("the resolver cannot be reached")),
    errors.TLSError("the peer closed the connection during the TLS handshake"),
    caused(errors.TLSError("the peer reset it"), ConnectionResetError()),
    caused(errors.TLSError("the peer closed it"), ssl.SSLEOFError()),
    errors.ProxyError("the proxy refused CONNECT", status=503),
    caused(errors.ProxyError("no answer"), errors.ProxyError("it closed the connection")),
    caused(errors.ProxyError("no answer"), errors.RemoteDisconnected()),
    caused(errors.ProxyError("not reached"), errors.ConnectError("refused")),
    caused(errors.ProxyError("no TLS"), caused(errors.TLSError("the peer reset it"), ConnectionResetError())),
    errors.ReadError("broke"),
    errors.WriteError("broke"),
    errors.NetworkError("broke"),
    errors.RemoteDisconnected(),
    errors.RemoteDisconnected(bytes_received=10),
    errors.ConnectTimeout(),
    errors.ReadTimeout(),
    errors.WriteTimeout(),
]
NOT_AGAIN = [
    caused(errors.ResolveError("no address"), socket.gaierror(socket.EAI_NONAME, "unknown")),
    caused(errors.ResolveError("no address"), UnicodeError()),
    errors.ResolveError("no address"),
    caused(errors.TLSError("refused"), ssl.SSLCertVerificationError()),
    caused(errors.TLSError("does not speak TLS"), ssl.SSLError()),
    errors.ProxyError("the proxy refused CONNECT", status=407),
    errors.ProxyError("the proxy refused CONNECT", status=403),
    caused(errors.ProxyError("no sense"), errors.BadStatusLine("SSH-2.0")),
    caused(errors.ProxyError("no TLS"), caused(errors.TLSError("refused"), ssl.SSLCertVerificationError())),
    caused(errors.ProxyError("not reached"), errors.ResolveError("no address")),
    errors.AddressBlocked(),
    errors.PoolTimeout(),
    errors.TotalTimeout(),
    errors.PoolClosed(),
    errors.InvalidURL(),
    errors.InvalidHeader(),
    errors.BodyLengthMismatch(),
    errors.BodyNotReplayable(),
    errors.ProtocolError(),
    errors.BadStatusLine("SSH-2.0"),
    errors.BadHeader("x"),
    errors.LineTooLong(),
    errors.TooManyFields(),
    errors.UnknownTransferEncoding("zip"),
    errors.IncompleteRead(),
    errors.CannotSendRequest(),
    errors.DecodingError(),
    errors.BodyTooLarge(),
    errors.TooSlow(),
    errors.RedirectBlocked(),
    errors.TooManyRedirects(),
    errors.HTTPException("of somebody's own"),
]


@pytest.mark.parametrize("error", AGAIN, ids=lambda error: type(error).__name__)
def test_errors_that_may_pass(error: errors.HTTPException) -> None:
    assert record().delay(STEADY, get(), 1, error, math.inf) == 0.5


@pytest.mark.parametrize("error", NOT_AGAIN, ids=lambda error: type(error).__name__)
def test_errors_that_will_not_pass(error: errors.HTTPException) -> None:
    assert record().delay(STEADY, get(), 1, error, math.inf) is None


def test_every_error_of_the_library_is_decided() -> None:
    """A class that is new is to be put into one of the two lists, and into the table."""

    def below(kind: type) -> set[type]:
        return {kind}.union(*[below(sub) for sub in kind.__subclasses__() if sub.__module__ == kind.__module__])

    abstract = {errors.RequestTimeout, errors.ImproperConnectionState}
    others = {  # said at the caller's side, before or after there is anything to be tried again
        errors.UnsupportedScheme,
        errors.InvalidMethod,
        errors.CannotSendHeader,
        errors.ResponseNotReady,
        errors.NotConnected,
        errors.StreamConsumed,
        errors.StreamClosed,
        errors.RobotsDenied,
        errors.ChecksumMismatch,
        errors.DownloadError,
        errors.FileChanged,
        errors.HTTPStatusError,
    }
    listed = {type(error) for error in (*AGAIN, *NOT_AGAIN)}
    assert below(errors.HTTPException) - abstract - others == listed
    for kind in others:
        assert record().delay(STEADY, get(), 1, kind(), math.inf) is None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_statuses_tried_again(status: int) -> None:
    assert record().delay(STEADY, get(), 1, head(status), math.inf) == 0.5


@pytest.mark.parametrize("status", [200, 301, 400, 404, 408, 500, 501])
def test_statuses_that_are_answers(status: int) -> None:
    assert record().delay(STEADY, get(), 1, head(status), math.inf) is None


def test_statuses_of_ones_own() -> None:
    retry = Retry(statuses=[500], jitter=0)
    assert record().delay(retry, get(), 1, head(500), math.inf) == 0.5
    assert record().delay(retry, get(), 1, head(503), math.inf) is None
    refused = errors.ProxyError("no", status=503)
    assert record().delay(retry, get(), 1, refused, math.inf) is None


# --- which requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_idempotent_methods(method: str) -> None:
    assert record().delay(STEADY, Request(method, parse("http://a/")), 1, head(503), math.inf) is not None


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_other_methods(method: str) -> None:
    url = parse("http://a/")
    request = Request(method, url)
    assert record().delay(STEADY, request, 1, head(503), math.inf) is None
    with_key = request.with_fields({"Idempotency-Key": "1"})
    assert record().delay(STEADY, with_key, 1, head(503), math.inf) == 0.5
    assert record().delay(STEADY, Request(method, url, idempotent=True), 1, head(503), math.inf) == 0.5
    assert record().delay(STEADY, Request("GET", url, idempotent=False), 1, head(503), math.inf) is None


def test_bodies() -> None:
    class File:
        def rewind(self) -> None:
            """It can."""

    def put(body: Any) -> Request:
        return Request("PUT", parse("http://a/"), body=body)

    assert record().delay(STEADY, put(b"x"), 1, head(503), math.inf) == 0.5
    assert record().delay(STEADY, put(File()), 1, head(503), math.inf) == 0.5
    assert record().delay(STEADY, put(iter([b"x"])), 1, head(503), math.inf) is None


# --- how long the pause is --------------------------------------------------------------------------------------------


def test_the_pause_doubles_up_to_its_limit() -> None:
    retry = Retry(attempts=9, backoff=0.5, jitter=0, max_delay=6, budget=None)
    pauses = [record().delay(retry, get(), attempt, head(503), math.inf) for attempt in range(1, 10)]
    assert pauses == [0.5, 1, 2, 4, 6, 6, 6, 6, None]


def test_any_number_of_attempts() -> None:
    retry = Retry(attempts=10**9, jitter=0, budget=None)
    assert record().delay(retry, get(), 10**8, head(503), math.inf) == 30


def test_one_attempt_is_none_more() -> None:
    assert record().delay(Retry(attempts=1), get(), 1, head(503), math.inf) is None


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 4.0), (0.5, 3.0), (1.0, 2.0)])
def test_jitter_takes_its_share(chance: float, pause: float) -> None:
    retry = Retry(backoff=4, jitter=0.5)
    assert record(chance=chance).delay(retry, get(), 1, head(503), math.inf) == pause


def test_full_jitter() -> None:
    assert record(chance=1.0).delay(Retry(jitter=1), get(), 1, head(503), math.inf) == 0


def test_never_past_the_deadline() -> None:
    assert record().delay(STEADY, get(), 1, head(503), 0.51) == 0.5
    assert record().delay(STEADY, get(), 1, head(503), 0.5) is None
    assert record().delay(STEADY, get(), 1, errors.ReadTimeout(), -1) is None


# --- Retry-After ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("7", 7.0),
        ("0", 0.5),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun Nov  6 08:49:47 1994", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.5),  # past
        ("30", 30.0),
        ("31", None),
        ("Sun, 06 Nov 1994 09:49:47 GMT", None),
        ("9" * 30, None),
        ("9" * 9000, None),
        ("soon", 0.5),
        ("-5", 0.5),
        ("1.5", 0.5),
        ("", 0.5),
        ("٣", 0.5),
    ],
)
def test_retry_after(status: int, value: str, pause: float | None) -> None:
    assert record().delay(STEADY, get(), 1, head(status, Retry_After=value), math.inf) == pause


def test_retry_after_is_the_least_that_is_waited() -> None:
    retry = Retry(backoff=10, jitter=0)
    assert record().delay(retry, get(), 1, head(503, Retry_After="3"), math.inf) == 10
    retry = Retry(backoff=2, jitter=1)
    assert record(chance=1).delay(retry, get(), 1, head(503, Retry_After="3"), math.inf) == 3


def test_retry_after_past_the_deadline() -> None:
    assert record().delay(STEADY, get(), 1, head(503, Retry_After="7"), 6.9) is None


def test_a_date_counts_from_the_servers_own_clock() -> None:
    fields = {"Retry_After": "Sun, 06 Nov 1994 08:49:47 GMT", "Date": "Sun, 06 Nov 1994 08:49:45 GMT"}
    assert retry_after(head(503, **fields).headers, NOW + 500) == 2
    fields["Date"] = "nonsense"
    assert retry_after(head(503, **fields).headers, NOW) == 10


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", NOW),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOW),
        ("Sun Nov  6 08:49:37 1994", NOW),
        ("Wed Nov 16 08:49:37 1994", NOW + 10 * 86400),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799.0),
        ("Sun, 06 Nov 1994 08:49:37 CET", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Xyz 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT;", None),
        ("", None),
    ],
)
def test_http_dates(text: str, seconds: float | None) -> None:
    assert http_date(text, NOW) == seconds


@pytest.mark.parametrize(("year", "now", "meant"), [("26", 2026, 2026), ("75", 2026, 2075), ("77", 2026, 1977)])
def test_a_year_of_two_digits_is_at_most_50_years_ahead(year: str, now: int, meant: int) -> None:
    from datetime import UTC, datetime

    at = http_date(f"Monday, 01-Jun-{year} 00:00:00 GMT", datetime(now, 1, 1, tzinfo=UTC).timestamp())
    assert at == datetime(meant, 6, 1, tzinfo=UTC).timestamp()


# --- the budget -------------------------------------------------------------------------------------------------------


def sent(known: RetryRecord, retry: Retry, requests: int, url: str = "http://one.example/") -> int:
    """How often a dead server is asked for so many requests."""
    count = 0
    for _ in range(requests):
        request = get(url)
        known.began(request, retry, None)
        attempt = 1
        while known.delay(retry, request, attempt, errors.ConnectError(), math.inf) is not None:
            attempt += 1
        count += attempt
    return count


@pytest.mark.parametrize("budget", [0.01, 0.1, 0.2, 0.5, 1.0])
def test_an_outage_is_not_amplified(budget: float) -> None:
    asked = sent(record(), Retry(attempts=10, budget=budget), 1000)
    assert 1000 * (1 + budget) - 1 <= asked <= 1000 * (1 + budget) + retries.RESERVE


def test_no_budget_is_no_limit() -> None:
    assert sent(record(), Retry(attempts=3, budget=None), 1000) == 3000


def test_a_budget_of_nothing() -> None:
    assert sent(record(), Retry(attempts=3, budget=0), 1000) == 1000


def test_a_client_that_has_just_begun_may_try_again() -> None:
    assert sent(record(), Retry(attempts=3), 1) == 3


def test_the_reserve_comes_back_with_time_and_no_further() -> None:
    time = Time()
    known = record(time)
    retry = Retry(attempts=100, budget=0.001)
    assert sent(known, retry, 1) == 1 + retries.RESERVE
    assert sent(known, retry, 1) == 1
    time.now += retries.RESERVE_SECONDS / 2
    assert sent(known, retry, 1) == 1 + retries.RESERVE / 2
    time.now += 100 * retries.RESERVE_SECONDS
    assert sent(known, retry, 1) == 1 + retries.RESERVE


def test_a_long_good_time_saves_up_only_so_much() -> None:
    known = record()
    retry = Retry(attempts=1000)
    for _ in range(100_000):
        known.began(get(), retry, None)
    assert sent(known, retry, 1) <= 1 + retries.MOST_SAVED + 1


def test_each_origin_has_its_own_budget() -> None:
    known = record()
    retry = Retry(attempts=100)
    sent(known, retry, 50)
    assert sent(known, retry, 1, "http://one.example/elsewhere") <= 2
    for url in ("http://two.example/", "https://one.example/", "http://one.example:81/"):
        assert sent(known, retry, 1, url) == 1 + retries.RESERVE


def test_what_is_not_tried_again_costs_nothing() -> None:
    known = record()
    retry = Retry()
    for _ in range(100):
        known.delay(retry, get(), 1, head(200), math.inf)
        known.delay(retry, get(), 1, errors.InvalidURL(), math.inf)
        known.delay(retry, get(), 1, head(503), 0.0)
        known.delay(retry, get(), 1, head(503, Retry_After="99"), math.inf)
    assert sent(known, Retry(attempts=100), 1) == 1 + retries.RESERVE


def test_origins_are_remembered_up_to_a_limit() -> None:
    known = record()
    retry = Retry(attempts=100)
    sent(known, retry, 1, "http://first.example/")
    for number in range(2 * retries.MAX_ORIGINS):
        known.began(get(f"http://h{number}.example/"), retry, None)
        if number == retries.MAX_ORIGINS // 2:
            assert sent(known, retry, 1, "http://first.example/") == 1, "it is the one used last now"
    assert len(known._sites) == retries.MAX_ORIGINS
    assert sent(known, retry, 1, "http://first.example/") == 1 + retries.RESERVE, "it was forgotten"


# --- hedging ----------------------------------------------------------------------------------------------------------


def test_hedge_after_seconds() -> None:
    assert record().hedge_after(Hedge(0.3), get()) == 0.3


def test_p95_after_twenty_answers() -> None:
    known = record()
    hedge = Hedge()
    for number in range(19):
        known.took(get(), number / 100)
    assert known.hedge_after(hedge, get()) is None
    known.took(get(), 0.19)
    assert known.hedge_after(hedge, get()) == 0.18
    assert known.hedge_after(hedge, get("http://two.example/")) is None


def test_p95_is_of_the_latest_hundred() -> None:
    known = record()
    for _ in range(1000):
        known.took(get(), 9.0)
    for number in range(100):
        known.took(get(), (99 - number) / 100)
    assert known.hedge_after(Hedge(), get()) == 0.94
    site = known._site(get())
    assert len(site.latest) == len(site.by_time) == 100
    assert sorted(site.latest) == site.by_time


def test_hedges_have_the_same_budget() -> None:
    known = record()
    hedge = Hedge(0.1)
    hedged = 0
    for _ in range(1000):
        known.began(get(), None, hedge)
        hedged += known.may_hedge(hedge, get())
    assert 199 <= hedged <= 200 + retries.RESERVE
    assert sent(known, Retry(attempts=100), 1) == 1, "and they have used it up"
    assert known.may_hedge(Hedge(0.1, budget=None), get())
    assert not record().may_hedge(Hedge(0.1, budget=0), get())


def test_a_request_gives_the_larger_share_of_both() -> None:
    known = record()
    for _ in range(100):
        assert known.delay(Retry(), get(), 1, head(503), math.inf) is not None or known._site(get()).balance < 1
    known.began(get(), Retry(budget=0.1), Hedge(budget=1.0))
    assert known.may_hedge(Hedge(), get())
    assert not known.may_hedge(Hedge(), get())


def test_repr() -> None:
    known = record()
    known.took(get(), 1.0)
    assert repr(known) == "<RetryRecord of 1 origins>"
