"""`Feed`: a source of requests that hears what became of them, so that it can grow by what they brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client.response import Response
    from ..messages import Request
    from ..url import URL


class Entry(NamedTuple):
    """One request of a feed. `rank` and `number` are its place in the order; `via` has the keys of the requests that
    were redirected to it."""

    rank: int
    number: int
    request: str | URL | Request
    depth: int = 0
    via: tuple[int, ...] = ()


@runtime_checkable
class Feed(Protocol):
    """A source that `Client.map` asks for the next request when there is room for one, and not before.

    The map ends when `take` has nothing and everything that was taken is done.
    """

    wake: Callable[[], None] | None
    """Set by the map while it could send more than the feed has: to be called when something was added."""

    def claim(self) -> None:
        """A map begins to read it. RuntimeError if another one does, and has not given back."""
        ...

    def take(self) -> Entry | None:
        """The next request, None if there is none now."""
        ...

    def done(self, entry: Entry, finished: bool) -> None:
        """The consumer has what it wants of the result. `finished`: it need not be fetched again by another run."""
        ...

    def redirected(self, entry: Entry, response: Response, request: Request) -> None:
        """The response led on to another request, to be sent in its turn if it belongs there; the entry is done, and
        has no result."""
        ...

    def give_back(self) -> None:
        """The map is over, or was left: what was taken, and is not done, waits again; another map may claim it."""
        ...

    def set_aside(self, entry: Entry) -> None:
        """The map keeps what was taken on disk for now, and says when it takes it up, or puts it back; until then, it
        is the map's, and need not be held."""
        ...

    def take_up(self, entry: Entry) -> None:
        """What was set aside is as if it were taken now. It may be an equal entry."""
        ...

    def put_back(self, entry: Entry) -> None:
        """What was set aside waits again."""
        ...

    async def settle(self) -> None:
        """Write down what is to be kept."""
        ...
