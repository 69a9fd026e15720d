"""The lifespan of an ASGI application: what it does before the first request and after the last."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import Application, Message


class Lifespan:
    """Runs an application's lifespan (ASGI's lifespan protocol 2.0) in a task of its own.

    `state` is what the application left there for its requests. With `required` an application that does not know of
    the protocol is an error; without, it goes without.
    """

    def __init__(self, app: Application, *, required: bool) -> None:
        self.required = required
        self.state: dict[str, Any] = {}
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[Message]
        self._started: asyncio.Future[None]
        self._stopped: asyncio.Future[None]

    @property
    def running(self) -> bool:
        """Whether the application has started up and not shut down."""
        return self._task is not None

    async def start_up(self) -> None:
        """Have the application start. Raises RuntimeError if it says that it failed, or what it raised."""
        if self._task is not None:
            raise RuntimeError("the application's lifespan has begun already")
        loop = asyncio.get_running_loop()
        self._inbox = asyncio.Queue()
        self._started, self._stopped = loop.create_future(), loop.create_future()
        self._inbox.put_nowait({"type": "lifespan.startup"})
        self._task = task = loop.create_task(self._run())
        try:
            await asyncio.wait((self._started, task), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self._cancel()
            raise
        if self._started.done() and (self._started.exception() is None):
            return
        await self._cancel()
        failed = self._started.exception() if self._started.done() else None
        if failed is not None:
            raise failed
        raised = None if task.cancelled() else task.exception()
        if self.required:
            raise RuntimeError("the application does not know the lifespan protocol") from raised

    async def shut_down(self) -> None:
        """Have the application end. Raises RuntimeError if it says that it failed, or what it raised. Idempotent."""
        task = self._task
        if task is None:
            return
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        try:
            await asyncio.wait((self._stopped, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._cancel()
        if self._stopped.done():
            self._stopped.result()
        elif not task.cancelled():
            task.result()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app(scope, self._inbox.get, self._send)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        phase, _, outcome = kind.removeprefix("lifespan.").partition(".")
        waiter = {"startup": self._started, "shutdown": self._stopped}.get(phase)
        if waiter is None or outcome not in ("complete", "failed"):
            raise RuntimeError(f"the application sent {kind!r} in its lifespan")
        if waiter.done():
            return
        if outcome == "complete":
            waiter.set_result(None)
        else:
            waiter.set_exception(RuntimeError(f"the application's {phase} failed: {message.get('message', '')}"))

    async def _cancel(self) -> None:
        """End the task: let it return by itself if it is about to."""
        task, self._task = self._task, None
        if task is None:
            return
        for _ in range(10):
            if task.done():
                break
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
        for waiter in (self._started, self._stopped):
            if waiter.done():
                waiter.exception()
