"""What the servers serve, and the description of it that every measuring process gets."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import dataclass, field
from pathlib import Path

PAGE = b"0123456789abcdef" * 64
"""The 1 KiB that most workloads fetch."""
BLOCK = random.Random(9112).randbytes(1 << 20)
"""1 MiB that does not compress; large bodies repeat it."""
CHUNK_SIZE = 16 * 1024
UPLOAD_BLOCK = BLOCK[: 64 * 1024]
DOCUMENT_SIZE = 119_000
SAMPLE_MIB = 4
"""The large bodies have a small twin of this size, whose checksum is compared before anything is measured."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where things are served, how large they are, and what their checksums (CRC-32) are. Sizes are in bytes.

    `certificate` is the server's, with its key; `proxies` has URLs by their scheme.
    """

    http: str
    https: str
    https_full: str
    raw: str
    port: int
    raw_port: int
    certificate: str
    authority: str
    stream_size: int
    chunked_size: int
    upload_size: int
    tunnel_size: int
    page_crc: int
    document_crc: int
    sample_size: int
    sample_crc: int
    proxies: dict[str, str] = field(default_factory=dict)


def document() -> bytes:
    """A JSON document of `DOCUMENT_SIZE` bytes, as an API would answer: a list of records."""
    dice = random.Random(9110)
    words = ["amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "harbour", "islet", "juniper", "kelp"]
    records: list[dict[str, object]] = []
    size = 0
    while size < DOCUMENT_SIZE:
        record: dict[str, object] = {
            "id": dice.randrange(10**9),
            "name": " ".join(dice.choices(words, k=3)),
            "price": round(dice.uniform(1, 1000), 2),
            "tags": dice.sample(words, k=3),
            "in_stock": dice.random() < 0.5,
            "description": " ".join(dice.choices(words, k=12)),
        }
        records.append(record)
        size += len(json.dumps(record)) + 2
    records.pop()
    text = json.dumps(records).encode()
    # Trailing white space is valid JSON (RFC 8259 section 2), and makes the size exact.
    return text + b" " * (DOCUMENT_SIZE - len(text))


def sample_crc() -> int:
    """The checksum of `SAMPLE_MIB` repetitions of `BLOCK`."""
    crc = 0
    for _ in range(SAMPLE_MIB):
        crc = zlib.crc32(BLOCK, crc)
    return crc


def write_site(root: Path, stream_size: int, tunnel_size: int) -> None:
    """Write the files that nginx serves into `root`."""
    (root / "page").write_bytes(PAGE)
    (root / "document").write_bytes(gzip.compress(document(), 6, mtime=0))
    for name, size in (("large", stream_size), ("tunnelled", tunnel_size), ("sample", SAMPLE_MIB << 20)):
        with (root / name).open("wb") as file:
            for _ in range(size >> 20):
                file.write(BLOCK)
