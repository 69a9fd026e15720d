"""What must not be shown: credentials in fields, URLs and bodies, masked before they get into a log, a trace or a file.

What counts as one is told by its name: ``Authorization``, ``Set-Cookie``, ``X-Api-Key``, ``?access_token=``,
``?X-Amz-Signature=``. Values alone say nothing. Everything else stays as it was, byte for byte.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, AnyStr, Literal, TypeAlias
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .url import URL

Place: TypeAlias = Literal["field", "parameter", "member"]
"""Where a name stands: of a header field, a parameter of a query or form, a member of JSON."""

Judge: TypeAlias = "Callable[[str, object, Place], bool]"
"""Tells by a name, by the value that goes by it, and by where they stand, whether that is a secret, as `is_secret`."""

MASK = "[hidden]"
"""What stands in place of a secret, as in the repr of a `URL`."""

# The patterns are texts, which `re` compiles when they are first used, and keeps: to compile all took 2 ms of import.

# The end of a name, its words put together: it covers access_token, X-Amz-Security-Token and csrfToken at once.
_ENDINGS = (
    r"(?:token|password|passwd|passphrase|pwd|secret|signature|credentials?|authorization|cookie2?|session(?:id)?|jwt"
    r"|(?:api|access|auth|private|secret|shared|subscription|encryption|account)key(?:id)?|apikeys?|assertion"
    r"|(?:admin|app|application|client|consumer|functions?|licen[cs]e|master|service|session|signing|user)key"
    r"|(?:access|auth|authorization|backup|device|login|pass|recovery|security|user|verification)code|otp)$"
)
# What a field's name ends in is mostly an API key or a one-time code of some service; these are not.
_ENDINGS_OF_FIELDS = r"(?:key|code)$"
_HARMLESS_FIELDS = (
    r"(?:bucket|cache|dedup|hash|idempotency|lookup|mon|object|partition|primary|public|routing|shard|sort|surrogate"
    r"|tur|websocket)key$"
    r"|(?:area|bar|cause|city|country|currency|err|error|exit|failure|fault|geo|http|lang|language|locale|post|postal"
    r"|province|reason|region|reply|response|result|return|source|state|status|sub|uni|zip)code$"
)
# Anywhere in a name: passwordConfirm, tokens, refresh_token_value. What configures them is none itself.
_WORDS = (
    r"passw(?:or)?d|passphrase|secret|token|signature|credential|sessionid|assertion|(?:access|api|auth|private)key"
)
_CONFIGURATION = r"(?i)token[-_]?(?:type|url|endpoint)|max[-_]?tokens|^tokens[-_]?left$"
_WHOLE = frozenset(
    {
        *("auth", "authentication", "authenticationinfo", "codeverifier", "dpop", "hmac", "key", "pass", "pin"),
        *("proxyauthenticationinfo", "pw", "samlrequest", "samlresponse", "sid", "sig"),
    }
)
"""Names that are too short to be looked for within others, or stand for themselves only."""
_PARAMETERS = frozenset({"code", "ticket"})
"""Of OAuth (RFC 6749 section 4.1.2) and CAS; in JSON they are an error's number and a support case."""
_FIELDS_OF_CREDENTIALS = frozenset({"authentication", "authorization", "proxyauthorization", "xauth"})
_FORM = "application/x-www-form-urlencoded"
_FIELDS_OF_URLS = frozenset(
    {"contentlocation", "destination", "location", "origin", "referer", "xforwardeduri", "xoriginalurl", "xrewriteurl"}
)
_FIELDS_WITH_URLS = {"link": r"(?<=<)[^<>]*(?=>)", "refresh": r"(?<==)[^\s'\"]+"}

_URL_IN_TEXT = r"(?i)\bhttps?://[^\s'\"<>\]]+"
_USERINFO = r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/?#]*@"
_WITHIN_NAME = r"[;?#]"
_PAIR_IN_VALUE = r"[?#]([^?#=]+)=([^?#]*)"  # a URL as a parameter: next=/there?token=

_JSON = r"[\ufeff\s\x1e]*+[\[{]"
# Any string is a match to its end, so that none of it is looked at twice.
_MEMBER = r'(?s)"((?:[^"\\]|\\.)*+)(?:"(?:(\s*+:\s*+")((?:[^"\\]|\\.)*+)("?+))?+)?+'
_BOUNDARY = r"""(?i);\s*boundary\s*=\s*(?:"([^"]+)"|([^";\s]+))"""
_PART_NAME = r"""(?im)^content-disposition:[^\r\n]*?;\s*name=(?:"([^"\r\n]*)"|([^;\s]+))"""
_PART_TYPE = r"(?im)^content-type:\s*([^\r\n]*)"


def is_secret(name: str, value: object = None, place: Place = "member") -> bool:
    """Whether what goes by this name, in a field, query, form or JSON, is a credential or proves one (a signature).

    The `value` says nothing by itself; but as a number under a name like total_tokens it is a count. Where it stands
    makes a difference to names like `code`, that of an authorisation as a parameter, and of an error in JSON.

    >>> is_secret("X-Amz-Signature"), is_secret("access_token"), is_secret("tokens_left")
    (True, True, False)
    """
    said = (_judged if len(name) <= 64 else _judged.__wrapped__)(name, place)
    return said or (said is None and not isinstance(value, int | float))


@lru_cache(1024)  # the names are few, and looking at one takes 2 us
def _judged(name: str, place: Place) -> bool | None:
    """What `is_secret` says; None if that depends on whether the value is a number."""
    bare = bare_name(name)
    if bare in _WHOLE or re.search(_ENDINGS, bare):
        return True
    if place == "parameter" and bare in _PARAMETERS:
        return True
    if place == "field" and re.search(_ENDINGS_OF_FIELDS, bare) and not re.search(_HARMLESS_FIELDS, bare):
        return True
    return None if re.search(_WORDS, bare) and re.search(_CONFIGURATION, name) is None else False


def masked_url(url: URL | str, mask: str = MASK, userinfo: str = "", secret: Judge = is_secret) -> str:
    """A URL, absolute or relative, with the values of secret parameters masked, in the query and in the fragment.

    `userinfo` is what stands in place of a user name and password, its ``@`` included.

    >>> masked_url("https://joe:pw@example.org/a?page=2&sig=Zm9v")
    'https://example.org/a?page=2&sig=[hidden]'
    """
    text = str(url)
    if "@" in text:
        text = re.sub(_USERINFO, lambda match: match[1] + userinfo, text)
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
    for inner in re.finditer(_PAIR_IN_VALUE, value):
        if _is_secret_parameter(inner[1], inner[2], secret):
            return f"{name}={value[: inner.start(2)]}{mask}"
    return pair


def _is_secret_parameter(name: str, value: str, secret: Judge) -> bool:
    if secret(unquote_plus(name), value, "parameter"):
        return True
    # Some separate parameters by ";", and a fragment may be a route that has a query of its own.
    parts = re.split(_WITHIN_NAME, name)
    return len(parts) > 1 and any(secret(unquote_plus(part), value, "parameter") for part in parts)


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
    if bare in _FIELDS_WITH_URLS:
        return re.sub(_FIELDS_WITH_URLS[bare], lambda match: masked_url(match[0], mask, secret=secret), value)
    return mask if secret(name, value, "field") else value


def masked_fields(
    fields: Iterable[tuple[str, str]], mask: str = MASK, secret: Judge = is_secret
) -> list[tuple[str, str]]:
    """Header fields with what is secret in them masked; in order, repeats kept."""
    return [(name, masked_field(name, value, mask, secret)) for name, value in fields]


def masked_text(text: str, mask: str = MASK) -> str:
    """A text, such as an error's, with the URLs in it masked."""
    return re.sub(_URL_IN_TEXT, lambda match: masked_url(match[0], mask), text)


def masked_body(media_type: str, body: AnyStr, mask: str = MASK, secret: Judge = is_secret) -> AnyStr:
    """A body, or its text, with its secret members masked, if it is a form or JSON; else as it is.

    What looks like JSON is taken for it, whatever its type says: a document, one for each line, or one that is cut off.
    """
    essence = media_type.partition(";")[0].strip().lower()
    if isinstance(body, str):
        if essence == "multipart/form-data":
            encoded = body.encode(errors="surrogatepass")
            return _masked_multipart(media_type, encoded, mask, secret).decode(errors="surrogatepass")
        return masked_form(body, mask, secret) if essence == _FORM else _masked_json_text(body, mask, secret)
    if essence == "multipart/form-data":
        return _masked_multipart(media_type, body, mask, secret)
    if essence == _FORM:
        return masked_form(body.decode(errors="surrogateescape"), mask, secret).encode(errors="surrogateescape")
    return _masked_json_bytes(body, mask, secret)


def _masked_json_bytes(body: bytes, mask: str, secret: Judge) -> bytes:
    encoding = "utf-16" if b"\0" in body[:4] or body[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if encoding == "utf-8" and not re.match(_JSON, body[:64].decode(errors="replace")):
        return body  # most bodies of megabytes are none
    if encoding == "utf-16":
        import json  # noqa: PLC0415 - 2 ms of import for what few ask

        encoding = json.detect_encoding(body)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        # Some other charset: where ASCII is a byte a character, as nearly always, all else comes back as it was.
        text = body.decode("latin-1")
        masked = _masked_json_text(text, mask, secret)
        return body if masked == text else masked.encode("latin-1", "backslashreplace")
    masked = _masked_json_text(text, mask, secret)
    return body if masked == text else masked.encode()


def _masked_json_text(text: str, mask: str, secret: Judge) -> str:
    """What looks like JSON: one document, else one a line (NDJSON, RFC 7464), else what there is of one."""
    if not re.match(_JSON, text):
        return text
    document = _masked_document(text, mask, secret)
    if document is None and "\n" in text:
        lines = text.split("\n")
        documents = [_masked_document(line, mask, secret) for line in lines]
        if any(each is not None and line.strip() for each, line in zip(documents, lines, strict=True)):
            return "\n".join(
                [
                    _masked_members(line, mask, secret) if each is None else each
                    for each, line in zip(documents, lines, strict=True)
                ]
            )
    return _masked_members(text, mask, secret) if document is None else document


def _masked_document(text: str, mask: str, secret: Judge) -> str | None:
    """A JSON document with its secret members masked, itself if it has none; None if it is no JSON."""
    import json  # noqa: PLC0415 - as above

    start = re.match(_JSON, text)
    if start is None:
        return None if text.strip() else text
    at = start.end() - 1
    try:
        document = json.loads(text[at:])
        masked = masked_json(document, mask, secret)
        if masked == document:
            return text
        shown = json.dumps(masked, ensure_ascii=False)
        try:
            shown.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can escape and UTF-8 cannot hold
            shown = json.dumps(masked)
    except (ValueError, RecursionError):
        return None
    return text[:at].lstrip("\ufeff") + shown


def _masked_members(text: str, mask: str, secret: Judge) -> str:
    """JSON that does not parse, such as one that breaks off, with the texts that go by secret names masked."""

    def shown(member: re.Match[str]) -> str:
        name, colon, value, end = member.groups()
        found = colon is not None and secret(name, value, "member")
        return f'"{name}"{colon}{mask}{end}' if found else member[0]

    return re.sub(_MEMBER, shown, text)


def _masked_multipart(media_type: str, body: bytes, mask: str, secret: Judge) -> bytes:
    """A form in parts: those with secret names masked, and what is secret in the others, each by its type."""
    found = re.search(_BOUNDARY, media_type)
    if found is None:
        return body
    delimiter = b"\r\n--" + (found[1] or found[2]).encode(errors="surrogatepass")
    first, *parts = (b"\r\n" + body).split(delimiter)
    for number, part in enumerate(parts):
        head, empty_line, content = part.partition(b"\r\n\r\n")
        fields = head.decode(errors="replace")
        named = re.search(_PART_NAME, fields)
        if not empty_line or named is None:
            continue
        name = next(each for each in named.groups() if each is not None)
        if secret(name, content.decode("latin-1"), "parameter"):
            parts[number] = head + empty_line + mask.encode()
        else:
            kind = re.search(_PART_TYPE, fields)
            parts[number] = head + empty_line + masked_body(kind[1] if kind else "", content, mask, secret)
    return delimiter.join([first, *parts])[2:]


def masked_json(value: Any, mask: str = MASK, secret: Judge = is_secret, *, within: bool = False) -> Any:
    """A JSON value with its secret members masked, at any depth: strings and numbers that go by a secret name, and
    strings in an array or object that does (`within` one).
    """
    if isinstance(value, dict):
        shown = {}
        for name, item in value.items():
            found = item is not None and not isinstance(item, bool) and secret(name, item, "member")
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
