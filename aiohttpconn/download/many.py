"""`download_all`: many files, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .result import Download, DownloadResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping


async def download_many(
    items: Iterable[Any] | AsyncIterable[Any],
    bring: Callable[[Any, Any, Mapping[str, Any]], Awaitable[Download]],
    concurrency: int,
    on_result: Callable[[DownloadResult], object] | None = None,
) -> list[DownloadResult]:
    """Have each item of `items` brought by `bring(url, path, keywords)`, so many at a time; the results in their order,
    and each of them to `on_result` as it comes.

    One that fails does not stop the others. When this is cancelled, all are.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ValueError(f"concurrency must be a number, at least 1, not {concurrency!r}")
    results: dict[int, DownloadResult] = {}
    source = _numbered(items)
    turn = asyncio.Lock()

    async def work() -> None:
        while True:
            async with turn:  # an asynchronous generator is asked by one at a time
                try:
                    number, item = await anext(source)
                except StopAsyncIteration:
                    return
            url, path, own = (*item, {})[:3] if isinstance(item, tuple) else (item, None, {})
            results[number] = result = await _one(url, path, own, bring)
            if on_result is not None:
                on_result(result)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        failure: BaseException = errors
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None
    finally:
        await source.aclose()
    return [results[number] for number in sorted(results)]


async def _one(
    url: Any, path: Any, own: Mapping[str, Any], bring: Callable[[Any, Any, Mapping[str, Any]], Awaitable[Download]]
) -> DownloadResult:
    try:
        download = await bring(url, path, own)
    except Exception as error:
        return DownloadResult(str(url), None if path is None else Path(path), None, error)
    return DownloadResult(str(url), download.path, download)


async def _numbered(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[tuple[int, Any], None]:
    number = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield number, item
            number += 1
    else:
        for item in items:
            yield number, item
            number += 1
