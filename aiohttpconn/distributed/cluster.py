"""`Cluster`: a Dask cluster as its user sees it: which workers there are, and a session on one of them."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Self

from .parcel import unpack
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .parcel import Plan
    from .session import Item, Taken

POLL = 0.5
"""Seconds after which the scheduler is asked again which workers there are, while one is waited for."""
_TAKE = 1.0
"""Seconds that a request for results waits for some: it is asked again, and again. While one is under way the worker
holds the session, whose caller may have been killed: what that had begun goes on for as long."""
_SILENCE = 30.0
"""Seconds after which a worker that answers nothing is held to be lost. Dask itself waits for ever, if it learns that
the worker is gone before the connection breaks."""
_STOP = 5.0
"""Seconds that a worker has for ending what is under way."""


class SessionLost(Exception):
    """The worker of a session cannot be reached any more, or has ended it."""


class Cluster:
    """A connection of its own to the scheduler of a cluster, in the running loop: closed, everything is released that
    it had there."""

    def __init__(self, cluster: Any, direct: bool | None) -> None:
        try:
            from distributed import Client  # noqa: PLC0415 - an extra, which takes 0.5 s
        except ImportError as error:
            raise ImportError('aiohttpconn.distributed needs distributed: pip install "aiohttpconn[dask]"') from error
        address: Any
        security: Any
        if isinstance(cluster, str):
            address, security = cluster, None
        elif isinstance(cluster, Client):
            if cluster.scheduler is None:
                raise ValueError(f"the Dask client is not connected, await it: {cluster!r}")
            address, security = cluster.scheduler.address, cluster.security
            direct = cluster.direct_to_workers if direct is None else direct
        elif hasattr(cluster, "scheduler_address"):
            address, security = cluster.scheduler_address, getattr(cluster, "security", None)
            if address == "<Not Connected>":  # Dask's text in place of one
                raise ValueError(f"the cluster is not started, await it: {cluster!r}")
        else:
            raise TypeError(f"cluster must be a Dask cluster, a Dask client, or a scheduler's address, not {cluster!r}")
        self.address = address
        self._options = {"security": security, "direct_to_workers": bool(direct)}
        self._client: Any = None

    async def __aenter__(self) -> Self:
        import distributed  # noqa: PLC0415 - as above

        dask: Any = distributed
        client = dask.Client(self.address, asynchronous=True, set_as_default=False, name="aiohttpconn", **self._options)
        try:
            self._client = await client
        except BaseException as error:
            await client.close(timeout=_STOP)
            if isinstance(error, OSError):
                raise ConnectionError(f"no scheduler at {self.address}: {_reason(error)}") from error
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.close(timeout=_STOP)

    async def workers(self) -> list[str]:
        """The addresses of all workers. Waits until there is one."""
        while not (workers := await self.workers_now()):  # noqa: ASYNC110 - the scheduler has to be asked
            await asyncio.sleep(POLL)
        return workers

    async def workers_now(self) -> list[str]:
        """The same, without waiting. Raises ConnectionError."""
        try:
            return sorted(await self._client.nthreads())
        except OSError as error:  # after Dask's own timeout, 30 s as it comes
            raise ConnectionError(
                f"the scheduler {self.address} is lost: {_reason(error)}; the next run goes on from here: a map "
                "by its checkpoint, downloads by the files that are there"
            ) from error

    async def open(self, plan: Plan, worker: str) -> RemoteSession:
        """A session on a worker. Raises `SessionLost`, and what making the client there does."""
        future = self._client.submit(
            Session, plan, actor=True, pure=False, workers=[worker], key=f"aiohttpconn-{uuid.uuid4().hex}"
        )
        beginning = asyncio.ensure_future(self._begin(future, worker))
        try:
            # A task for a worker that has gone waits for it to come again, and a call may wait for ever.
            while not beginning.done():
                await asyncio.wait([beginning], timeout=POLL)
                if not beginning.done() and worker not in await self.workers_now():
                    raise SessionLost(worker)
            return beginning.result()
        except BaseException:
            beginning.cancel()
            await asyncio.wait([beginning])
            future.release()
            raise

    async def _begin(self, future: Any, worker: str) -> RemoteSession:
        try:
            actor = await future
            with self._client.as_current():
                # Made anew: it has bound itself to the client that was current where it was unpickled, which is a
                # default one of the caller's if there is one.
                actor = type(actor)(actor._cls, actor._address, actor.key)
        except ImportError as error:
            raise ImportError(
                f"the worker {worker} has not the same packages as the caller: {error}; "
                'pip install "aiohttpconn[dask]" there'
            ) from error
        except Exception as error:
            raise SessionLost(worker) from error
        session = RemoteSession(actor, future, worker)
        try:
            await session.start()
        except ImportError as error:
            raise ImportError(
                f"the worker {worker} cannot import what the map needs there: {error}; have it installed there, or "
                "send it (upload_file of the Dask client), or define it in the script itself, which sends it along"
            ) from error
        return session


def _reason(error: OSError) -> str:
    return str(error).rstrip(".")


def _mistake(failure: bytes) -> Exception:
    error = unpack(failure)[2]
    assert error is not None
    return error


class RemoteSession:
    """A `Session`, from afar."""

    def __init__(self, actor: Any, future: Any, worker: str) -> None:
        self._actor = actor
        self._future = future
        self.worker = worker

    async def start(self) -> None:
        """See `Session`. Raises what makes it impossible."""
        failure: bytes | None = await self._call("start")
        if failure is not None:
            raise _mistake(failure)

    async def feed(self, items: list[Item]) -> None:
        """See `Session`."""
        await self._call("feed", items)

    async def take(self) -> list[tuple[int, bytes]]:
        """Results; waits until there is one. Raises what the session came to."""
        while True:
            taken: Taken = await self._call("take", _TAKE)
            results, failure = taken
            if failure is not None:
                raise _mistake(failure)
            if results:
                return results

    async def _call(self, method: str, *args: Any) -> Any:
        try:
            call: Awaitable[Any] = getattr(self._actor, method)(*args)
            async with asyncio.timeout(_SILENCE):
                return await call
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            # As Dask says it, and a session that was stopped: what one comes to by itself is brought as data.
            raise SessionLost(self.worker) from error

    async def stop(self) -> None:
        """End what is under way there, and let it go. Nothing happens after `release`."""
        if self._actor is None:
            return
        try:
            async with asyncio.timeout(_STOP):
                await self._call("stop")
        except (SessionLost, TimeoutError):
            pass
        finally:
            self.release()

    def release(self) -> None:
        """Let it go: Dask then drops the actor."""
        self._actor = None
        self._future.release()
