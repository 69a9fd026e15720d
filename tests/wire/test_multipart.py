"""multipart/form-data: boundaries, and the heads of parts as browsers write them."""

from __future__ import annotations

import email.message

import pytest

from aiohttpconn.wire.multipart import (
    boundary_of,
    check_boundary,
    close_delimiter,
    content_type,
    disposition,
    new_boundary,
    part_head,
)


def test_boundaries_are_valid_and_never_the_same() -> None:
    made = {new_boundary() for _ in range(1000)}
    assert len(made) == 1000
    for boundary in made:
        assert check_boundary(boundary) == boundary
        assert len(boundary) >= 32
        assert content_type(boundary) == f"multipart/form-data; boundary={boundary}"


@pytest.mark.parametrize("boundary", ["a", "-" * 70, "gc0pJq0M:08jU534c0p", "a b", "'()+_,-./:=?"])
def test_what_rfc_2046_allows(boundary: str) -> None:
    assert check_boundary(boundary) == boundary
    value = content_type(boundary)
    assert boundary_of(value) == boundary
    message = email.message.Message()
    message["Content-Type"] = value
    assert message.get_boundary() == boundary, "an independent reader sees the same"


@pytest.mark.parametrize("boundary", ["", "-" * 71, "a ", " ", 'a"b', "a\r\nb", "ä", "a;b", "a\tb", "a\n"])
def test_what_it_does_not(boundary: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        check_boundary(boundary)


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        ("multipart/form-data", None),
        ("multipart/form-data; charset=utf-8", None),
        ("multipart/form-data; xboundary=a", None),
        ("multipart/form-data; boundary=a", "a"),
        ("multipart/form-data;boundary=a", "a"),
        ("Multipart/Mixed; Boundary=a; charset=utf-8", "a"),
        ('multipart/form-data; boundary="a b"; x=y', "a b"),
        (r'multipart/form-data; boundary="a\:b"', "a:b"),
        ("multipart/form-data; boundary = a ", "a"),
    ],
)
def test_the_boundary_of_a_content_type(value: str, boundary: str | None) -> None:
    assert boundary_of(value) == boundary


@pytest.mark.parametrize("value", ["boundary=", 'boundary=""', 'boundary="a;b"', "boundary=ä", f"boundary={'a' * 71}"])
def test_a_content_type_with_a_bad_boundary(value: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        boundary_of(f"multipart/form-data; {value}")


@pytest.mark.parametrize(
    ("name", "filename", "value"),
    [
        ("a", None, 'form-data; name="a"'),
        ("", "", 'form-data; name=""; filename=""'),
        ("ä", "grüße €.txt", 'form-data; name="ä"; filename="grüße €.txt"'),
        # The HTML standard escapes these three, and nothing else.
        ('a"b', 'c"d', 'form-data; name="a%22b"; filename="c%22d"'),
        ("a\r\nb", "c\rd\n", 'form-data; name="a%0D%0Ab"; filename="c%0Dd%0A"'),
        # By the same a line end in a name is CR LF; a file's name is as it is.
        ("a\nb\rc", "a\nb\rc", 'form-data; name="a%0D%0Ab%0D%0Ac"; filename="a%0Ab%0Dc"'),
        ("\n\r\r\n\n", None, 'form-data; name="%0D%0A%0D%0A%0D%0A%0D%0A"'),
        ("a%22b", "50%.txt", 'form-data; name="a%22b"; filename="50%.txt"'),
        ("a\\b", "C:\\x;y=z", 'form-data; name="a\\b"; filename="C:\\x;y=z"'),
    ],
)
def test_names_are_utf_8_and_escaped_as_browsers_do(name: str, filename: str | None, value: str) -> None:
    assert disposition(name, filename) == value.encode()


def test_a_part_and_the_end() -> None:
    fields = [("Content-Disposition", disposition("a")), ("X-Own", b"b\xe4")]
    head = part_head("limit", fields)
    assert head == b'--limit\r\nContent-Disposition: form-data; name="a"\r\nX-Own: b\xe4\r\n\r\n'
    assert close_delimiter("limit") == b"--limit--\r\n"
