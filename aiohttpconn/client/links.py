"""Links in the fields of a response (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from ..errors import InvalidURL, UnsupportedScheme
from ..url import URL, join

_BETWEEN = re.compile(r"[ \t,]*")
_TARGET = re.compile(r"<([^>]*)>")
# RFC 8288 appendix B.3: a name, perhaps "=" and a quoted string or what comes before the next semicolon or comma. An
# unended quoted string goes to the end of the field.
_PARAMETER = re.compile(r'[ \t]*;[ \t]*([^ \t=;,]*)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)(?:"|\\?\Z)|([^;,]*)))?[ \t]*')
_ESCAPED = re.compile(r"\\(.)")
_TO_NEXT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))*')


class Link(Mapping[str, str]):
    """One link: its target, resolved, and as a mapping its attributes, ``"url"`` and ``"rel"`` among them.

    - `url`: the target, absolute; of another scheme than http and https as it was written.
    - `rels`: the relation types, in lower case.
    - `anchor`: what the link is from, resolved, if that is not the response itself; else None.

    >>> link = parse_links(['</items?page=2>; rel=next; title="More"'], URL("http://example.org/items")).all[0]
    >>> link.url, link.rels, link["title"]
    ('http://example.org/items?page=2', ('next',), 'More')
    """

    __slots__ = ("_attributes", "anchor", "rels", "url")

    def __init__(self, url: str, rels: tuple[str, ...], anchor: str | None, attributes: Mapping[str, str]) -> None:
        self.url = url
        self.rels = rels
        self.anchor = anchor
        self._attributes = {"url": url, **({"rel": " ".join(rels)} if rels else {}), **attributes}

    def __getitem__(self, name: str) -> str:
        return self._attributes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def __repr__(self) -> str:
        return f"<Link {' '.join(self.rels) or 'without relation'}: {self.url}>"


class Links(Mapping[str, Link]):
    """The links of a response by relation type, in lower case: of several of one type the first.

    `all` has every one in order, also those without a type, and those from somewhere else than the response (an
    `anchor`), which are not found by their types: a page must not say where the next one of another is.
    """

    __slots__ = ("_by_rel", "all")

    def __init__(self, links: Sequence[Link]) -> None:
        self.all = tuple(links)
        self._by_rel: dict[str, Link] = {}
        for link in links:
            for rel in link.rels if link.anchor is None else ():
                self._by_rel.setdefault(rel, link)

    def __getitem__(self, rel: str) -> Link:
        return self._by_rel[rel.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_rel)

    def __len__(self) -> int:
        return len(self._by_rel)

    def __bool__(self) -> bool:
        return bool(self.all)

    def __hash__(self) -> NoReturn:
        raise TypeError("Links are a mapping, and have no hash")

    def __repr__(self) -> str:
        return f"<Links {list(self.all)!r}>"


def parse_links(values: Sequence[str], base: URL) -> Links:
    """The links in the values of Link fields; what is none is passed over (RFC 8288 appendix B.2).

    Targets are resolved against `base`, the URL of the response; one that can be no URL makes its link nothing.
    """
    base = base.without_userinfo().without_fragment()
    links: list[Link] = []
    for value in values:
        text = _text(value)
        at = _end(_BETWEEN, text, 0)
        while at < len(text):
            target = _TARGET.match(text, at)
            if target is None and text[at] == "<":
                break  # nothing closes it; to look again from every comma on would be quadratic
            if target is None:
                at = _end(_TO_NEXT, text, at)
            else:
                parameters, at = _parameters(text, target.end())
                link = _link(target[1].strip(), parameters, base)
                if link is not None:
                    links.append(link)
                at = _end(_TO_NEXT, text, at)
            at = _end(_BETWEEN, text, at + 1) if at < len(text) else at
    return Links(links)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern ends that also matches nothing."""
    match = pattern.match(text, at)
    return at if match is None else match.end()


def _parameters(text: str, at: int) -> tuple[list[tuple[str, str]], int]:
    found: list[tuple[str, str]] = []
    while parameter := _PARAMETER.match(text, at):
        at = parameter.end()
        name, quoted, bare = parameter.groups()
        if name:
            value = _ESCAPED.sub(r"\1", quoted) if quoted is not None else (bare or "").strip(" \t")
            found.append((name.lower(), value))
    return found, at


def _link(target: str, parameters: list[tuple[str, str]], base: URL) -> Link | None:
    attributes: dict[str, str] = {}
    extended: dict[str, str] = {}
    for name, value in parameters:
        if name.endswith("*"):
            decoded = _extended(value)
            if decoded is not None:
                extended.setdefault(name[:-1], decoded)
        else:
            attributes.setdefault(name, value)  # of several the first counts (sections 3.3 and 3.4.1)
    rels = tuple(dict.fromkeys(attributes.pop("rel", "").lower().split()))
    anchor = attributes.pop("anchor", None)
    try:
        url = _resolved(target, base)
        context = None if anchor is None else _resolved(anchor, base)
    except InvalidURL:
        return None
    attributes.pop("url", None)
    return Link(url, rels, None if context == base.href else context, attributes | extended)


def _resolved(reference: str, base: URL) -> str:
    try:
        return join(base, reference).href
    except UnsupportedScheme:
        return reference


def _text(value: str) -> str:
    """A field's value, which is decoded as latin-1, as the UTF-8 that servers mean; else as it is."""
    try:
        return value if value.isascii() else value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _extended(value: str) -> str | None:
    """An ext-value (RFC 8187 section 3.2): charset'language'percent-encoded; None where it is none."""
    charset, quote, rest = value.partition("'")
    _, second, octets = rest.partition("'")
    if not quote or not second or charset.lower() not in ("utf-8", "iso-8859-1"):
        return None
    try:
        return unquote_to_bytes(octets).decode(charset)
    except UnicodeError:
        return None
