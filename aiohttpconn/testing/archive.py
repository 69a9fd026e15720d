"""Recorded exchanges on disk, as HTTP Archive (HAR 1.2)."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from .._version import __version__

Pairs = Sequence[tuple[str, str]]


class Recorded(NamedTuple):
    """One exchange as it was recorded: what is left of it once secrets are gone. Bodies are as they were sent."""

    method: str
    url: str
    request_headers: Pairs
    request_body: bytes
    version: int
    status: int
    reason: str
    response_headers: Pairs
    response_body: bytes
    trailers: Pairs = ()
    started: str = ""
    seconds: float = 0.0

    def entry(self) -> dict[str, Any]:
        """The entry of a HAR's log."""
        milliseconds = round(self.seconds * 1000, 3)
        request: dict[str, Any] = {
            "method": self.method,
            "url": self.url,
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _named(self.request_headers),
            "queryString": [
                {"name": name, "value": value}
                for name, _, value in [each.partition("=") for each in self.url.partition("?")[2].split("&") if each]
            ],
            "headersSize": -1,
            "bodySize": len(self.request_body),
        }
        if self.request_body:
            # HAR's postData knows text only; what is none goes as base64, and says so as `content` would.
            request["postData"] = {"mimeType": _kind(self.request_headers), **_text_of(self.request_body)}
        content = {"size": len(self.response_body), "mimeType": _kind(self.response_headers)}
        response: dict[str, Any] = {
            "status": self.status,
            "statusText": self.reason,
            "httpVersion": f"HTTP/1.{self.version - 10}",
            "cookies": [],
            "headers": _named(self.response_headers),
            "content": content | _text_of(self.response_body),
            "redirectURL": next((value for name, value in self.response_headers if name.lower() == "location"), ""),
            "headersSize": -1,
            "bodySize": len(self.response_body),
        }
        if self.trailers:
            response["_trailers"] = _named(self.trailers)
        return {
            "startedDateTime": self.started or datetime.now(UTC).isoformat(),
            "time": milliseconds,
            "request": request,
            "response": response,
            "cache": {},
            "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        }

    @classmethod
    def of(cls, entry: Any) -> Recorded:
        """What an entry of a HAR's log says. Raises KeyError, TypeError, ValueError for what is none."""
        request, response = entry["request"], entry["response"]
        return cls(
            request["method"],
            request["url"],
            _pairs(request["headers"]),
            _bytes_of(request.get("postData", {})),
            10 if response["httpVersion"].upper() == "HTTP/1.0" else 11,
            int(response["status"]),
            response["statusText"],
            _pairs(response["headers"]),
            _bytes_of(response["content"]),
            _pairs(response.get("_trailers", [])),
            entry.get("startedDateTime", ""),
            float(entry.get("time", 0)) / 1000,
        )


def load(path: Path) -> list[Recorded]:
    """The exchanges in a file, none if there is no such file. Raises ValueError for a file that is no HAR."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [Recorded.of(entry) for entry in json.loads(text)["log"]["entries"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an HTTP Archive (HAR 1.2): {error!r}") from error


def save(path: Path, recorded: Sequence[Recorded]) -> None:
    """Write a file whole or not at all."""
    log = {
        "version": "1.2",
        "creator": {"name": "aiohttpconn", "version": __version__},
        "entries": [each.entry() for each in recorded],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps({"log": log}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _named(pairs: Pairs) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _pairs(named: Any) -> list[tuple[str, str]]:
    return [(each["name"], each["value"]) for each in named]


def _kind(pairs: Pairs) -> str:
    return next((value for name, value in pairs if name.lower() == "content-type"), "")


def _text_of(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": "base64"}


def _bytes_of(content: Any) -> bytes:
    text = content.get("text", "")
    return base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
