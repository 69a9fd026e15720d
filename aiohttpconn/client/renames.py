"""What other clients call things: for the errors of who asks by those names."""

from __future__ import annotations

RENAMED = {
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


def no_such(owner: str, name: str) -> AttributeError:
    """The error for an attribute that is not there."""
    known = RENAMED[owner].get(name)
    return AttributeError(f"{owner} has no attribute {name!r}" + (f"; here it is: {known}" if known else ""), name=name)
