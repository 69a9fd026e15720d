"""By how many bytes a process grows for a download: ``python -m tests.download.grown URL PATH SEGMENTS…``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttpconn.download  # noqa: F401 - what is loaded is not to be measured
from aiohttpconn import Client


def resident(name: str) -> int:
    """A figure of the process's memory, in bytes: "VmRSS" is that of now, "VmHWM" the highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


async def main(url: str, path: str, *numbers: str) -> None:
    for segments in map(int, numbers):
        async with Client(trust_env=False, verify=False) as client:
            await client.head(url)  # so that TLS is loaded
            before = resident("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the highest is that of now
            await client.download(url, path, segments=segments, overwrite=True)
            print(max(0, resident("VmHWM") - before))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
