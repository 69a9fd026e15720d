"""From a host, a socket or a path to an open `Stream`; and the tunnel through a proxy as a step on the way.

These functions know no time limits: whoever calls them puts one deadline around lookup, TCP, tunnel and TLS together.
When they raise, or are cancelled, nothing stays open.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from ..errors import ConnectError, HTTPException, ProxyError
from ..messages import Opening, ResponseHead
from ..unix_socket import shown_path
from ..wire.framing import ChunkedDecoder, CloseDecoder, Framing, LengthDecoder, proxy_closes, response_framing
from ..wire.head import MAX_FIELDS, MAX_HEAD, HeadParser, encode_request_head
from .attempts import Attempts
from .resolve import GivenAddresses, Resolver, resolve
from .socket_options import SocketOptions
from .stream import Stream
from .tcp import HAPPY_EYEBALLS_DELAY, Address, connect_tcp, connect_unix

if TYPE_CHECKING:
    from .address_book import AddressBook
    from .guard import AddressPolicy

REFUSAL_BODY = 65_536
"""Bytes of a proxy's refusal that `ProxyError.body` keeps."""
REFUSAL_WAIT = 5.0
"""Seconds that a proxy gets to send them: one that says no and then drips its page must not hold up the error."""


async def open_stream(
    host: str,
    port: int,
    *,
    sock: socket.socket | None = None,
    uds: str | None = None,
    local_address: tuple[str, int] | str | None = None,
    socket_options: SocketOptions | None = None,
    happy_eyeballs_delay: float | None = HAPPY_EYEBALLS_DELAY,
    resolver: Resolver | None = None,
    book: AddressBook | None = None,
    policy: AddressPolicy | None = None,
    opening: Opening | None = None,
    attempts: Attempts | None = None,
) -> Stream:
    """A stream in the clear to `host`:`port`, or over the connected socket `sock`, or the Unix socket at path `uds`.

    In which order the addresses of a name are tried is up to `book`; which of them may be, to `policy` (a `sock` is
    nobody's to judge: it is connected). How long it took is noted in `opening`, what was tried in `attempts`.

    Raises `ResolveError`, `AddressBlocked`, `ConnectError`.
    """
    where = f"{host}:{port}" if uds is None else shown_path(uds)
    if isinstance(local_address, str):
        local_address = (local_address, 0)
    opening = opening or Opening()
    if attempts is None:
        attempts = Attempts(book)
    began = perf_counter()
    try:
        if sock is not None:
            return await stream_over(sock)
        if uds is not None:
            if policy is not None:
                policy.check_unix(uds)
            stream = await stream_over(await connect_unix(uds, socket_options))
        else:
            if policy is not None:
                policy.check_host(host, port)
            addresses = await resolve(host, port, resolver)
            in_order = type(addresses) is GivenAddresses
            if policy is not None:
                # From here on nothing is looked up again: what was judged is what is dialled.
                addresses = policy.permitted(host, port, addresses)
            looked_up = perf_counter()
            opening.lookup, began = looked_up - began, looked_up
            if book is not None:
                now = asyncio.get_running_loop().time()
                addresses = book.order(host, port, addresses, now, in_order=in_order)
            if (
                local_address is None
                and socket_options is None
                and len(addresses) == 1
                and not any(addresses[0][1][2:])
            ):
                stream = await _stream_to(addresses[0], attempts)
            else:
                connected = await connect_tcp(
                    addresses,
                    local_address=local_address,
                    delay=happy_eyeballs_delay,
                    book=book,
                    options=socket_options,
                    attempts=attempts,
                    in_order=in_order,
                )
                stream = await stream_over(connected)
                if socket_options is not None:
                    socket_options.apply_again(connected)
        opening.connect = perf_counter() - began
        return stream
    except HTTPException as error:
        if type(error) is ConnectError:
            error.args = (f"cannot connect to {where}: {error.args[0]}",)
        raise
    except OSError as error:
        # The numbers of look-ups are others than the system's.
        why = os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else str(error)
        raise ConnectError(f"cannot connect to {where}: {why}") from error


async def _stream_to(address: Address, attempts: Attempts) -> Stream:
    """A stream to the only address there is. The loop connects: uvloop does it at half the cost of `sock_connect`."""
    loop = asyncio.get_running_loop()
    family, where = address
    stream = Stream(loop)
    attempt = attempts.begin(address, loop.time())
    try:
        await loop.create_connection(lambda: stream, where[0], where[1], family=family)
        return stream
    except OSError as error:
        _discard(stream)
        if error.errno:  # both loops' text is "Connect call failed", whatever the reason was
            error.strerror = os.strerror(error.errno)
        attempt.error = error
    except BaseException:
        _discard(stream)
        raise
    raise attempts.failure()


async def stream_over(sock: socket.socket) -> Stream:
    """A stream over a connected socket, which it owns from now on. Raises OSError if it cannot be used."""
    loop = asyncio.get_running_loop()
    stream = Stream(loop)
    try:
        sock.setblocking(False)
        # uvloop wants to be told apart which kind of socket it is.
        if hasattr(socket, "AF_UNIX") and sock.family == socket.AF_UNIX:
            await loop.create_unix_connection(lambda: stream, sock=sock)
        else:
            await loop.create_connection(lambda: stream, sock=sock)
    except BaseException:
        if not _discard(stream):
            sock.close()
        raise
    return stream


def _discard(stream: Stream) -> bool:
    """Close a stream that may not have come to be; whether it had."""
    if not hasattr(stream, "transport"):
        return False
    stream.abort()
    return True


class TunnelChallenged(ProxyError):
    """The proxy's challenge has an answer, `fields`, and its connection ended: it is to be asked on a new one.

    Not for callers: the answer is a secret.
    """

    def __init__(self, fields: bytes) -> None:
        super().__init__("the proxy asked who one is and closed the connection")
        self.fields = fields


async def open_tunnel(
    stream: Stream,
    authority: str,
    fields: bytes = b"",
    *,
    proxy: str = "",
    answer: Callable[[ResponseHead, int], bytes | None] | None = None,
    host_field: str | None = None,
    max_head: int = MAX_HEAD,
    max_fields: int = MAX_FIELDS,
) -> ResponseHead:
    """Ask the proxy at the other end of `stream` for a tunnel to `authority` (RFC 9110 section 9.3.6).

    Args:
        fields: more fields in wire form.
        proxy: what messages call the proxy.
        answer: given the head of a 407, and how many were answered before, the fields to ask once more with; None to
            give up.
        host_field: the value of Host.

    Returns the head of the proxy's 2xx. Raises `ProxyError` for whatever else it says or does; the stream is then of no
    further use, and aborting it is the caller's. `TunnelChallenged` if asking once more needs a new one.
    """
    name = f"the proxy {proxy}" if proxy else "the proxy"
    answered = 0
    while True:
        stream.transport.write(encode_request_head("CONNECT", authority, host_field, fields))
        parser = HeadParser(max_head, max_fields)
        try:
            head = await _final_head(stream, parser)
            if 200 <= head.status < 300:
                stream.reader.unread(parser.rest)
                return head
            body, is_kept = await _refusal_body(stream, head, parser.rest)
        except HTTPException as error:
            if answered and not parser.bytes_received:
                raise TunnelChallenged(fields) from error  # it had closed with its challenge, and had not said so
            raise ProxyError(f"{name} gave no answer to CONNECT {authority} that makes sense: {error}") from error
        again = answer(head, answered) if head.status == 407 and answer is not None else None
        if again is None:
            raise ProxyError(
                f"{name} refused CONNECT {authority}: {head.status} {head.reason}".rstrip()
                + (_about_credentials(head, fields) if head.status == 407 else ""),
                status=head.status,
                headers=head.headers,
                body=body,
            )
        if not is_kept:
            raise TunnelChallenged(again)
        fields = again
        answered += 1


def _about_credentials(head: ResponseHead, fields: bytes) -> str:
    """What to do about a 407 (RFC 9110 section 15.5.8)."""
    schemes = [value.split(" ", 1)[0] for value in head.headers.getall("Proxy-Authenticate", ())]
    wants = f"it wants {', '.join(dict.fromkeys(schemes))[:100]}; " if any(schemes) else ""
    if re.search(rb"^proxy-authorization:", fields, re.IGNORECASE | re.MULTILINE):
        return f" ({wants}the credentials that were sent are not what it takes)"
    return f" ({wants}no credentials were sent: give them in the proxy's URL, or by Proxy(url, auth=…))"


async def _final_head(stream: Stream, parser: HeadParser) -> ResponseHead:
    reader = stream.reader
    interim = 0
    data = b""
    while True:
        if not data and not (data := reader.take()):
            if reader.ended:
                raise ProxyError(
                    "it closed the connection" + (f" ({stream.loss})" if stream.loss else "")
                ) from stream.loss
            await reader.waiter()
            continue
        head = parser.feed(data)
        data = b""
        if head is not None:
            if head.status >= 200 or head.status == 101:
                return head
            interim += 1
            if interim > 16:
                raise ProxyError("it sent more than 16 interim responses")
            data = parser.rest


async def _refusal_body(stream: Stream, head: ResponseHead, rest: bytes) -> tuple[bytes, bool]:
    """The first 64 KiB of the proxy's explanation (what is wrong with it does not matter), and whether the stream can
    carry another request after it."""
    decoder: LengthDecoder | ChunkedDecoder | CloseDecoder
    try:
        kind, length, keep_alive = response_framing(head, "GET")
    except HTTPException:
        return b"", False
    keep_alive = keep_alive and not proxy_closes(head.headers)
    if kind is Framing.LENGTH:
        decoder = LengthDecoder(length or 0)
    elif kind is Framing.CHUNKED:
        decoder = ChunkedDecoder()
    elif kind is Framing.CLOSE:
        decoder = CloseDecoder()
    else:
        return b"", keep_alive and not rest
    parts: list[bytes] = []
    size = 0
    reader = stream.reader
    data = rest
    try:
        async with asyncio.timeout(REFUSAL_WAIT):
            while size < REFUSAL_BODY and not decoder.done and decoder.error is None:
                for piece in decoder.feed(data) if data else ():
                    parts.append(piece)
                    size += len(piece)
                if decoder.done or size >= REFUSAL_BODY:
                    break
                if not (data := reader.take()):
                    if reader.ended:
                        break
                    await reader.waiter()
                    data = reader.take()
    except TimeoutError:
        pass
    is_kept = keep_alive and decoder.done and decoder.error is None and not decoder.unused and not reader.buffered
    return b"".join(parts)[:REFUSAL_BODY], is_kept
