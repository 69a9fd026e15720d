"""What happened to one call, on a page that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import HTTPException
from ..secrets import masked_text, masked_url
from ..unix_socket import shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..response import HTTPResponse
    from .response import Response


def explain(response: Response) -> str:
    """See `Response.explain`."""
    hops = (*response.history, response)
    lines = [
        f"{response.request.method} {masked_url(hops[0].url)} came to {_outcome(response)}"
        + (f" after {len(hops) - 1} other{'s' if len(hops) > 2 else ''}" if len(hops) > 1 else "")
    ]
    for number, hop in enumerate(hops, 1):
        lines.append("")
        if len(hops) > 1:
            lines.append(f"{number}. {hop.request.method} {masked_url(hop.url)}")
        indent = "   " if len(hops) > 1 else ""
        lines += [f"{indent}{what + ':':<14}{said}" for what, said in _facts(hop)]
    return "\n".join(lines) + "\n"


def _outcome(response: Response) -> str:
    return f"{response.status} {response.reason}".rstrip()


def _facts(response: Response) -> Iterator[tuple[str, str]]:
    raw, timings = response._raw, response.timings
    if response.dropped:
        yield "not sent", f"{', '.join(response.dropped)} (fields that stay with the origin before the redirect)"
    for number, attempt in enumerate(response.attempts, 1):
        outcome = attempt.outcome
        if isinstance(outcome, HTTPException):
            came_to = f"{type(outcome).__name__}: {masked_text(outcome.describe())}"
        else:
            came_to = str(outcome)
        yield f"attempt {number}", f"{came_to}; the next one {_time(attempt.delay)} later"
    origin = response.url.origin
    yield "route", f"{origin}, {_way(raw)}"
    if response.hedged is not None:
        after, won = response.hedged
        won_or_not = "answered first" if won else "was called off"
        yield "hedge", f"a second attempt went out {_time(after)} after the first, and {won_or_not}"
    if raw.from_cache and raw.sent_at == raw.arrived_at:
        yield "connection", "none: it came from the cache"
    elif raw.opening is not None:
        why = f", since {raw.opening.why}" if raw.opening.why else ""
        yield "connection", f"opened for this request{why}"
    elif timings.reused:
        yield "connection", "used before, and kept alive"
    else:
        yield "connection", "unknown: the transport does not say"
    yield "response", f"{_outcome(response)}, {response.http_version}, {_body(response)}"
    yield "time", _times(response)


def _way(raw: HTTPResponse) -> str:
    if raw.proxy is not None:
        return f"through the proxy {raw.proxy}"
    return "directly" if raw.uds is None else f"through the socket {shown_path(raw.uds)}"


def _body(response: Response) -> str:
    size = response.num_bytes_downloaded
    coding = ", ".join(response.headers.getall("Content-Encoding", ()))
    read = f"{size:,} bytes of body" if size or response.is_stream_consumed else "its body not read"
    return f"{read} ({coding})" if coding else read


def _times(response: Response) -> str:
    timings = response.timings
    steps = [
        ("queued", timings.queued or None),
        ("dns", timings.dns),
        ("connect", timings.connect),
        ("tunnel", timings.tunnel),
        ("tls", timings.tls),
    ]
    if timings.sent is not None and timings.first_byte is not None:
        before = sum([seconds for _, seconds in steps if seconds is not None])
        steps.append(("sending", max(0.0, timings.sent - before)))
        steps.append(("waiting for the answer", timings.first_byte - timings.sent))
    if timings.done is not None and timings.first_byte is not None:
        steps.append(("reading it", timings.done - timings.first_byte))
    total = timings.done if timings.done is not None else timings.first_byte
    if total is None:
        return "none: it came from the cache" if response.from_cache else "unknown"
    said = ", ".join([f"{name} {_time(seconds)}" for name, seconds in steps if seconds is not None])
    return f"{_time(total)}{'' if timings.done is not None else ' so far'}: {said}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"
