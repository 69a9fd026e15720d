"""netrc files as people write them."""

from __future__ import annotations

import pytest

from aiohttpconn.client.netrc_file import Netrc, parse_netrc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("machine h login u password p", [("h", "u", "p")]),
        ("machine h\n  login u\n\tpassword p\n", [("h", "u", "p")]),
        ("machine h password p login u account a", [("h", "u", "p")]),
        ("machine\nh\nlogin\nu\npassword\np", [("h", "u", "p")]),
        ("machine H.Example. login u password p", [("h.example", "u", "p")]),
        ("machine [::1] login u password p", [("::1", "u", "p")]),
        ('machine h login "a b" password "q\\"\\\\\\n"', [("h", "a b", 'q"\\\n')]),
        ("machine h login u password a\\b", [("h", "u", "a\\b")]),
        ("machine h login u password #p#q", [("h", "u", "#p#q")]),
        ("# machine x login y\nmachine h login u password p # more words\n#", [("h", "u", "p")]),
        ("machine h login u password login", [("h", "u", "login")]),
        ("machine h login u", [("h", "u", "")]),
        ("machine h password p", [("h", "", "p")]),
        ("machine h", []),
        ("default login u password p machine h login v password q", [("h", "v", "q"), (None, "u", "p")]),
        ("macdef init\nmachine evil login x password y\n\nmachine h login u password p", [("h", "u", "p")]),
        ("machine h login u password p macdef init\ncd /x\n", [("h", "u", "p")]),
        ("machine h protocol https login u password p", [("h", "u", "p")]),
        ("machine h login ü password \udcff", [("h", "ü", "\udcff")]),
        ("", []),
    ],
)
def test_entries(text: str, expected: list[tuple[str | None, str, str]]) -> None:
    assert [tuple(entry) for entry in parse_netrc(text)] == expected


@pytest.mark.parametrize("text", ["machine", "machine h login", "machine h login s3cret password"])
def test_a_keyword_without_value_is_an_error_that_shows_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="missing") as caught:
        parse_netrc(text)
    assert "s3cret" not in str(caught.value)


def test_which_entry() -> None:
    netrc = Netrc(parse_netrc("default login d machine h login a machine h login b machine k login c"))
    assert netrc.entry("h").login == "a"  # type: ignore[union-attr]
    assert netrc.entry("h.", "b").login == "b"  # type: ignore[union-attr]
    assert netrc.entry("h", "c") is None
    assert netrc.entry("x").login == "d"  # type: ignore[union-attr]
    assert netrc.entry("sub.h").login == "d"  # type: ignore[union-attr]
    assert Netrc(parse_netrc("machine h login s3cret")).entry("x") is None


def test_nothing_secret_shows() -> None:
    netrc = Netrc(parse_netrc("machine h login s3cret password s3cret"))
    assert "s3cret" not in f"{netrc!r} {netrc.entry('h')!r}"
