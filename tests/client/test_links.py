"""Link fields (RFC 8288)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttpconn.client.links import parse_links
from aiohttpconn.url import parse
from tests.servers.origin import OriginServer, Reply

if TYPE_CHECKING:
    from aiohttpconn import Client

BASE = parse("http://u:p@example.org/items?page=1")


@pytest.mark.parametrize(
    ("value", "links"),
    [
        ("", []),
        ("nothing", []),
        ("<", []),
        ("<x", []),
        ("</a>; rel=next", [("http://example.org/a", "next")]),
        ("<?page=2>; rel=next, <?page=9>;rel=last", [
            ("http://example.org/items?page=2", "next"),
            ("http://example.org/items?page=9", "last"),
        ]),
        ('<a,b;c>; rel="next"', [("http://example.org/a,b;c", "next")]),
        ('<a>; title="x, <b>; rel=prev"; rel=next', [("http://example.org/a", "next")]),
        ('<a>; title="\\"x\\", <b>"; rel=next', [("http://example.org/a", "next")]),
        ('<a>; rel="Next Last"', [("http://example.org/a", "next last")]),
        ("<a>; REL=NEXT", [("http://example.org/a", "next")]),
        ("<a>; rel=next; rel=prev", [("http://example.org/a", "next")]),
        ("<a> ; rel = next ", [("http://example.org/a", "next")]),
        (",, <a>;rel=next ,, ,<b>;rel=prev,", [("http://example.org/a", "next"), ("http://example.org/b", "prev")]),
        ("junk, <a>; rel=next", [("http://example.org/a", "next")]),
        ("<a>; rel=a b, <b>; rel=prev", [("http://example.org/a", "a b"), ("http://example.org/b", "prev")]),
        ('<a>; rel="next', [("http://example.org/a", "next")]),
        ("<a>", [("http://example.org/a", "")]),
        ("<>; rel=self", [("http://example.org/items?page=1", "self")]),
        ("<mailto:x@y.z>; rel=author", [("mailto:x@y.z", "author")]),
        ("<http://[/>; rel=next, <b>; rel=prev", [("http://example.org/b", "prev")]),
        ("<//other.example/x>;rel=next", [("http://other.example/x", "next")]),
        ("</caf\xc3\xa9>; rel=next", [("http://example.org/caf%C3%A9", "next")]),
    ],
)  # fmt: skip
def test_what_a_field_says(value: str, links: list[tuple[str, str]]) -> None:
    assert [(link.url, link.get("rel", "")) for link in parse_links([value], BASE).all] == links


def test_by_relation_type() -> None:
    links = parse_links(['<a>; rel="next prefetch"; type="text/html"', "<b>; rel=next, <c>; rel=last"], BASE)
    assert sorted(links) == ["last", "next", "prefetch"]
    assert links["next"].url == links["NEXT"]["url"] == links["prefetch"].url == "http://example.org/a"
    assert dict(links["next"]) == {"url": "http://example.org/a", "rel": "next prefetch", "type": "text/html"}
    assert len(links.all) == 3
    assert links
    assert not parse_links([], BASE)
    assert links.get("prev") is None


def test_a_link_from_elsewhere_is_not_the_responses() -> None:
    links = parse_links(['<a>; rel=next; anchor="/other"', '<b>; rel=next; anchor=""', "<c>; rel=prev"], BASE)
    assert (links.all[0].anchor, links.all[2].anchor) == ("http://example.org/other", None)
    assert {rel: link.url for rel, link in links.items() if rel == "prev"} == {"prev": "http://example.org/c"}
    assert links["next"].url == "http://example.org/b"


@pytest.mark.parametrize(
    ("parameter", "title"),
    [
        ("title*=UTF-8'de'n%c3%a4chstes; title=x", "nächstes"),
        ("title=x; title*=iso-8859-1''%e4", "ä"),
        ("title=x; title*=utf-7''y", "x"),
        ("title=x; title*=utf-8''%ff", "x"),
        ("title=x; title*=y", "x"),
    ],
)
def test_attributes_in_other_charsets(parameter: str, title: str) -> None:
    assert parse_links([f"<a>; rel=next; {parameter}"], BASE)["next"]["title"] == title


def test_long_fields_take_linear_work() -> None:
    for value in ("<," * 30_000, "<a>;" * 20_000, '<a>;x="' * 9_000, "<a>," * 2_000, '"' * 60_001, "<a>; " * 9_000):
        parse_links([value], BASE)


@given(st.lists(st.text('<>;,=" \\*ab\xe4', max_size=40), max_size=3))
def test_any_field_is_read(values: list[str]) -> None:
    for link in parse_links(values, BASE).all:
        assert link.url


async def test_links_of_a_response(client: Client, http_server: OriginServer) -> None:
    fields = [("Link", "<?page=2>; rel=next"), ("Link", "</>; rel=up")]
    http_server.routes["/items"] = Reply(b"", fields=fields)
    response = await client.get(f"{http_server.url}/items?page=1")
    assert response.links["next"].url == f"{http_server.url}/items?page=2"
    assert (await client.get(response.links["next"].url)).status == 200
    assert response.links["up"].url == f"{http_server.url}/"
    assert not (await client.get(http_server.url)).links
