"""The rooms without I/O: names, digests, spans, ranges, versions."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiohttpconn import URL, Headers
from aiohttpconn.download.digests import parse_checksum, stated_digests
from aiohttpconn.download.file_name import disposition_name, file_name, numbered, safe_name
from aiohttpconn.download.ranges import LEAST_SEGMENT, ContentRange, Plan, content_range, unsatisfied_size
from aiohttpconn.download.spans import Spans
from aiohttpconn.download.version import Version


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers(CIMultiDict(pairs))


def test_names_of_content_disposition() -> None:
    # RFC 6266 section 5, and what browsers' tests ask of them.
    for value, name in {
        'attachment; filename="example.html"': "example.html",
        "attachment; filename=foo.html": "foo.html",
        'INLINE; FILENAME= "an example.html"': "an example.html",
        "attachment; filename*= UTF-8''%e2%82%ac%20rates": "€ rates",
        "attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates": "€ rates",
        "attachment; filename*=iso-8859-1'en'%A3%20rates; filename=x": "£ rates",
        "attachment; filename*=UTF-8''%ff; filename=fall.back": "fall.back",
        "attachment; filename*=nonsense''x; filename=fall.back": "fall.back",
        'attachment; filename="a\\"b.txt"': 'a"b.txt',
        'attachment; filename="a;filename=b"': "a;filename=b",
        'attachment; filename="€.txt"'.encode().decode("latin-1"): "€.txt",
        'attachment; filename="\xe9.txt"': "é.txt",
        "attachment": None,
        "": None,
        'attachment; xfilename="x"': None,
    }.items():
        assert disposition_name(value) == name, value


def test_names_are_made_harmless() -> None:
    for name, safe in {
        "../../etc/passwd": "passwd",
        "..\\..\\boot.ini": "boot.ini",
        "/abs": "abs",
        ".ssh": "_.ssh",
        "-rf": "_-rf",
        "con": "_con",
        "LPT1.txt": "_LPT1.txt",
        "a\x00b\nc\u202ed": "a_b_c_d",
        "trailing. . ": "trailing",
        'a:b|c?d*e<f>g"h': "a_b_c_d_e_f_g_h",
        "..": "",
        "dir/": "",
        " ": "",
        "ünïcode 文件.txt": "ünïcode 文件.txt",
        "\ud800x": "_x",
    }.items():
        assert safe_name(name) == safe, name
    long = safe_name("文" * 200 + ".tar")
    assert len(long.encode()) <= 200
    assert long.endswith("文.tar")
    assert file_name(headers(), URL("http://x/a/b%2Fc.txt?q")) == "c.txt"
    assert file_name(headers(("Content-Disposition", "attachment; filename=..")), URL("http://x/")) == "index.html"
    assert [numbered(name, 2) for name in ("a", "a.b.c")] == ["a-2", "a-2.b.c"]


@given(st.text())
def test_no_name_leads_elsewhere(name: str) -> None:
    safe = safe_name(name)
    assert len(safe.encode()) <= 201
    assert "/" not in safe
    assert "\\" not in safe
    assert safe[:1] not in (".", "-")
    assert safe == safe.rstrip(". ")


def test_checksums() -> None:
    value = hashlib.sha256(b"x").digest()
    coded = base64.b64encode(value).decode()
    for text in (f"sha256:{value.hex()}", f"SHA-256: {value.hex().upper()}", f"sha-256=:{coded}:", f"sha256:{coded}"):
        assert parse_checksum(text)[:2] == ("sha256", value)
    for wrong in ("", "sha256", "sha256:", "sha256:00", f"md5:{value.hex()}", "shake_128:00", "what:00"):
        with pytest.raises(ValueError, match="checksum"):
            parse_checksum(wrong)


def test_digest_fields() -> None:
    md5 = "XUFAKrxLKna5cZ2REBfFkg=="
    repr_digest, digest = f"md5=:{md5}:, adler=:AA==:", "SHA=bad, crc32c=AA=="
    both = headers(("Repr-Digest", repr_digest), ("Content-MD5", md5), ("Digest", digest))
    assert [digest.source for digest in stated_digests(both, whole=True)] == ["Repr-Digest", "Content-MD5"]
    assert [digest.source for digest in stated_digests(both, whole=False)] == ["Repr-Digest"]


def test_content_ranges() -> None:
    for value, found in {
        "bytes 0-9/10": ContentRange(0, 10, 10),
        "BYTES 5-9/*": ContentRange(5, 10, None),
        "bytes 5-4/10": None,
        "bytes 5-10/10": None,
        "bytes */10": None,
        "items 0-9/10": None,
        "bytes 0-9/10, bytes 1-2/10": None,
        "bytes=0-9/10": None,
        "bytes -1-9/10": None,
        "bytes 0-99999999999999999999/*": None,
    }.items():
        assert content_range(headers(("Content-Range", value))) == found, value
    assert content_range(headers(("Content-Range", "bytes 0-9/10"), ("Content-Range", "bytes 0-9/10"))) is None
    assert unsatisfied_size(headers(("Content-Range", "bytes */77"))) == 77


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20))
def test_spans_are_a_set(pairs: list[tuple[int, int]]) -> None:
    spans, model = Spans(), set[int]()
    for start, end in pairs:
        spans.add(start, end)
        model |= set(range(start, end))
    assert {at for start, end in spans for at in range(start, end)} == model
    assert spans.size == len(model)
    assert len(spans) == sum(at - 1 not in model for at in model)
    missing = [at for start, end in spans.gaps(50) for at in range(start, end)]
    assert missing == [at for at in range(50) if at not in model]
    assert list(spans.clipped(30)) == list(Spans((at, at + 1) for at in model if at < 30))


@given(st.integers(1, 9), st.integers(1, 40), st.integers())
def test_a_plan_loses_nothing_and_brings_nothing_twice(segments: int, mebibytes: int, seed: int) -> None:
    chance = random.Random(seed)
    size = mebibytes * LEAST_SEGMENT + 17
    plan, brought, now = Plan([(0, size)], segments), Spans(), 0.0
    while not plan.over:
        now += 10
        if chance.random() < 0.4:
            plan.take(now)
        if not plan.active:
            assert plan.take(now) is not None
        segment = chance.choice(plan.active)
        segment.reach = segment.end
        step = min(segment.left, chance.randrange(1, size))
        before = brought.size
        brought.add(segment.position, segment.position + step)
        assert brought.size == before + step
        segment.position += step
        if not segment.left:
            plan.done(segment, now)
        elif chance.random() < 0.2:
            plan.give_back(segment)
    assert list(brought) == [(0, size)]


def test_versions() -> None:
    old, date = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"
    later = ("Date", "Thu, 22 Oct 2015 07:28:00 GMT")
    assert Version.of(headers(("ETag", '"a"')), 1).validator == '"a"'
    assert Version.of(headers(("ETag", 'W/"a"'), ("Last-Modified", old), later), 1).validator is None
    assert Version.of(headers(("Last-Modified", old), later), 1).validator == old
    assert Version.of(headers(("Last-Modified", old), ("Date", date)), 1).validator is None
    assert Version.of(headers(("Last-Modified", old)), 1).validator is None
    assert Version.of(headers(("Last-Modified", "nonsense")), 1).validator is None
    first = Version(10, '"a"', None, False)
    assert first.same(Version(10, '"a"', old, True))
    assert not first.same(Version(11, '"a"', None, False))
    assert not first.contradicts(Version(None, None, old, True))
    assert first.contradicts(Version(10, '"b"', None, False))
    assert Version.restored([-1, None, None, True]) is None
    assert Version.restored([1, '"a"\r\nX: y', None, True]) is None
