"""`ClusterResult`: what came of one request of a map over many machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..bulk.result import MapResult

if TYPE_CHECKING:
    from ..client.response import Response
    from ..messages import Request
    from ..url import URL


class WorkerLost(Exception):
    """The workers that had a request were lost before it was done.

    - `workers`: their addresses, a loss each. `sent_again`: whether it was sent more than once: one that is not
      idempotent (RFC 9110 section 9.2.2) is not, because the first may have had its effect.
    """

    def __init__(self, workers: tuple[str, ...], sent_again: bool) -> None:
        super().__init__(workers, sent_again)
        self.workers = workers
        self.sent_again = sent_again

    def __str__(self) -> str:
        if self.sent_again:
            workers = ", ".join(dict.fromkeys(self.workers))
            return f"the worker that had it was lost, {len(self.workers)} times: {workers}"
        return f"the worker was lost while it had it, and it is not idempotent: {self.workers[0]}"


class ClusterResult(MapResult):
    """A `MapResult` that a worker brought.

    - `response`: a snapshot of it, without its body if there is a `handle`: then only `value` was brought.
    - `worker`: the address of the worker; None if there was nothing to send.
    """

    __slots__ = ("following", "led", "lost", "path", "worker")

    def __init__(self, index: int, given: str | URL | Request) -> None:
        super().__init__(index, given)
        self.worker: str | None = None
        self.path: str | None = None  # of a download
        self.lost: tuple[str, ...] = ()  # the workers that had it
        self.led: list[Response] = []  # the redirects so far
        self.following: Request | None = None  # where they led

    def item(self) -> Any:
        """What the worker is fed."""
        return (self.following or self.given) if self.path is None else (self.given, self.path)

    @property
    def hops(self) -> int:
        """How many redirects led here."""
        return len(self.led) if self.entry is None else len(self.entry.via)
