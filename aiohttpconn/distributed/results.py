"""`ClusterResults`: what `map` and `download` return, the results of many machines as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..bulk.map import is_finished
from .dispatch import Dispatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..bulk.checkpoint import Checkpoint
    from .result import ClusterResult

T = TypeVar("T")


class ClusterResults(Generic[T]):
    """An async iterator; also a block, that ends what is still under way when it is left, on the workers too.

    Left by ``break`` or an error, an ``async for`` without the block does that too, as soon as nothing refers to the
    iterator any more. One task at a time may iterate.
    """

    def __init__(
        self, begin: Callable[[], Dispatch], checkpoint: Checkpoint | None, shown: Callable[[ClusterResult], T]
    ) -> None:
        self._begin = begin
        self._checkpoint = checkpoint
        self._shown = shown
        self._dispatch: Dispatch | None = None
        self._given: ClusterResult | None = None  # what the consumer has in hand
        self._over = False
        self._waiting = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        if self._dispatch is None:
            self._dispatch = self._begin()  # in the loop
        dispatch = self._dispatch
        if self._waiting:
            raise RuntimeError("another task is waiting for the next result of this map")
        if self._given is not None:
            self._consumed(dispatch, self._given)
        self._waiting = True
        try:
            more = await dispatch.wait()
        finally:
            self._waiting = False
        if not more:
            await self.aclose()
            if dispatch.failure is not None:
                raise dispatch.failure
            raise StopAsyncIteration
        self._given = result = dispatch.results.popleft()
        return self._shown(result)

    def _consumed(self, dispatch: Dispatch, result: ClusterResult) -> None:
        """The consumer is through with a result: it need not be fetched again."""
        self._given = None
        if result.entry is not None and dispatch.feed is not None:
            dispatch.feed.done(result.entry, is_finished(result))
        elif self._checkpoint is not None and result.key is not None and is_finished(result):
            self._checkpoint.finished(result.key)
        dispatch.consumed()

    async def aclose(self) -> None:
        """End what is still under way, on the workers too, and write the checkpoint. Idempotent."""
        self._over = True
        dispatch, self._dispatch = self._dispatch, None
        try:
            if dispatch is not None:
                await dispatch.stop()
        finally:
            if dispatch is not None and dispatch.feed is not None:
                await dispatch.feed.settle()
            if self._checkpoint is not None:
                await self._checkpoint.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None and self._given is not None and self._dispatch is not None:
            self._consumed(self._dispatch, self._given)
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "_checkpoint", None) is not None:
            self._checkpoint.close_soon()  # type: ignore[union-attr]
        dispatch: Any = getattr(self, "_dispatch", None)
        if dispatch is None:
            return
        if dispatch.feed is not None:
            dispatch.feed.give_back()
        if asyncio._get_running_loop() is dispatch.loop:
            dispatch.task.cancel()
        else:
            try:
                dispatch.loop.call_soon_threadsafe(dispatch.task.cancel)
            except RuntimeError:
                pass  # the loop is closed, and all of it with it

    def __repr__(self) -> str:
        state = "over" if self._over else "not begun" if self._dispatch is None else "under way"
        return f"<ClusterResults {state}>"
