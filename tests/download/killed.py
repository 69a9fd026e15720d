"""A download in a process of its own, to be killed: ``python -m tests.download.killed URL PATH SEGMENTS RATE``.

A number more is how many bytes the socket is asked to hold.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from aiohttpconn import Client


async def main(url: str, path: str, segments: str, rate: str, buffer: str = "32768") -> None:
    # What the system holds was sent to this process, and not received by it: little enough not to count.
    small = [(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer))]
    async with Client(trust_env=False, socket_options=small) as client:
        limit = float(rate) or None
        download = await client.download(url, path, segments=int(segments), limit_rate=limit)
        print(download.resumed_from, download.fetched)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
