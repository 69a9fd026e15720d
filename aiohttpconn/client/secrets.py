"""What must not be shown: credentials in fields, URLs and bodies, masked before they get into a log, a trace or a file.

What counts as one is told by its name: ``Authorization``, ``Set-Cookie``, ``X-Api-Key``, ``?access_token=``,
``?X-Amz-Signature=``. Values alone say nothing. Everything else stays as it was, byte for byte.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..url import URL

MASK = "[hidden]"
"""What stands in place of a secret, as in the repr of a `URL`."""

# The end of a name, its words put together: it covers access_token, X-Amz-Security-Token and csrfToken at once.
_ENDINGS = re.compile(
    r"(?:token|password|passwd|passphrase|pwd|secret|signature|credentials?|authorization|cookie2?|session(?:id)?|jwt"
    r"|(?:api|access|auth|private|secret|shared|subscription|encryption|account)key(?:id)?|apikeys?|assertion)$"
)
_WHOLE = frozenset({"auth", "key", "pass", "pw", "sid", "sig"})
"""Names of query and form parameters that are too short to be looked for at the end of others."""
_FIELDS_OF_CREDENTIALS = frozenset({"authorization", "proxyauthorization", "xauth"})
_FIELDS_OF_URLS = frozenset({"contentlocation", "location", "origin", "referer", "refresh"})

_URL_IN_TEXT = re.compile(r"\bhttps?://[^\s'\"<>\]]+", re.IGNORECASE)
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/?#]*@")
_PAIR = re.compile(r"([^&;?#=]+)=([^&#]*)")


def is_secret(name: str) -> bool:
    """Whether the value of a query, form or JSON member of this name is a credential, or proves one (a signature).

    >>> is_secret("X-Amz-Signature"), is_secret("access_token"), is_secret("tokens_left")
    (True, True, False)
    """
    bare = _bare(name)
    return bare in _WHOLE or _ENDINGS.search(bare) is not None


def is_secret_field(name: str) -> bool:
    """Whether the value of a header field of this name is."""
    bare = _bare(name)
    return bare in _FIELDS_OF_CREDENTIALS or _ENDINGS.search(bare) is not None


def masked_url(url: URL | str, mask: str = MASK, userinfo: str = "") -> str:
    """A URL, absolute or relative, with the values of secret parameters masked, in the query and in the fragment.

    `userinfo` is what stands in place of a user name and password, its ``@`` included.

    >>> masked_url("https://joe:pw@example.org/a?page=2&sig=Zm9v")
    'https://example.org/a?page=2&sig=[hidden]'
    """
    text = str(url)
    if "@" in text:
        text = _USERINFO.sub(lambda match: match[1] + userinfo, text)
    path, mark, rest = text.partition("?")
    if not mark:
        path, mark, rest = text.partition("#")
    return path + mark + masked_form(rest, mask) if "=" in rest else text


def masked_form(text: str, mask: str = MASK) -> str:
    """A query, or a body of application/x-www-form-urlencoded, with the values of secret parameters masked."""
    return _PAIR.sub(lambda pair: f"{pair[1]}={mask}" if is_secret(unquote_plus(pair[1])) else pair[0], text)


def masked_field(name: str, value: str, mask: str = MASK) -> str:
    """The value of a header field with what is secret in it masked: of credentials the scheme stays, of cookies the
    names and attributes.

    >>> masked_field("Authorization", "Bearer abc"), masked_field("Cookie", "a=1; b=2")
    ('Bearer [hidden]', 'a=[hidden]; b=[hidden]')
    """
    bare = _bare(name)
    if bare in _FIELDS_OF_CREDENTIALS:
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {mask}" if space else mask
    if bare == "cookie":
        return "; ".join([_masked_cookie(pair.strip(), mask) for pair in value.split(";")])
    if bare == "setcookie":
        pair, semicolon, attributes = value.partition(";")
        return _masked_cookie(pair, mask) + semicolon + attributes
    if bare in _FIELDS_OF_URLS:
        return masked_url(value, mask)
    return mask if _ENDINGS.search(bare) else value


def masked_fields(fields: Iterable[tuple[str, str]], mask: str = MASK) -> list[tuple[str, str]]:
    """Header fields with what is secret in them masked; in order, repeats kept."""
    return [(name, masked_field(name, value, mask)) for name, value in fields]


def masked_text(text: str, mask: str = MASK) -> str:
    """A text, such as an error's, with the URLs in it masked."""
    return _URL_IN_TEXT.sub(lambda match: masked_url(match[0], mask), text)


def masked_body(media_type: str, text: str, mask: str = MASK) -> str:
    """The text of a body with its secret members masked, if it is a form or JSON; else as it is."""
    essence = media_type.partition(";")[0].strip().lower()
    if essence == "application/x-www-form-urlencoded":
        return masked_form(text, mask)
    if essence == "application/json" or essence.endswith("+json"):
        import json  # noqa: PLC0415 - 2 ms of import for what few ask

        try:
            document = json.loads(text)
            masked = masked_json(document, mask)
            return text if masked == document else json.dumps(masked, ensure_ascii=False)
        except (ValueError, RecursionError):
            return text
    return text


def masked_json(value: Any, mask: str = MASK) -> Any:
    """A JSON value with its secret members masked: strings and numbers, at any depth."""
    if isinstance(value, dict):
        return {
            name: mask
            if is_secret(name) and isinstance(item, str | int | float) and not isinstance(item, bool)
            else masked_json(item, mask)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked_json(item, mask) for item in value]
    return value


def _masked_cookie(pair: str, mask: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={mask}" if equals else mask


def _bare(name: str) -> str:
    return "".join([char for char in name if char.isalnum()]).lower()
