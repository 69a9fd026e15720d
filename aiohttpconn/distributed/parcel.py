"""What goes between the caller and the workers, as bytes: the plan of a map, and its results."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..download.result import Download
from ..errors import HTTPException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..client.client import Client
    from ..client.response import Response
    from ..messages import Request

PROTOCOL = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker needs to know. `client` and `work` are pickled: here they stay what the caller gave, and the same
    bytes mean the same client.

    - `client`: keywords of `Client`, or a function that returns one. `work`: see `Work`.
    """

    client: bytes
    work: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with each request: `kind` is "map" or "download".

    - `concurrency`: how many at a time. `options`: keywords of `Client.map` or `Client.download`.
    """

    kind: str
    concurrency: int
    options: dict[str, Any]
    handle: Callable[[Response], Awaitable[Any]] | None = None


@dataclass(frozen=True, slots=True)
class LedOn:
    """In place of a value: the response is a redirect, and this is the request to which it leads."""

    request: Request


def dumps(value: Any) -> bytes:
    """Pickled; functions that cannot be imported elsewhere (of ``__main__``, lambdas) by value."""
    try:
        data = pickle.dumps(value, protocol=PROTOCOL)
        if b"__main__" not in data:
            return data
    except Exception:
        pass  # cloudpickle may do better, and else says why
    import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with distributed, an extra

    return bytes(cloudpickle.dumps(value, protocol=PROTOCOL))


def dumps_settings(name: str, value: Any) -> bytes:
    """`dumps` of what the caller gave. Raises TypeError, which says what to do."""
    try:
        return dumps(value)
    except Exception as error:
        raise TypeError(
            f"{name} cannot be pickled, and so not be sent to the workers: {error}; "
            "have it make, or import, on the worker what it needs there"
        ) from error


def loads(data: bytes) -> Any:
    """What `dumps` was given."""
    return pickle.loads(data)


def client_of(settings: Any) -> Client:
    """The client that a plan's `client` describes."""
    from ..client.client import Client  # noqa: PLC0415 - workers only

    if not callable(settings):
        return Client(**settings)
    client = settings()
    if not isinstance(client, Client):
        raise TypeError(f"the function given as client must return a Client, not {client!r}")
    return client


# --- results ----------------------------------------------------------------------------------------------------------


class _Bodiless:
    """Pickles as a response without its body: with `handle`, only what that returned is brought."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def __reduce__(self) -> tuple[Any, ...]:
        restore, (*rest, kept) = self.response.__reduce__()
        return restore, (*rest, {**kept, "_content": None, "history": []})


def pack(response: Response | None, value: Any, error: Exception | None, with_body: bool) -> bytes:
    """One result. A value that does not pickle becomes an error that says so; an error that does not, or that would not
    unpickle, a RuntimeError with its text."""
    if error is not None:
        _note_traceback(error)
    sent = response if response is None or with_body else _Bodiless(response)
    try:
        data = dumps((sent, _flat(value), error))
        if error is not None:
            loads(data)  # an exception is made anew of its `args`, which its own constructor may not take
        return data
    except Exception as failure:
        if error is None:
            error = TypeError(f"what handle returned cannot be brought back: {failure}")
        else:
            notes = getattr(error, "__notes__", [])
            error = RuntimeError(f"{type(error).__name__}: {error}")
            for note in notes:
                error.add_note(note)
        return dumps((sent, None, error))


def unpack(data: bytes) -> tuple[Response | None, Any, Exception | None]:
    """The response, value and error of what `pack` made."""
    try:
        response, value, error = loads(data)
    except Exception as failure:  # of a class that is not here, or that cannot be made of its own arguments
        mistake = RuntimeError(f"a result could not be unpickled here: {type(failure).__name__}: {failure}")
        mistake.__cause__ = failure
        return None, None, mistake
    if type(value) is _FlatDownload:
        value = value.download()
    return response, value, error


def _note_traceback(error: Exception) -> None:
    """Where it happened, which pickle leaves behind. The library's own errors say what was being done."""
    if not isinstance(error, HTTPException) and error.__traceback__ is not None:
        error.add_note("In a worker:\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip())


@dataclass(frozen=True, slots=True)
class _FlatDownload:
    """A `Download` with its path as text: a path of the worker's system (PosixPath) cannot be unpickled on another."""

    path: str
    rest: tuple[Any, ...]

    def download(self) -> Download:
        """As it was."""
        return Download(Path(self.path), *self.rest)


def _flat(value: Any) -> Any:
    if type(value) is not Download:
        return value
    path, *rest = (getattr(value, field.name) for field in fields(value))
    return _FlatDownload(str(path), tuple(rest))
