"""`Process`: the event loop of a worker process, in a thread of its own, and the clients that live there."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from .parcel import client_of, loads

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..client.client import Client

T = TypeVar("T")

KEPT = 8
"""Clients without a user that are kept: their connections are open, and their rules remember the hosts."""
_SECONDS_TO_CLOSE = 2.0


class Process:
    """One loop (uvloop where there is one) for all maps of a process, whose thread does nothing else: that of the
    worker goes on answering the scheduler, however busy this one is. It is closed at the end of the process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = _new_loop()
        self._clients: dict[bytes, Client] = {}
        self._users: dict[bytes, int] = {}
        self._thread = threading.Thread(target=self.loop.run_forever, name="aiohttpconn-distributed", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Have a coroutine run in the loop, and await it in another one."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    # --- in the loop ---

    async def use(self, settings: bytes) -> Client:
        """The client of these settings, made if there is none; `leave` follows."""
        client = self._clients.pop(settings, None)
        if client is None:
            client = client_of(loads(settings))
        self._clients[settings] = client  # the last used ones last
        self._users[settings] = self._users.get(settings, 0) + 1
        return client

    async def leave(self, settings: bytes) -> None:
        """One user of a client less. It is kept for the next."""
        self._users[settings] -= 1
        idle = [each for each in self._clients if not self._users[each]]
        closed = []
        for each in idle[: max(0, len(idle) - KEPT)]:
            del self._users[each]
            closed.append(self._clients.pop(each))  # all of them now: while one closes, somebody may use the next
        for client in closed:
            await client.close()

    async def _close_clients(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._clients:
            await self._clients.popitem()[1].close()

    # --- elsewhere ---

    def close(self) -> None:
        """End what is under way, close the clients, and the loop. Idempotent."""
        atexit.unregister(self.close)
        if self.loop.is_closed() or self.pid != os.getpid():
            return
        closing = asyncio.run_coroutine_threadsafe(self._close_clients(), self.loop)
        try:
            closing.result(_SECONDS_TO_CLOSE)
        except Exception:
            pass  # the process ends all the same
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_SECONDS_TO_CLOSE)
        if not self._thread.is_alive():
            self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - workers only
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


_lock = threading.Lock()
_process: Process | None = None


def this_process() -> Process:
    """That of the process it is called in."""
    global _process  # noqa: PLW0603 - there is one a process
    with _lock:
        if _process is None or _process.pid != os.getpid() or _process.loop.is_closed():
            _process = Process()
        return _process
