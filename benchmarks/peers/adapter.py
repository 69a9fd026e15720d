"""What the benchmark asks of a client."""

from __future__ import annotations

import abc
import ssl
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

Sink = Callable[[Any], object]
"""Called with each piece of a body, whichever kind of buffer the client gives out."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a workload needs a client set up for.

    - `connections`: how many it may have open.
    - `authority`: path of the certificate to trust.
    - `decode`: whether bodies with a Content-Encoding come.
    - `revisits`: False where no origin is asked twice: a client without a bound on its idle connections keeps none.
    - `fresh`: whether each request is to go over a new connection.
    - `proxy`: URL of the proxy to go through; an https one's certificate is of `authority`, too.
    """

    connections: int
    authority: str
    decode: bool = False
    revisits: bool = True
    fresh: bool = False
    proxy: str | None = None

    def tls(self) -> ssl.SSLContext:
        """A verifying context that trusts `authority`."""
        return ssl.create_default_context(cafile=self.authority)


class Peer(abc.ABC):
    """One client. All URLs have numeric hosts; every answer must be a 200. Floors need not offer everything."""

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """The version of the library."""

    @abc.abstractmethod
    async def open(self, settings: Settings) -> None:
        """Make the client."""

    async def get(self, url: str) -> Buffer:
        """The body at `url`, whole and decoded."""
        raise NotImplementedError

    async def stream(self, url: str, sink: Sink | None = None) -> int:
        """Read the body at `url` piece by piece, keep nothing, and return its size."""
        raise NotImplementedError

    async def upload(self, url: str, blocks: AsyncIterable[bytes]) -> Buffer:
        """POST `blocks`, and return the body of the answer."""
        raise NotImplementedError

    async def upload_form(self, url: str, file: Path) -> Buffer:
        """POST a file as multipart/form-data, and return the body of the answer."""
        raise NotImplementedError

    async def begin(self, url: str, least: int) -> int:
        """Read at least so many bytes of the decoded body at `url`, wait a second, leave the rest; how many it were."""
        raise NotImplementedError

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the client and its connections."""


def require_ok(status: int) -> None:
    """Nothing but a 200 is ever measured."""
    if status != 200:
        raise RuntimeError(f"status {status}")
