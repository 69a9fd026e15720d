"""When what happened in one exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..response import HTTPResponse


class Timings(NamedTuple):
    """How the time of one exchange was spent, in seconds. Each redirect and each retry is an exchange of its own.

    These say how long a step took; None where it was not taken:

    - `queued`: waiting for a connection to become free; 0.0 if one was.
    - `dns`: looking up the name. `connect`: TCP (or the Unix socket). `tunnel`: the proxy's answer to CONNECT.
      `tls`: the handshake.

    These say when something was reached, counted from the moment the client took up the request; None if not yet:

    - `sent`: the request was sent. `first_byte`: the head of the response was there. `done`: the body was, too.

    `reused`: whether the connection had served before.
    """

    queued: float = 0.0
    dns: float | None = None
    connect: float | None = None
    tunnel: float | None = None
    tls: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    done: float | None = None
    reused: bool = False


def timings_of(raw: HTTPResponse, began: float) -> Timings:
    """The timings of an exchange that began at `began` by `time.perf_counter()`."""

    def after(moment: float) -> float | None:
        return moment - began if moment else None  # 0.0: a transport that does not say

    opening = raw.opening
    return Timings(
        queued=raw.queued,
        dns=None if opening is None else opening.lookup,
        connect=None if opening is None else opening.connect,
        tunnel=None if opening is None else opening.tunnel,
        tls=None if opening is None else opening.tls,
        sent=after(raw.sent_at),
        first_byte=after(raw.arrived_at),
        done=after(raw.done_at),
        reused=opening is None and raw.sent_at != 0.0,
    )
