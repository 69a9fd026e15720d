"""Forbidden addresses in every spelling that a URL may have: refused before any look-up, or no URL at all."""

from __future__ import annotations

import pytest

from aiohttpconn.errors import AddressBlocked, InvalidURL
from aiohttpconn.net.guard import AddressPolicy
from aiohttpconn.url import Origin, join, parse

PUBLIC_ONLY = AddressPolicy.public_only()

# What the host is written like, and the address that the error must name.
LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.1.",
    "127.255.255.254",
    "127.0.0.2",
    "2130706433",
    "2130706433.",
    "0x7f000001",
    "0X7F000001",
    "0x7F.1",
    "0x7f.0x1",
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0x7f.0.0x1",
    "0x000000007f.0.0.1",
    "017700000001",
    "0177.1",
    "0177.0.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "0177.0.0x0.1",
    "00000177.0.0.1",
    "127.0x0.0.1",
    "127.0.0.0x1",
    "127.000.000.001",
    "127.0.01",
    "127.0x000001",
    "127.000001",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "127%2E1",
    "%30x7f.1",
    "２１３０７０６４３３",
    "１２７.０.０.１",
    "１２７．０．０．１",
    "127。0。0。1",
    "127｡0｡0｡1",
    "127．1",
    "①②⑦.⓪.⓪.①",
    "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    "𝟙𝟚𝟟.𝟙",
    "¹²⁷.⁰.⁰.¹",
    "0ｘ7f.1",
    "0\N{SOFT HYPHEN}x7f.1",
    "127.0\N{ZERO WIDTH SPACE}.0.1",
    "127.0.0.1\N{WORD JOINER}",
    "%EF%BC%91%EF%BC%92%EF%BC%97.1",
    "127%E3%80%820.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[0::1]",
    "[::0:1]",
    "[::0001]",
    "[::0.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:7f00:0001]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[0000:0000:0000:0000:0000:FFFF:7F00:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:0:0::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::5efe:127.0.0.1]",
    "[2606:4700::5efe:7f00:1]",
    "[2606:4700::200:5efe:7f00:1]",
    "[::ffff:0:127.0.0.1]",
]

NAMES = [
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "app.localhost",
    "a.b.LocalHost.",
    "loc%61lhost",
    "localhost%2e",
    "ｌｏｃａｌｈｏｓｔ",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "local\N{SOFT HYPHEN}host",
    "localho\N{LATIN SMALL LETTER LONG S}t",
    "LOCAL\N{ZERO WIDTH SPACE}HOST",
    "app。localhost",
    "𝓁ℴ𝒸𝒶𝓁𝒽ℴ𝓈𝓉",
]

OTHERS = [
    "0.0.0.0",
    "0",
    "0x0",
    "00",
    "0.0",
    "0x",
    "0.1.2.3",
    "10.0.0.1",
    "10.1",
    "012.1",
    "0xa.1",
    "167772161",
    "0x0a000001",
    "100.64.0.1",
    "0x64.0x40.1",
    "100.127.255.255",
    "169.254.169.254",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "0251.254.0xa9.254",
    "025177524776",
    "１６９．２５４．１６９．２５４",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "172.16.0.1",
    "172.31.255.255",
    "0xac.0x10.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1",
    "3232235777",
    "0xc0a80101",
    "0300.0250.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "4294967295",
    "0xffffffff",
    "037777777777",
    "[::]",
    "[0::0]",
    "[::0.0.0.0]",
    "[::ffff:0:0]",
    "[::ffff:10.0.0.1]",
    "[::ffff:c0a8:101]",
    "[fe80::1]",
    "[FE80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fdff::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[100::1]",
    "[100:0:0:1::1]",
    "[5f00::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2001:2::1]",
    "[2001:db8::1]",
    "[2001::1]",
    "[3fff::1]",
    "[4000::1]",
    "[64:ff9b:1::808:808]",
    "[::8.8.8.8]",
]


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS + NAMES + OTHERS)
@pytest.mark.parametrize("url", ["http://{}/", "https://user:password@{}:8443/x?y#z"])
def test_a_forbidden_host_is_refused_before_any_look_up(host: str, url: str) -> None:
    origin = parse(url.format(host)).origin  # none of these is refused as no URL: a browser takes them all
    with pytest.raises(AddressBlocked) as caught:
        PUBLIC_ONLY.check_origin(origin)
    assert str(origin.port) in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org@127.0.0.1/",
        "http://example.org:80@127.0.0.1/",
        "http://example.org%2f@127.0.0.1/",
        "http://example.org%23@127.0.0.1/",
        "http://user@example.org@127.0.0.1/",
        "http://@127.0.0.1/",
        "http://:@127.0.0.1/",
        "http://127.0.0.1#@example.org/",
        "http://127.0.0.1?@example.org/",
        "http://127.0.0.1/@example.org/",
        "http://127.0.0.1\\@example.org/",
        "http://127.0.0.1\\.example.org/",
        "http:\\\\127.0.0.1\\",
        "http:/\\127.0.0.1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "http://///127.0.0.1/",
        "HTTP://127.0.0.1/",
        " http://127.0.0.1/",
        "\x00http://127.0.0.1/",
        "http://127.0.0.1:80/",
        "http://127.0.0.1:/",
        "http://127.0.0.1../",
        "http://127.0.0.1:000080/",
        "https://127.0.0.1",
        "http://127.0.0.1#",
        "http://127.0.0.1?",
        "http://１２７.1:8080",
        "http://a:b@[::1]:22/",
    ],
)
def test_tricks_with_what_is_around_the_host_change_nothing(url: str) -> None:
    with pytest.raises(AddressBlocked):
        PUBLIC_ONLY.check_origin(parse(url).origin)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1%00.example.org/",
        "http://127.0.0.1%0a.example.org/",
        "http://127.0.0.1\n.example.org/",
        "http://127.0.0.\t1/",
        "http://127.0.0.1 .example.org/",
        "http://127.0.0.1%20/",
        "http://127.0.0.1%2f/",
        "http://127.0.0.1%23.example.org/",
        "http://127.0.0.1%40example.org/",
        "http://127.0.0.1:80:80/",
        "http://127.0.0.1:80@/",
        "http://127.0.0.256/",
        "http://127.0.0.1.1/",
        "http://1.127.0.0.1/",
        "http://4294967296/",
        "http://0x17f000001/",
        "http://0400.0.0.1/",
        "http://127.0.0.08/",
        "http://127..1/",
        "http://-127.0.0.1/",
        "http://[127.0.0.1]/",
        "http://[::1/",
        "http://::1/",
        "http://[::1]1/",
        "http://[::1%25lo]/",
        "http://[::1%lo]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::ffff:127.1]/",
        "http://[::ffff:0x7f.0.0.1]/",
        "http://[::ffff:0177.0.0.1]/",
        "http://[::ffff:2130706433]/",
        "http://[0:0:0:0:0:0:0:0:1]/",
        "http://[00000::1]/",
        "http://[:1]/",
        "http://[１::1]/",
        "http://[v1.127.0.0.1]/",
        "http://127。。1/",
        "http://xn--127-.1/",
        "http:///",
        "http://@/",
    ],
)
def test_what_is_no_url_gets_no_further(url: str) -> None:
    with pytest.raises((InvalidURL, AddressBlocked)):
        PUBLIC_ONLY.check_origin(parse(url).origin)


@pytest.mark.parametrize(
    "location",
    [
        "//127.0.0.1/",
        "\\\\127.0.0.1\\",
        "http://2130706433/",
        "/\\0x7f.1/x",
        "//example.org@[::1]/",
        "https://localhost",
    ],
)
def test_a_reference_on_a_public_page_is_judged_by_where_it_leads(location: str) -> None:
    with pytest.raises(AddressBlocked):
        PUBLIC_ONLY.check_origin(join("http://example.org/a", location).origin)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://example.org./",
        "http://127.0.0.1.example.org/",
        "http://127-0-0-1.example.org/",
        "http://localhost.example.org/",
        "http://mylocalhost/",
        "http://localhosts/",
        "http://example.org/?u=http://127.0.0.1/",
        "http://example.org/#@127.0.0.1/",
        "http://127.0.0.1@example.org/",
        "http://localhost:80@example.org/",
        "http://example.org\\@127.0.0.1/",
        "http://0x7f.example/",
        "http://bücher.example/",
        "http://a_b.example/",
        "http://a*b.example/",
        "http://7f000001/",
        "http://127.0.0.0x1g/",
        "http://1e3/",
    ],
)
def test_a_public_name_that_looks_odd_waits_for_its_look_up(url: str) -> None:
    PUBLIC_ONLY.check_origin(parse(url).origin)


@pytest.mark.parametrize(
    "host",
    [*LOOPBACK_SPELLINGS, *NAMES, *OTHERS],
)
def test_an_origin_made_by_hand_may_not_spell_it_otherwise_either(host: str) -> None:
    # Not by way of `parse`, as for a connection of one's own: "[::1]" keeps its brackets here, "0x7f.1" its letters.
    with pytest.raises((AddressBlocked, InvalidURL)):
        PUBLIC_ONLY.check_origin(Origin("http", host, 80))


@pytest.mark.parametrize(
    "host",
    [
        "fe80::1%eth0",
        "::1%lo",
        "[::1]",
        "[fe80::1%2]",
        "2606:4700::1111%eth0",
        "127.0.0.1\n",
        "127.0.0.1 x",
        "",
        ".",
        "..",
        "x@127.0.0.1",
        "127.0.0.1/",
        "example.org@127.0.0.1",
        "127.0.0.1#",
        "::1\n",
        "fe80::1%\n",
        ":::1",
        "127.0.0.1:80",
    ],
)
def test_hosts_that_no_url_has(host: str) -> None:
    with pytest.raises((AddressBlocked, InvalidURL)) as caught:
        PUBLIC_ONLY.check_host(host, 80)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "address", "what"),
    [
        ("0x7f.1", "127.0.0.1", "loopback"),
        ("169.254.169.254", "169.254.169.254", "link-local"),
        ("::ffff:a00:1", "10.0.0.1", "private"),
        ("64:ff9b::a00:1", "10.0.0.1", "private"),
        ("fd00:ec2::254", "fd00:ec2::254", "unique-local"),
        ("100.64.1.1", "100.64.1.1", "carrier NAT"),
        ("224.0.0.1", "224.0.0.1", "multicast"),
        ("255.255.255.255", "255.255.255.255", "broadcast"),
        ("0.0.0.0", "0.0.0.0", "this network"),
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("::7f00:1", "::127.0.0.1", "IPv4-compatible"),
        ("2001:db8::1", "2001:db8::1", "documentation"),
        ("localhost", "127.0.0.1", "loopback"),
    ],
)
def test_the_error_names_host_address_and_rule(host: str, address: str, what: str) -> None:
    with pytest.raises(AddressBlocked) as caught:
        PUBLIC_ONLY.check_host(host, 8080)
    text = str(caught.value)
    assert (f"[{host}]:8080" if ":" in host else f"{host}:8080") in text
    assert address in text
    assert what in text
