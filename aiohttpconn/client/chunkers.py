"""Streams of bytes cut anew: pieces of one size, text, lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .charset import TextDecoder

T = TypeVar("T")


class Chunker(Generic[T]):
    """Cuts a stream of bytes anew, wherever its pieces were cut."""

    def feed(self, data: bytes) -> list[T]:
        """What the next piece completes."""
        raise NotImplementedError

    def flush(self) -> list[T]:
        """What is left at the end."""
        raise NotImplementedError


class BytesChunker(Chunker[bytes]):
    """Pieces of one size."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"the size of a piece must be at least 1, not {size}")
        self._size = size
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._parts.append(data)
        self._held += len(data)
        size = self._size
        if self._held < size:
            return []
        data = b"".join(self._parts)
        whole = len(data) - len(data) % size
        self._parts = [data[whole:]] if whole < len(data) else []
        self._held = len(data) - whole
        return [data[at : at + size] for at in range(0, whole, size)]

    def flush(self) -> list[bytes]:
        return [b"".join(self._parts)] if self._held else []


class TextChunker(Chunker[str]):
    """Text, characters whole."""

    def __init__(self, decoder: TextDecoder) -> None:
        self._decoder = decoder

    def feed(self, data: bytes) -> list[str]:
        text = self._decoder.decode(data)
        return [text] if text else []

    def flush(self) -> list[str]:
        text = self._decoder.decode(b"", True)
        return [text] if text else []


class LineChunker(Chunker[str]):
    """Lines as `str.splitlines` cuts them."""

    def __init__(self, decoder: TextDecoder) -> None:
        self._decoder = decoder
        self._parts: list[str] = []  # of the line that has not ended yet: joined once, however many they are
        self._after_cr = False  # the text ended with CR: a line's end, or the first half of one

    def feed(self, data: bytes) -> list[str]:
        text = self._decoder.decode(data)
        return self._split(text) if text else []

    def _split(self, text: str) -> list[str]:
        if self._after_cr:
            text = "\r" + text
        self._after_cr = text.endswith("\r")
        if self._after_cr:
            text = text[:-1]
        if not text:
            return []
        lines = text.splitlines()
        unfinished = text[-1].splitlines() != [""]
        parts = self._parts
        if parts:
            parts.append(lines[0])
            if unfinished and len(lines) == 1:
                return []
            lines[0] = "".join(parts)
            parts.clear()
        if unfinished:
            parts.append(lines.pop())
        return lines

    def flush(self) -> list[str]:
        text = self._decoder.decode(b"", True)
        lines = self._split(text) if text else []
        if self._parts or self._after_cr:
            lines.append("".join(self._parts))
        self._parts.clear()
        self._after_cr = False
        return lines


class ByteLineChunker(Chunker[bytes]):
    """Lines that end with LF, the ends left out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        first, *lines = data.split(b"\n")
        self._parts.append(first)
        if not lines:
            return []
        lines.insert(0, b"".join(self._parts))
        self._parts = [lines.pop()]
        return lines

    def flush(self) -> list[bytes]:
        rest, self._parts = b"".join(self._parts), []
        return [rest] if rest else []
