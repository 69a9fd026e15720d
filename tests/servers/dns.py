"""A DNS server on loopback: UDP, one question a message (RFC 1035), answers as it is told."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


@dataclass
class Records:
    """What the server says of a name: addresses, or an error; `slow_v4`, `slow_v6`: after seconds, None for never."""

    addresses: tuple[str, ...] = ()
    ttl: int = 300
    code: int = NOERROR
    slow_v4: float | None = 0.0
    slow_v6: float | None = 0.0
    code_v6: int | None = None

    def code_of(self, kind: int) -> int:
        return self.code_v6 if kind == AAAA and self.code_v6 is not None else self.code

    def delay_of(self, kind: int) -> float | None:
        return self.slow_v6 if kind == AAAA else self.slow_v4


class DNSServer(asyncio.DatagramProtocol):
    """``async with DNSServer({"a.example": Records(("127.0.0.1",))}) as server``; names it does not know: NXDOMAIN."""

    def __init__(self, zone: Mapping[str, Records], host: str = "127.0.0.1") -> None:
        self.zone = dict(zone)
        self.host = host
        self.asked: list[tuple[str, int]] = []
        """The questions that came: name in lower case, and type."""
        self.transport: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, 0))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.transport.close()

    @property
    def authority(self) -> str:
        """``"127.0.0.1:5353"``, as a name server is given."""
        return f"{self.host}:{self.transport.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        labels, at = [], 12
        while (length := data[at]) != 0:
            labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        end = at + 5
        (kind,) = struct.unpack_from("!H", data, at + 1)
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        records = self.zone.get(name, Records(code=NXDOMAIN))
        reply = self._reply(data[:2], data[12:end], records, kind)
        delay = records.delay_of(kind)
        if delay is not None:
            asyncio.get_running_loop().call_later(delay, self._send, reply, addr)

    def _send(self, reply: bytes, addr: Any) -> None:
        if not self.transport.is_closing():
            self.transport.sendto(reply, addr)

    @staticmethod
    def _reply(number: bytes, question: bytes, records: Records, kind: int) -> bytes:
        code = records.code_of(kind)
        answers = b""
        count = 0
        for text in records.addresses if code == NOERROR else ():
            address = ipaddress.ip_address(text)
            if (address.version == 6) == (kind == AAAA) and kind in (A, AAAA):
                # The name is a pointer to the question's (RFC 1035 section 4.1.4).
                answers += struct.pack("!HHHIH", 0xC00C, kind, 1, records.ttl, len(address.packed)) + address.packed
                count += 1
        return number + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0) + question + answers
