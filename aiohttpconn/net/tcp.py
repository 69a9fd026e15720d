"""Connected sockets: happy eyeballs (RFC 8305), Unix domain sockets, source addresses."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import ConnectError
from ..unix_socket import socket_path
from .attempts import Attempt, Attempts, shown

if TYPE_CHECKING:
    from .address_book import AddressBook
    from .socket_options import SocketOptions

Address: TypeAlias = tuple[int, Any]
"""Address family and socket address, as `socket.getaddrinfo` has them."""

HAPPY_EYEBALLS_DELAY = 0.25  # RFC 8305 section 5: Connection Attempt Delay
MOST_ADDRESSES = 32
"""How many addresses of one name are tried for one connection."""
_SALVAGE = 1_048_576
_OURS = {errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.ENOBUFS, errno.ENOMEM}
"""What a connection fails by that is not the address's fault: no port is left, no memory."""


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """The addresses in their order, families taking turns, the first one's first (RFC 8305 section 4)."""
    if not addresses:
        return []
    first = addresses[0][0]
    ours = [address for address in addresses if address[0] == first]
    others = [address for address in addresses if address[0] != first]
    return [address for pair in zip_longest(ours, others) for address in pair if address is not None]


async def _connect_one(
    address: Address,
    local_address: tuple[str, int] | None,
    book: AddressBook | None = None,
    options: SocketOptions | None = None,
) -> socket.socket:
    family, where = address
    loop = asyncio.get_running_loop()
    # asyncio switches TCP_NODELAY on only where it sees that the socket is TCP's.
    proto = socket.IPPROTO_TCP if family in (socket.AF_INET, socket.AF_INET6) else 0
    sock = socket.socket(family, socket.SOCK_STREAM, proto)
    try:
        sock.setblocking(False)
        if options is not None:
            options.apply(sock)
        if local_address is not None:
            _bind(sock, local_address)
        try:
            await loop.sock_connect(sock, where)
        except OSError as error:
            if book is not None and error.errno not in _OURS:
                book.failed(address, loop.time())
            # Both loops' text is "Connect call failed", whatever the reason was.
            if not error.errno:
                raise
            raise OSError(error.errno, os.strerror(error.errno)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, local_address: tuple[str, int]) -> None:
    try:
        sock.bind(local_address)
    except socket.gaierror as error:
        version = "6" if sock.family == socket.AF_INET6 else "4"
        raise ConnectError(f"{local_address[0]!r} is no local address for IPv{version}") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConnectError(f"{local_address[0]!r} cannot be connected from: {why}") from error


async def connect_tcp(
    addresses: Sequence[Address],
    *,
    local_address: tuple[str, int] | None = None,
    delay: float | None = HAPPY_EYEBALLS_DELAY,
    book: AddressBook | None = None,
    options: SocketOptions | None = None,
    attempts: Attempts | None = None,
    in_order: bool = False,
) -> socket.socket:
    """A non-blocking socket connected to the first of `addresses` that answers.

    An attempt begins `delay` seconds after the one before it, or as soon as that one fails (RFC 8305 section 5); with
    `delay` None they go strictly one after the other. The families take turns, unless they are `in_order`; with a
    `book`, which has them in its order already, they are tried as they stand, and it is told what came of each: that
    one failed, was overtaken by one that began later, or had said nothing in its full time when all were given up,
    counts against it. No more than 32 are tried. What is tried is noted in `attempts`.

    Raises `ConnectError` with an exception group of all as its cause, each with a note of its address. No socket and no
    task is left behind, also when cancelled.
    """
    if attempts is None:
        attempts = Attempts(book)
    if len(addresses) == 1:
        return await _connect_only(addresses[0], local_address, options, attempts)
    waiting = (list(addresses) if in_order or book is not None else interleave(addresses))[MOST_ADDRESSES - 1 :: -1]
    attempts.wait_for_each(delay)
    loop = asyncio.get_running_loop()
    tasks: dict[asyncio.Task[socket.socket], Attempt] = {}
    running: set[asyncio.Task[socket.socket]] = set()
    winner: socket.socket | None = None
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop()
                task = asyncio.create_task(_connect_one(address, local_address, book, options), name=shown(address))
                tasks[task] = attempts.begin(address, loop.time())
                running.add(task)
            done, running = await asyncio.wait(
                running, timeout=delay if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None:
                    running |= done - {task}
                    winner = task.result()
                    attempts.winner = tasks[task].address
                    if book is not None:
                        _note_race(book, tasks, task, delay or math.inf)
                    return winner
                tasks[task].error = error  # type: ignore[assignment]
    except asyncio.CancelledError:
        attempts.given_up(loop.time())
        raise
    finally:
        try:
            await _discard(running)
        except BaseException:  # cancelled meanwhile: what was won is nobody's
            if winner is not None:
                winner.close()
            raise
    raise attempts.failure()


async def _connect_only(
    address: Address, local_address: tuple[str, int] | None, options: SocketOptions | None, attempts: Attempts
) -> socket.socket:
    attempt = attempts.begin(address, asyncio.get_running_loop().time())
    try:
        return await _connect_one(address, local_address, None, options)
    except ConnectError:
        raise  # an option or the local address: the address that was to be dialled had no part in it
    except OSError as error:
        attempt.error = error
    raise attempts.failure()


def _note_race(
    book: AddressBook,
    tasks: dict[asyncio.Task[socket.socket], Attempt],
    winner: asyncio.Task[socket.socket],
    delay: float,
) -> None:
    """The winner works; what had its full time before the winner began, and has said nothing yet, holds up others."""
    won = tasks[winner]
    book.worked(won.address)
    now = asyncio.get_running_loop().time()
    for task, attempt in tasks.items():
        if (
            not task.done() and won.since - attempt.since >= 0.9 * delay
        ):  # timers may be early by the clock's resolution
            book.failed(attempt.address, now)


async def _discard(attempts: set[asyncio.Task[socket.socket]]) -> None:
    """End attempts that lost the race, and close what they may have opened meanwhile."""
    for task in attempts:
        task.cancel()
        task.add_done_callback(_close_result)
    # They end at the next turn of the loop: nothing in them waits once it is cancelled.
    while any(not task.done() for task in attempts):  # noqa: ASYNC110 - one turn, or two; nothing to signal it
        await asyncio.sleep(0)


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def connect_unix(path: str, options: SocketOptions | None = None) -> socket.socket:
    """A non-blocking socket connected to a Unix domain socket; ``"@name"`` or ``"\\0name"`` is an abstract one."""
    return await connect_tcp([(socket.AF_UNIX, socket_path(path))], options=options)


def salvage(descriptor: int) -> bytes:
    """What the peer sent before the connection broke and the loop has not read.

    A peer that answers an upload early and closes makes a write fail; loops then close the socket without reading, and
    the answer would be lost. `descriptor` is the socket's, still open. (Not on Windows, where sockets are no files.)
    """
    parts = []
    size = 0
    try:
        while size < _SALVAGE and (data := os.read(descriptor, _SALVAGE)):
            parts.append(data)
            size += len(data)
    except OSError:
        pass  # nothing more is there, or the reset itself
    return b"".join(parts)
