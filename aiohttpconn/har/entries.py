"""HAR entries: one request and its response each, as JSON has it, made of plain values and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from ..secrets import masked_body, masked_fields, masked_text, masked_url

Pairs: TypeAlias = "list[tuple[str, str]]"
Entry: TypeAlias = "dict[str, Any]"
"""One exchange as HAR has it, ready for JSON."""

_TEXTUAL = ("json", "xml", "javascript", "ecmascript", "x-www-form-urlencoded", "yaml", "graphql")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request and its response as plain values, on their way into HAR or out of it.

    `body` is the response's, content codings taken off, though `headers` still name them, or with them on if `coded`;
    None if it was not recorded. `partial`: it is not all of the body that the response had.
    `timings` are seconds by HAR's names (``blocked``, ``dns``, ``connect``, ``ssl``, ``send``, ``wait``,
    ``receive``). `trailers` are in ``_trailers``, since HAR has no word for them. `status` is 0 where `error` says why
    there was no response; with another status it says why the body broke off. `comment` says what is not as it was.
    """

    method: str
    url: str
    request_headers: Pairs = field(default_factory=list)
    request_body: bytes | None = None
    request_comment: str = ""
    status: int = 0
    reason: str = ""
    http_version: str = "HTTP/1.1"
    headers: Pairs = field(default_factory=list)
    body: bytes | None = None
    coded: bool = False
    partial: bool = False
    trailers: Pairs = field(default_factory=list)
    encoded_size: int = -1
    comment: str = ""
    error: str = ""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    timings: dict[str, float] = field(default_factory=dict)


def entry_of(exchange: Exchange, *, keep_secrets: bool = False) -> Entry:
    """The HAR entry of an exchange. Unless `keep_secrets`, credentials in URLs, fields, forms and JSON are masked."""
    return _Writer(keep_secrets).entry(exchange)


def exchange_of(entry: Entry) -> Exchange:
    """The exchange of a HAR entry, whoever wrote it. Raises ValueError for what is none."""
    try:
        request, response = entry["request"], entry["response"]
        content = response.get("content") or {}
        post = request.get("postData") or {}
        timings = entry.get("timings") or {}
        started = entry.get("startedDateTime")
        return Exchange(
            method=request["method"],
            url=request["url"],
            request_headers=_pairs(request.get("headers")),
            request_body=_posted(post),
            request_comment=post.get("comment", ""),
            status=int(response["status"]),
            reason=response.get("statusText", ""),
            http_version=response.get("httpVersion") or "HTTP/1.1",
            headers=_pairs(response.get("headers")),
            body=_bytes(content),
            coded=bool(content.get("_coded")),
            # Browsers leave out the text of what they did not keep.
            partial=bool(content.get("_partial") or (content.get("size", 0) > 0 and content.get("text") is None)),
            trailers=_pairs(response.get("_trailers")),
            encoded_size=int(response.get("bodySize", -1)),
            comment=content.get("comment", ""),
            error=response.get("_error") or "",
            started=datetime.fromisoformat(started) if started else datetime.now(UTC),
            timings={name: value / 1000 for name, value in timings.items() if _is_time(value)},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a HAR entry: {type(error).__name__}: {error}") from error


class _Writer:
    """Makes HAR's JSON."""

    def __init__(self, keep_secrets: bool) -> None:
        self._keep_secrets = keep_secrets

    def entry(self, exchange: Exchange) -> Entry:
        steps = {name: exchange.timings.get(name, -1) for name in ("blocked", "dns", "connect", "ssl")}
        steps |= {name: exchange.timings.get(name, 0.0) for name in ("send", "wait", "receive")}
        timings = {name: round(seconds * 1000, 3) if seconds >= 0 else -1 for name, seconds in steps.items()}
        spent = [value for name, value in timings.items() if name != "ssl" and value >= 0]
        return {
            "startedDateTime": exchange.started.isoformat(timespec="milliseconds"),
            "time": round(sum(spent), 3),
            "request": self._request(exchange),
            "response": self._response(exchange),
            "cache": {},
            "timings": timings,
        }

    def _request(self, exchange: Exchange) -> dict[str, Any]:
        url = exchange.url if self._keep_secrets else masked_url(exchange.url)
        headers = self._shown(exchange.request_headers)
        body = exchange.request_body
        request: dict[str, Any] = {
            "method": exchange.method,
            "url": url,
            "httpVersion": "HTTP/1.1",
            "cookies": _request_cookies(headers),
            "headers": _named(headers),
            "queryString": _named(parse_qsl(url.partition("#")[0].partition("?")[2], keep_blank_values=True)),
            "headersSize": -1,
            "bodySize": -1 if body is None and exchange.request_comment else len(body or b""),
        }
        if body is not None or exchange.request_comment:
            media_type = _first(headers, "Content-Type")
            text, encoding = self._text(media_type, body or b"")
            request["postData"] = {"mimeType": media_type, "params": [], "text": text}
            if encoding:
                request["postData"]["_encoding"] = encoding  # HAR has no word for it; others use this one
            if exchange.request_comment:
                request["postData"]["comment"] = exchange.request_comment
        return request

    def _response(self, exchange: Exchange) -> dict[str, Any]:
        headers = self._shown(exchange.headers)
        media_type = _first(headers, "Content-Type")
        content: dict[str, Any] = {"size": max(exchange.encoded_size, 0), "mimeType": media_type}
        if exchange.body is not None:
            content["size"] = len(exchange.body)
            if exchange.encoded_size >= 0:
                content["compression"] = len(exchange.body) - exchange.encoded_size
            content["text"], encoding = self._text(media_type, exchange.body)
            if encoding:
                content["encoding"] = encoding
        # HAR has no words for these.
        if exchange.coded:
            content["_coded"] = True
        if exchange.partial:
            content["_partial"] = True
        if exchange.comment:
            content["comment"] = exchange.comment
        response: dict[str, Any] = {
            "status": exchange.status,
            "statusText": exchange.reason,
            "httpVersion": exchange.http_version,
            "cookies": _response_cookies(headers),
            "headers": _named(headers),
            "content": content,
            "redirectURL": _first(headers, "Location"),
            "headersSize": -1,
            "bodySize": exchange.encoded_size,
        }
        if exchange.trailers:
            response["_trailers"] = _named(self._shown(exchange.trailers))
        if exchange.error:
            response["_error"] = exchange.error if self._keep_secrets else masked_text(exchange.error)
        return response

    def _shown(self, headers: Pairs) -> Pairs:
        return headers if self._keep_secrets else masked_fields(headers)

    def _text(self, media_type: str, body: bytes) -> tuple[str, str]:
        """A body as text and "", or in base64 and "base64": whatever is not UTF-8 would not come back as it was."""
        if not self._keep_secrets:
            body = masked_body(media_type, body)
        if _is_text(media_type):
            try:
                return body.decode(), ""
            except UnicodeDecodeError:
                pass
        return (b64encode(body).decode(), "base64") if body else ("", "")


def _is_text(media_type: str) -> bool:
    essence, _, parameters = media_type.lower().partition(";")
    if "charset" in parameters and not any(name in parameters for name in ("utf-8", "utf8", "us-ascii")):
        return False
    essence = essence.strip()
    return not essence or essence.startswith("text/") or essence.endswith(_TEXTUAL)


def _request_cookies(headers: Pairs) -> list[dict[str, Any]]:
    pairs = [pair for name, value in headers if name.lower() == "cookie" for pair in value.split(";")]
    return [
        {"name": name.strip(), "value": value.strip()} for name, _, value in (pair.partition("=") for pair in pairs)
    ]


def _response_cookies(headers: Pairs) -> list[dict[str, Any]]:
    return [_set_cookie(value) for name, value in headers if name.lower() == "set-cookie"]


def _set_cookie(line: str) -> dict[str, Any]:
    """A Set-Cookie line in HAR's words, as the server wrote it: what a jar makes of it is the jar's affair."""
    pair, *attributes = line.split(";")
    name, _, value = pair.partition("=")
    cookie: dict[str, Any] = {"name": name.strip(), "value": value.strip(), "httpOnly": False, "secure": False}
    for attribute in attributes:
        key, _, value = (part.strip() for part in attribute.partition("="))
        if key.lower() in ("path", "domain"):
            cookie[key.lower()] = value
        elif key.lower() in ("httponly", "secure"):
            cookie["httpOnly" if key.lower() == "httponly" else "secure"] = True
        elif key.lower() == "expires":
            try:
                cookie["expires"] = parsedate_to_datetime(value).isoformat()
            except ValueError:
                pass  # dates that only a jar's lenient parser reads
    return cookie


def _named(pairs: Pairs) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _pairs(named: Any) -> Pairs:
    return [(item["name"], item["value"]) for item in named or ()]


def _first(headers: Pairs, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name.lower()), "")


def _posted(post: dict[str, Any]) -> bytes | None:
    if post.get("comment") and not post.get("text"):
        return None
    return _bytes(post)


def _bytes(content: dict[str, Any]) -> bytes | None:
    text = content.get("text")
    if text is None:
        return None
    coded = (content.get("encoding") or content.get("_encoding")) == "base64"
    return b64decode(text, validate=True) if coded else text.encode()


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
