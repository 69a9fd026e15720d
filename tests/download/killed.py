"""A download in a process of its own, to be killed: ``python -m tests.download.killed LOOP URL PATH SEGMENTS BUFFER``.

LOOP is "asyncio" or "uvloop", BUFFER how many bytes the socket is asked to hold.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop

from aiohttpconn import Client


async def main(url: str, path: str, segments: str, buffer: str) -> None:
    # What the system holds was sent to this process, and not received by it: little enough not to count.
    small = [(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer))]
    async with Client(trust_env=False, socket_options=small) as client:
        await client.download(url, path, segments=int(segments))


if __name__ == "__main__":
    {"asyncio": asyncio.run, "uvloop": uvloop.run}[sys.argv[1]](main(*sys.argv[2:]))
