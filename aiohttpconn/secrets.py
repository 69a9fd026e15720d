"""What must not be shown: credentials in fields, URLs and bodies, masked before they get into a log, a trace or a file.

What counts as one is told by its name: ``Authorization``, ``Set-Cookie``, ``X-Api-Key``, ``?access_token=``,
``?X-Amz-Signature=``. Values alone say nothing. Everything else stays as it was, byte for byte.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, AnyStr, TypeAlias
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .url import URL

Judge: TypeAlias = "Callable[[str, object], bool]"
"""Tells by a name, and by the value that goes by it, whether that is a secret, as `is_secret` does."""

MASK = "[hidden]"
"""What stands in place of a secret, as in the repr of a `URL`."""

# The end of a name, its words put together: it covers access_token, X-Amz-Security-Token and csrfToken at once.
_ENDINGS = re.compile(
    r"(?:token|password|passwd|passphrase|pwd|secret|signature|credentials?|authorization|cookie2?|session(?:id)?|jwt"
    r"|(?:api|access|auth|private|secret|shared|subscription|encryption|account)key(?:id)?|apikeys?|assertion)$"
)
# Anywhere in a name: passwordConfirm, tokens, refresh_token_value. What configures them is none itself.
_WORDS = re.compile(
    r"passw(?:or)?d|passphrase|secret|token|signature|credential|sessionid|assertion|(?:access|api|auth|private)key"
)
_CONFIGURATION = re.compile(r"token[-_]?(?:type|url|endpoint)|max[-_]?tokens|^tokens[-_]?left$", re.IGNORECASE)
_WHOLE = frozenset(
    {"auth", "authenticationinfo", "codeverifier", "key", "pass", "proxyauthenticationinfo", "pw", "sid", "sig"}
)
"""Names that are too short to be looked for within others, or stand for themselves only."""
_FIELDS_OF_CREDENTIALS = frozenset({"authorization", "proxyauthorization", "xauth"})
_FIELDS_OF_URLS = frozenset({"contentlocation", "location", "origin", "referer", "refresh"})

_URL_IN_TEXT = re.compile(r"\bhttps?://[^\s'\"<>\]]+", re.IGNORECASE)
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/?#]*@")
_WITHIN_NAME = re.compile(r"[;?#]")
_PAIR_IN_VALUE = re.compile(r"[?#]([^?#=]+)=([^?#]*)")  # a URL as a parameter: next=/there?token=


def is_secret(name: str, value: object = None) -> bool:
    """Whether what goes by this name, in a field, query, form or JSON, is a credential or proves one (a signature).

    The `value` says nothing by itself; but as a number under a name like total_tokens it is a count.

    >>> is_secret("X-Amz-Signature"), is_secret("access_token"), is_secret("tokens_left")
    (True, True, False)
    """
    bare = bare_name(name)
    if bare in _WHOLE or _ENDINGS.search(bare):
        return True
    if isinstance(value, int | float) or not _WORDS.search(bare):
        return False
    return _CONFIGURATION.search(name) is None


def masked_url(url: URL | str, mask: str = MASK, userinfo: str = "", secret: Judge = is_secret) -> str:
    """A URL, absolute or relative, with the values of secret parameters masked, in the query and in the fragment.

    `userinfo` is what stands in place of a user name and password, its ``@`` included.

    >>> masked_url("https://joe:pw@example.org/a?page=2&sig=Zm9v")
    'https://example.org/a?page=2&sig=[hidden]'
    """
    text = str(url)
    if "@" in text:
        text = _USERINFO.sub(lambda match: match[1] + userinfo, text)
    if "=" not in text:
        return text
    front, number_sign, fragment = text.partition("#")
    path, question_mark, query = front.partition("?")
    return path + question_mark + masked_form(query, mask, secret) + number_sign + masked_form(fragment, mask, secret)


def masked_form(text: str, mask: str = MASK, secret: Judge = is_secret) -> str:
    """A query, or a body of application/x-www-form-urlencoded, with the values of secret parameters masked."""
    return "&".join([_masked_pair(pair, mask, secret) for pair in text.split("&")])


def _masked_pair(pair: str, mask: str, secret: Judge) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return pair
    if _is_secret_parameter(name, value, secret):
        return f"{name}={mask}"
    for inner in _PAIR_IN_VALUE.finditer(value):
        if _is_secret_parameter(inner[1], inner[2], secret):
            return f"{name}={value[: inner.start(2)]}{mask}"
    return pair


def _is_secret_parameter(name: str, value: str, secret: Judge) -> bool:
    if secret(unquote_plus(name), value):
        return True
    # Some separate parameters by ";", and a fragment may be a route that has a query of its own.
    parts = _WITHIN_NAME.split(name)
    return len(parts) > 1 and any(secret(unquote_plus(part), value) for part in parts)


def masked_field(name: str, value: str, mask: str = MASK, secret: Judge = is_secret) -> str:
    """The value of a header field with what is secret in it masked: of credentials the scheme stays, of cookies the
    names and attributes.

    >>> masked_field("Authorization", "Bearer abc"), masked_field("Cookie", "a=1; b=2")
    ('Bearer [hidden]', 'a=[hidden]; b=[hidden]')
    """
    bare = bare_name(name)
    if bare in _FIELDS_OF_CREDENTIALS:
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {mask}" if space else mask
    if bare == "cookie":
        return "; ".join([_masked_cookie(pair.strip(), mask) for pair in value.split(";")])
    if bare == "setcookie":
        pair, semicolon, attributes = value.partition(";")
        return _masked_cookie(pair, mask) + semicolon + attributes
    if bare in _FIELDS_OF_URLS:
        return masked_url(value, mask, secret=secret)
    return mask if secret(name, value) else value


def masked_fields(
    fields: Iterable[tuple[str, str]], mask: str = MASK, secret: Judge = is_secret
) -> list[tuple[str, str]]:
    """Header fields with what is secret in them masked; in order, repeats kept."""
    return [(name, masked_field(name, value, mask, secret)) for name, value in fields]


def masked_text(text: str, mask: str = MASK) -> str:
    """A text, such as an error's, with the URLs in it masked."""
    return _URL_IN_TEXT.sub(lambda match: masked_url(match[0], mask), text)


def masked_body(media_type: str, body: AnyStr, mask: str = MASK, secret: Judge = is_secret) -> AnyStr:
    """A body, or its text, with its secret members masked, if it is a form or JSON; else as it is."""
    essence = media_type.partition(";")[0].strip().lower()
    if essence == "application/x-www-form-urlencoded":
        if isinstance(body, str):
            return masked_form(body, mask, secret)
        return masked_form(body.decode(errors="surrogateescape"), mask, secret).encode(errors="surrogateescape")
    if essence == "application/json" or essence.endswith("+json"):
        import json  # noqa: PLC0415 - 2 ms of import for what few ask

        try:
            document = json.loads(body)
            masked = masked_json(document, mask, secret)
            if masked == document:
                return body
            encoded = _encoded(masked)
        except (ValueError, RecursionError):
            return body
        if isinstance(body, str):
            return encoded.decode()
        return encoded
    return body


def _encoded(value: Any) -> bytes:
    import json  # noqa: PLC0415 - as above

    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can escape and UTF-8 cannot hold
        return json.dumps(value).encode()


def masked_json(value: Any, mask: str = MASK, secret: Judge = is_secret, *, within: bool = False) -> Any:
    """A JSON value with its secret members masked, at any depth: strings and numbers that go by a secret name, and
    strings in an array or object that does (`within` one).
    """
    if isinstance(value, dict):
        shown = {}
        for name, item in value.items():
            found = item is not None and not isinstance(item, bool) and secret(name, item)
            leaf = isinstance(item, str | int | float)
            shown[name] = mask if found and leaf else masked_json(item, mask, secret, within=within or found)
        return shown
    if isinstance(value, list):
        return [masked_json(item, mask, secret, within=within) for item in value]
    return mask if within and isinstance(value, str) and value else value


def _masked_cookie(pair: str, mask: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={mask}" if equals else mask


def bare_name(name: str) -> str:
    """What is compared of a name: its letters and digits, in whatever case and however its words are put together."""
    return "".join([char for char in name if char.isalnum()]).casefold() or name
