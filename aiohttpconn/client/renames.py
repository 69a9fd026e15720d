"""What other clients call things: for the errors of who asks by those names."""

from __future__ import annotations

from typing import NoReturn

_RENAMED = {
    "Client": {
        "aclose": "close()",
        "event_hooks": "Client(hooks=Hooks(on_request=…, on_response=…))",
        "mount": "Client(proxy=…) or Client(transport=…)",
        "transport": "pool",
        "session": "the client itself",
        "ws_connect": "Response.detach(): WebSockets are another library's",
    },
    "Response": {
        "aclose": "close()",
        "aiter_bytes": "iter_bytes()",
        "aiter_content": "iter_bytes(size)",
        "aiter_lines": "iter_lines()",
        "aiter_raw": "iter_raw()",
        "aiter_text": "iter_text()",
        "aread": "read()",
        "body": "content",
        "code": "status",
        "extensions": "timings, explain() and detach()",
        "has_redirect_location": "is_redirect",
        "is_informational": "hooks=Hooks(on_interim=…): a 1xx is never returned",
        "iter_content": "iter_bytes(size)",
        "method": "request.method",
        "ok": "is_success",
        "reason_phrase": "reason",
        "release": "close()",
        "request_info": "request",
        "real_url": "url",
    },
}


class _Renamed:
    """An attribute that is not there, and says what to take instead."""

    __slots__ = ("_instead",)

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} has no attribute of that name; here it is: {self._instead}")


def answer_to_other_names(kind: type) -> None:
    """Have a class tell who asks for another client's name what it is here. (A `__getattr__` would do it too, and makes
    every attribute of every instance slower: 10,000 of a request's 62,000 instructions.)"""
    for name, instead in _RENAMED[kind.__name__].items():
        setattr(kind, name, _Renamed(instead))
