"""Names of files from URLs: what a user expects, and nothing a stranger may wish for."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttpconn import URL
from aiohttpconn.cli.filenames import distinct
from aiohttpconn.download.file_name import FALLBACK, LONGEST, url_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b/report.pdf", "report.pdf"),
        ("report.pdf?v=/x/y#z/w", "report.pdf"),
        ("report%202.pdf", "report 2.pdf"),
        ("gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("a.-b", "a.-b"),
        ("", FALLBACK),
        ("a/b/", FALLBACK),
        ("?q=x", FALLBACK),
        ("...", FALLBACK),
        (".%20.", FALLBACK),
        ("..%2f..%2fetc%2fpasswd", "passwd"),
        ("..%5c..%5cx", "x"),
        (".bashrc", "_.bashrc"),
        ("-rf", "_-rf"),
        ("x.part", "x.part_"),
        ("a%00b", "a_b"),
        ("a%0A%0Db", "a_b".replace("_", "__")),
        ("%1b%5b31mred", "_[31mred"),
        ("exe.%E2%80%AEfdp", "exe._fdp"),
        ("c:windows", "c_windows"),
        ("a%3Fb%2A%3C%3E%7C%22", "a_b_____"),
        ("NUL", "_NUL"),
        ("con.txt", "_con.txt"),
        ("a.txt.", "a.txt"),
        ("a.txt%20", "a.txt"),
        ("%ff%fe", "\ufffd\ufffd"),
    ],
)
def test_the_name_of_a_url(path: str, name: str) -> None:
    assert url_name(URL(f"http://example.org/{path}")) == name


def test_a_long_name_is_cut_and_keeps_its_extension() -> None:
    name = url_name(URL(f"http://example.org/{'ü' * 300}.tar"))
    assert len(name.encode()) in (LONGEST - 1, LONGEST)
    assert name.endswith("ü.tar")
    assert url_name(URL(f"http://example.org/a.{'x' * 300}")) == "a." + "x" * (LONGEST - 2)


@given(st.binary(max_size=400))
def test_no_segment_makes_a_name_that_leaves_the_directory(octets: bytes) -> None:
    name = url_name(URL("http://example.org/" + "".join(f"%{octet:02x}" for octet in octets)))
    assert name
    assert name[0] not in ".-"
    assert not set(name) & set('/\\:\0<>|?*"')
    assert not any(unicodedata.category(char).startswith("C") for char in name)
    assert len(name.encode()) <= LONGEST


@given(st.lists(st.sampled_from(["a", "A", "a-2", "b.x.y", "b-2.x.y", "B.X.y"]), max_size=12))
def test_distinct_names_are_distinct_on_every_file_system(names: list[str]) -> None:
    result = distinct(names)
    assert len({name.lower() for name in result}) == len(names)
    seen: set[str] = set()
    for wanted, got in zip(names, result, strict=True):
        if wanted.lower() not in seen:
            assert got == wanted
        seen.add(got.lower())


def test_distinct_numbers_before_the_extension() -> None:
    assert distinct(["x.tar.gz", "x.tar.gz", "y", "x.tar.gz"]) == ["x.tar.gz", "x-2.tar.gz", "y", "x-3.tar.gz"]
