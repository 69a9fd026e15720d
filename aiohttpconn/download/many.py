"""`download_all`: many files, some at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..config import check_count
from ..secrets import masked_url
from ..url import URL
from .place import NameTaken
from .result import Download, DownloadResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class Bring(Protocol):
    """Brings one item. `own`: its keywords. `number`: which of the items it is. `last`: whether nobody else will take a
    name any more."""

    async def __call__(self, url: Any, path: Any, own: Mapping[str, Any], *, number: int, last: bool) -> Download:
        """Raises `NameTaken` if its name is another item's, for all that is known before the last."""
        ...


async def download_many(
    items: Iterable[Any] | AsyncIterable[Any],
    bring: Bring,
    concurrency: int,
    on_result: Callable[[DownloadResult], object] | None = None,
) -> list[DownloadResult]:
    """Have each item of `items` brought, so many at a time; the results in their order, and each to `on_result` as it
    comes.

    One that fails does not stop the others. When this is cancelled, all are. What `items` raises is raised when those
    before it are done.
    """
    check_count("concurrency", concurrency)
    if isinstance(items, (str, bytes, URL)) or not isinstance(items, (Iterable, AsyncIterable)):
        raise TypeError(f"items must be several URLs, or pairs of URL and path: one is given as [url], not {items!r}")
    many = _Many(bring, concurrency, on_result)
    await many.run(items, last=False)
    if many.failure is None:
        again, many.later = many.later, {}
        await many.run(again.items(), last=True, numbered=True)
    if many.failure is not None:
        done = sum(result.ok for result in many.results.values())
        many.failure.add_note(f"{done} files are there: what gave the items failed after {len(many.results)} of them")
        raise many.failure
    return [many.results[number] for number in sorted(many.results)]


class _Many:
    def __init__(self, bring: Bring, concurrency: int, on_result: Callable[[DownloadResult], object] | None) -> None:
        self._bring = bring
        self._on_result = on_result
        self._concurrency = concurrency
        self.results: dict[int, DownloadResult] = {}
        self.later: dict[int, Any] = {}
        """Items whose names may be those of others."""
        self.failure: Exception | None = None
        """What the items themselves failed with."""

    async def run(self, items: Iterable[Any] | AsyncIterable[Any], *, last: bool, numbered: bool = False) -> None:
        source = _each(items) if numbered else _numbered(items)
        turn = asyncio.Lock()

        async def work() -> None:
            while True:
                async with turn:  # an asynchronous generator is asked by one at a time
                    try:
                        number, item = await anext(source)
                    except StopAsyncIteration:
                        return
                    except Exception as error:
                        self.failure = error
                        return
                await self._one(number, item, last)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            failure: BaseException = errors
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
            raise failure from None
        finally:
            await source.aclose()

    async def _one(self, number: int, item: Any, last: bool) -> None:
        url, path, own = item, None, {}
        try:
            if isinstance(item, (tuple, list)):
                if len(item) not in (2, 3):
                    raise TypeError(f"an item is a URL, (URL, path) or (URL, path, keywords), not {len(item)} things")
                url, path, own = (*item, {})[:3]
            if not isinstance(url, (str, URL)):
                raise TypeError(f"an item is a URL, or a pair of URL and path, not {type(url).__name__}")
            if path is not None and not isinstance(path, (str, os.PathLike)):
                raise TypeError(f"the path of an item must be text or a path, not {path!r}")
            if not isinstance(own, Mapping):
                raise TypeError(f"the keywords of an item must be a dict, not {own!r}")
            download = await self._bring(url, path, own, number=number, last=last)
        except NameTaken:
            self.later[number] = item
            return
        except Exception as error:
            place = Path(path) if isinstance(path, (str, os.PathLike)) else None
            result = DownloadResult(_said(url), place, None, error)
        else:
            result = DownloadResult(str(url), download.path, download)
        self.results[number] = result
        if self._on_result is not None:
            self._on_result(result)


def _said(url: Any) -> str:
    return str(url) if isinstance(url, (str, URL)) else masked_url(repr(url))


async def _each(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _numbered(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[tuple[int, Any], None]:
    number = 0
    async for item in _each(items):
        yield number, item
        number += 1
