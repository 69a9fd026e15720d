"""The jar against the shared data: the IETF's http-state cases and dates, and the public suffix list's own."""

from __future__ import annotations

from typing import Any

import pytest

from aiohttpconn.client.cookie_dates import parse_cookie_date
from aiohttpconn.client.cookies import CookieJar
from aiohttpconn.url import parse
from tests import corpus

pytestmark = pytest.mark.corpus

COOKIES = corpus.load("http_state_cookies.json")
DATES = corpus.load("http_state_dates.json")["cases"]
SUFFIXES = [
    case for case in corpus.load("psl_cases.json")["cases"] if case["host"] and not case["host"].startswith(".")
]
"""Those with a host that a URL can have."""

DECIDED_OTHERWISE = {
    "disabled-chromium0022": "RFC 6265bis section 5.6 ignores a line with NUL, it does not cut it there",
    "disabled-chromium0023": "RFC 6265bis section 5.6 ignores a line with CR, it does not cut it there",
    "disabled-path0029": "RFC 6265bis section 5.1.4 compares paths as they stand, percent-encoded",
}
"""Cases that their source has disabled, and why they come out otherwise."""


def params() -> list[Any]:
    return [
        pytest.param(
            case,
            id=case["name"],
            marks=[pytest.mark.xfail(strict=True, reason=DECIDED_OTHERWISE[case["name"]])]
            if case["name"] in DECIDED_OTHERWISE
            else [],
        )
        for case in COOKIES["cases"]
    ]


@pytest.mark.parametrize("case", params())
def test_what_was_sent_comes_back(case: dict[str, Any]) -> None:
    now = float(COOKIES["now_epoch"]) if case["clock"] else None
    jar = CookieJar()
    jar.update(parse(case["url"]), case["sent"], now=now)
    expected = case.get("expected_6265bis", case["expected"])
    assert jar.header_for(parse(case["next_url"]), now=now) == expected


def test_only_disabled_cases_are_decided_otherwise() -> None:
    assert {case["name"] for case in COOKIES["cases"] if case["disabled"]} >= DECIDED_OTHERWISE.keys()


@pytest.mark.parametrize("case", DATES, ids=[case["input"] for case in DATES])
def test_dates(case: dict[str, Any]) -> None:
    assert parse_cookie_date(case["input"]) == case["epoch"]


@pytest.mark.parametrize("case", SUFFIXES, ids=[case["host"].encode("unicode_escape").decode() for case in SUFFIXES])
def test_only_below_a_public_suffix_is_a_domain_shared(case: dict[str, Any]) -> None:
    """A page below a host sets a cookie for it, exactly if the host is a registrable domain or lies below one."""
    page = parse(f"http://page.{case['host']}/")
    domain = page.host.removeprefix("page.")
    jar = CookieJar()
    jar.update(page, [f"a=b; Domain={domain}"])
    assert [(cookie.domain, cookie.host_only) for cookie in jar] == ([(domain, False)] if case["registrable"] else [])
    if case["registrable"]:
        above = parse(f"http://{case['registrable']}/").host
        jar.update(page, [f"c=d; Domain={above}", f"e=f; Domain={above.partition('.')[2]}"])
        assert {cookie.domain for cookie in jar} == {domain, above}
