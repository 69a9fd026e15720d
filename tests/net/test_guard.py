"""What an `AddressPolicy` says: its entries, their order, what it leaves of a name's addresses, Unix sockets."""

from __future__ import annotations

import copy
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiohttpconn.errors import AddressBlocked, ConnectError, InvalidURL
from aiohttpconn.net.guard import AddressPolicy
from aiohttpconn.net.tcp import Address
from aiohttpconn.url import Origin, parse


def v4(text: str, port: int = 80) -> Address:
    return socket.AF_INET, (text, port)


def v6(text: str, port: int = 80, scope: int = 0) -> Address:
    return socket.AF_INET6, (text, port, 0, scope)


def allows(policy: AddressPolicy, url: str, *addresses: str) -> bool:
    """Whether a URL may be fetched, its host being a literal or resolving to `addresses`."""
    origin = parse(url).origin
    texts = addresses or (origin.host,)
    found = [v6(text, origin.port) if ":" in text else v4(text, origin.port) for text in texts]
    try:
        policy.check_origin(origin)
        policy.permitted(origin.host, origin.port, found)
    except AddressBlocked:
        return False
    return True


# --- the order of the rules -------------------------------------------------------------------------------------------


def test_a_policy_that_says_nothing_permits_everything() -> None:
    policy = AddressPolicy()
    assert allows(policy, "http://127.0.0.1/")
    assert allows(policy, "http://localhost/", "::1")
    assert allows(policy, "http://example.org/", "10.0.0.1")
    policy.check_unix("/run/app.sock")


def test_public_only_permits_what_is_public() -> None:
    policy = AddressPolicy.public_only()
    assert policy == AddressPolicy(public=True)
    assert allows(policy, "https://example.org/", "93.184.216.34")
    assert not allows(policy, "https://example.org/", "10.0.0.1")


def test_allow_adds_to_what_is_public() -> None:
    policy = AddressPolicy.public_only(allow=["10.1.2.0/24", "127.0.0.1:8080", "intranet.example"])
    assert allows(policy, "http://10.1.2.3/")
    assert allows(policy, "http://example.org/", "10.1.2.3")
    assert not allows(policy, "http://10.1.3.3/")
    assert allows(policy, "http://127.0.0.1:8080/")
    assert not allows(policy, "http://127.0.0.1/")
    assert not allows(policy, "http://127.0.0.2:8080/")
    assert allows(policy, "http://intranet.example/", "192.168.1.1")
    assert not allows(policy, "http://other.example/", "192.168.1.1")
    assert allows(policy, "http://8.8.8.8/")


def test_allow_without_public_is_all_that_is_permitted() -> None:
    policy = AddressPolicy(allow=["10.1.2.0/24", "intranet.example"])
    assert allows(policy, "http://10.1.2.3/")
    assert allows(policy, "http://intranet.example/", "8.8.8.8")
    assert not allows(policy, "http://8.8.8.8/")
    assert not allows(policy, "http://example.org/", "8.8.8.8")
    assert allows(policy, "http://example.org/", "10.1.2.3")


def test_with_names_alone_allowed_any_other_name_is_refused_before_its_look_up() -> None:
    policy = AddressPolicy(allow=["intranet.example", "10.0.0.1:8080"])
    policy.check_host("intranet.example", 80)
    with pytest.raises(AddressBlocked, match=r"example\.org:80 is forbidden: it is not in the list of what is allowed"):
        policy.check_host("example.org", 80)
    policy.check_host("example.org", 8080)  # may be the address that is allowed


def test_deny_alone_leaves_everything_else() -> None:
    policy = AddressPolicy(deny=["10.0.0.0/8", "evil.example"])
    assert not allows(policy, "http://10.1.2.3/")
    assert not allows(policy, "http://evil.example/", "8.8.8.8")
    assert allows(policy, "http://127.0.0.1/")
    assert allows(policy, "http://localhost/", "127.0.0.1")
    assert allows(policy, "http://example.org/", "8.8.8.8")


@pytest.mark.parametrize("public", [True, False])
def test_deny_wins_over_allow(public: bool) -> None:
    policy = AddressPolicy(public=public, allow=["10.0.0.0/8", "intranet.example"], deny=["10.6.0.0/16", "*:25"])
    assert allows(policy, "http://10.1.2.3/")
    assert not allows(policy, "http://10.6.1.1/")
    assert not allows(policy, "http://10.1.2.3:25/")
    assert allows(policy, "http://intranet.example/", "192.168.1.1")
    assert not allows(policy, "http://intranet.example/", "10.6.1.1")
    assert not allows(policy, "http://intranet.example:25/", "192.168.1.1")
    with pytest.raises(AddressBlocked, match=r"'10\.6\.0\.0/16'"):
        policy.check_host("10.6.1.1", 80)
    with pytest.raises(AddressBlocked, match=r"'\*:25'"):
        policy.check_host("example.org", 25)


def test_an_allowed_name_may_be_loopback() -> None:
    policy = AddressPolicy.public_only(allow=["localhost:8000"])
    assert allows(policy, "http://localhost:8000/", "127.0.0.1")
    assert not allows(policy, "http://localhost:8001/", "127.0.0.1")
    assert not allows(policy, "http://a.localhost:8000/", "127.0.0.1")
    assert not allows(policy, "http://127.0.0.1:8000/")


def test_localhost_may_be_looked_up_where_loopback_is_allowed_by_address() -> None:
    policy = AddressPolicy.public_only(allow=["127.0.0.1:8080"])
    origin = parse("http://localhost:8080/").origin
    policy.check_origin(origin)
    found = [v6("::1", 8080), v4("127.0.0.1", 8080)]
    assert policy.permitted(origin.host, origin.port, found) == [found[1]]


def test_localhost_is_refused_by_name_where_loopback_is_denied() -> None:
    with pytest.raises(AddressBlocked, match="name of loopback"):
        AddressPolicy(deny=["127.0.0.0/8", "::1"]).check_host("a.localhost", 80)
    AddressPolicy(deny=["127.0.0.0/8"]).check_host("localhost", 80)


@pytest.mark.parametrize(
    ("denied", "address"),
    [
        ("127.0.0.0/8", "0.0.0.0"),
        ("127.0.0.1:80", "0.0.0.0"),
        ("127.0.0.1", "::ffff:0.0.0.0"),
        ("127.0.0.1", "64:ff9b::"),
        ("127.0.0.1", "::"),
        ("::1", "::"),
    ],
)
def test_the_unspecified_addresses_lead_to_loopback_and_are_denied_with_it(denied: str, address: str) -> None:
    """Systems connect to loopback where 0.0.0.0 is dialled."""
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    for policy in (AddressPolicy(deny=[denied]), AddressPolicy.public_only(allow=["*:80"], deny=[denied])):
        assert not allows(policy, url)
        assert not allows(policy, "http://x.example/", address)
    assert allows(AddressPolicy(deny=["127.0.0.2", "fe80::/10"]), url)
    assert not allows(AddressPolicy.public_only(allow=[denied]), url), "allowing goes by the address itself"


def test_the_other_spellings_of_it_are_denied_too() -> None:
    policy = AddressPolicy(deny=["127.0.0.0/8", "::1"])
    for host in ("0", "0x0", "0.0", "00000000000", "[::]", "[0:0::0]", "[::0.0.0.0]", "[::ffff:0:0]"):
        assert not allows(policy, f"http://{host}/"), host


# --- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("10.1.2.3", "http://10.1.2.3/", ""),
        ("10.1.2.3", "http://10.1.2.3:81/", ""),
        ("10.1.2.3", "http://0xa.66051/", ""),
        ("10.1.2.3", "http://[::ffff:a01:203]/", ""),
        ("10.1.2.3", "http://x.example/", "::ffff:10.1.2.3"),
        ("10.1.2.3/32", "http://10.1.2.3/", ""),
        ("::ffff:10.1.2.3", "http://10.1.2.3/", ""),
        ("::ffff:10.0.0.0/104", "http://10.1.2.3/", ""),
        ("[::ffff:10.0.0.0/104]:81", "http://10.1.2.3:81/", ""),
        ("0.0.0.0/0", "http://10.1.2.3/", ""),
        ("10.0.0.0/8:443", "https://10.1.2.3/", ""),
        ("10.0.0.0/8:8000-8099", "http://10.1.2.3:8000/", ""),
        ("10.0.0.0/8:8000-8099", "http://10.1.2.3:8099/", ""),
        ("fd00::/8", "http://[fd12::1]/", ""),
        ("FD00:0::/8", "http://[fd12::1]/", ""),
        ("[fd00::/8]", "http://[fd12::1]/", ""),
        ("[fd00::/8]:443", "https://[fd12::1]/", ""),
        ("::1", "http://[::1]/", ""),
        ("[::1]", "http://[::1]/", ""),
        ("[::1]:8080", "http://[::1]:8080/", ""),
        ("fe80::/10", "http://x.example/", "fe80::1"),
        ("fe80::/10", "http://x.example/", "fe80::1%eth0"),
        ("64:ff9b:1::/48", "http://x.example/", "64:ff9b:1::a00:1"),
        ("[::1:8080]", "http://[::0.1.128.128]/", ""),
        ("::10.1.2.3", "http://[::a01:203]/", ""),
        ("::/96", "http://[::a01:203]/", ""),
        ("intranet.example", "http://intranet.example/", "10.0.0.1"),
        ("Intranet.EXAMPLE.", "http://intranet.example/", "10.0.0.1"),
        ("intranet.example", "http://INTRANET.example./", "10.0.0.1"),
        ("intranet.example", "http://ｉntranet。example/", "10.0.0.1"),
        ("intranet.example:8080", "http://intranet.example:8080/", "10.0.0.1"),
        ("intranet", "http://intranet/", "10.0.0.1"),
        ("bücher.example", "http://xn--bcher-kva.example/", "10.0.0.1"),
        ("xn--bcher-kva.example", "http://Bücher.example/", "10.0.0.1"),
        ("*.bücher.example", "http://a.BÜCHER.example/", "10.0.0.1"),
        ("a_b.example", "http://a_b.example/", "10.0.0.1"),
        ("*.example", "http://a.example/", "10.0.0.1"),
        ("*.example", "http://a.b.c.example./", "10.0.0.1"),
        (".example", "http://a.example/", "10.0.0.1"),
        (".example:81-82", "http://a.b.example:82/", "10.0.0.1"),
        ("*:8080", "http://127.0.0.1:8080/", ""),
        (":8080", "http://x.example:8080/", "127.0.0.1"),
        (":8080-8081", "http://[::1]:8081/", ""),
        ("*", "http://127.0.0.1/", ""),
        ("*", "http://localhost/", "127.0.0.1"),
    ],
)
def test_what_meets_an_entry(entry: str, url: str, address: str) -> None:
    addresses = [address] if address else []
    assert not allows(AddressPolicy.public_only(), url, *addresses)
    assert allows(AddressPolicy.public_only(allow=[entry]), url, *addresses)
    assert allows(AddressPolicy(allow=[entry]), url, *addresses)
    assert not allows(AddressPolicy(deny=[entry]), url, *addresses)
    assert not allows(AddressPolicy(allow=["*"], deny=[entry]), url, *addresses)


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("10.1.2.3", "http://10.1.2.4/", ""),
        ("10.1.2.3:81", "http://10.1.2.3/", ""),
        ("10.0.0.0/9", "http://10.128.0.0/", ""),
        ("10.0.0.0/8:8000-8099", "http://10.1.2.3:7999/", ""),
        ("10.0.0.0/8:8000-8099", "http://10.1.2.3:8100/", ""),
        ("::/0", "http://10.1.2.3/", ""),
        ("::/0", "http://[::ffff:10.1.2.3]/", ""),
        ("[::1]:8080", "http://[::1]/", ""),
        ("fd00::/8", "http://[fc00::1]/", ""),
        ("example", "http://a.example/", "10.0.0.1"),
        ("*.example", "http://example/", "10.0.0.1"),
        (".example", "http://example./", "10.0.0.1"),
        ("*.example", "http://aexample/", "10.0.0.1"),
        ("*.a.example", "http://b.example/", "10.0.0.1"),
        ("intranet.example", "http://intranet.example.org/", "10.0.0.1"),
        ("intranet.example", "http://a.intranet.example/", "10.0.0.1"),
        ("intranet.example:8080", "http://intranet.example/", "10.0.0.1"),
        ("intranet.example", "http://10.0.0.1/", ""),
        ("localhost", "http://127.0.0.1/", ""),
        ("unix:*", "http://127.0.0.1/", ""),
    ],
)
def test_what_does_not(entry: str, url: str, address: str) -> None:
    addresses = [address] if address else []
    assert not allows(AddressPolicy.public_only(allow=[entry]), url, *addresses)
    assert not allows(AddressPolicy(allow=[entry]), url, *addresses)
    assert allows(AddressPolicy(deny=[entry]), url, *addresses)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::808:808",
        "::ffff:0:808:808",
        "2002:808:808::1",
        "2001:0:808:808::1",
        "2001:0:101:101::f7f7:f7f7",
        "2606:4700::5efe:808:808",
        "2606:4700::200:5efe:808:808",
    ],
)
def test_a_denied_ipv4_address_is_denied_in_every_form(address: str) -> None:
    assert not allows(AddressPolicy(deny=["8.8.8.0/24"]), "http://x.example/", address)
    assert not allows(AddressPolicy(allow=["x.example"], deny=["8.8.8.0/24"]), "http://x.example/", address)
    assert allows(AddressPolicy(deny=["8.8.4.0/24"]), "http://x.example/", address)


@pytest.mark.parametrize("address", ["64:ff9b::a00:1", "2002:a00:1::1", "::a00:1", "2606:4700::5efe:a00:1"])
def test_an_allowed_ipv4_address_is_not_allowed_in_other_forms(address: str) -> None:
    assert not allows(AddressPolicy.public_only(allow=["10.0.0.0/8"]), "http://x.example/", address)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        ":",
        " ",
        "10.0.0.1 ",
        " 10.0.0.1",
        "10.0.0.1, 10.0.0.2",
        "10.0.0.256",
        "10.0.0",
        "10.1",
        "10",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "１０.0.0.1",
        "2130706433",
        "1.2.3.4.5",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/٨",
        "10/8",
        "10.0.0.*",
        "10.*",
        "10.0.0.1-10.0.0.9",
        "10.0.0.1:",
        "10.0.0.1:x",
        "10.0.0.1:65536",
        "10.0.0.1:-1",
        "10.0.0.1:+80",
        "10.0.0.1:80-",
        "10.0.0.1:90-80",
        "10.0.0.1:80-81-82",
        "10.0.0.1:８０",
        "10.0.0.1:80/8",
        "10.0.0.1:00000080",
        "::1/129",
        "::1/64",
        "::g",
        ":::1",
        "1:2:3",
        "fe80::1%eth0",
        "[fe80::1%eth0]",
        "[::1",
        "::1]",
        "[]",
        "[::1]8080",
        "[::1]:",
        "[::1]/128",
        "[127.0.0.1]",
        "[intranet.example]:80",
        "::ffff:0:0/95",
        "::ffff:10.0.0.1/104",
        "http://10.0.0.1",
        "https://intranet.example/",
        "intranet.example/",
        "intranet.example:http",
        "user@intranet.example",
        "intra net",
        "intranet..example",
        "intranet.example..",
        "0..",  # to a URL a name, and without its dots an address
        "*.1..",
        "..example",
        "*.",
        ".",
        "**.example",
        "*example",
        "a.*.example",
        "a*.example",
        "*.10.0.0.1",
        "*.*.example",
        "exa%6dple",
        "example#",
        "example?",
        "xn--a.example",
        "unix:",
        "unix:80",
        "unix:run/app.sock",
        "unix:@",
        "unix:/",
        "unix:/a\0b",
        "unix:/run/*/app.sock",
        "unix:@*bus",
        "unix:/run/**",
        "::1:8080",  # which would be ::0.1.128.128
        "::8080",
        "0::7f00:1",
        "a\0b",
        "a\nb",
    ],
)
@pytest.mark.parametrize("argument", ["allow", "deny"])
def test_an_entry_that_cannot_be_is_named(argument: str, entry: str) -> None:
    entries: Any = {argument: ["10.0.0.0/8", entry]}
    with pytest.raises(ValueError, match="allow or deny") as caught:
        AddressPolicy(**entries)
    assert repr(entry) in str(caught.value)
    assert not isinstance(caught.value, InvalidURL)


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("fd12::1/8", "fd00::/8"),
        ("127.1", "127.0.0.1"),
        ("10.0.0.1:99999", "65535"),
        ("http://10.0.0.1", "host"),
        ("::1:8080", "[::1]:8080"),
    ],
)
def test_the_error_says_what_to_write_instead(entry: str, advice: str) -> None:
    with pytest.raises(ValueError, match="cannot be an entry") as caught:
        AddressPolicy(allow=[entry])
    assert advice in str(caught.value).replace(entry, "")


@pytest.mark.parametrize("wrong", ["10.0.0.0/8", b"10.0.0.0/8", [b"10.0.0.0/8"], [10], [None], 5])
@pytest.mark.parametrize("argument", ["allow", "deny", "schemes"])
def test_entries_of_a_wrong_type(argument: str, wrong: Any) -> None:
    with pytest.raises(TypeError):
        AddressPolicy(**{argument: wrong})


@given(st.text())
def test_any_text_is_an_entry_or_a_value_error(text: str) -> None:
    try:
        policy = AddressPolicy(allow=[text])
    except ValueError as error:
        named = repr(text) in str(error)
    else:
        named = AddressPolicy(allow=policy.allow) == policy  # the canonical form means the same
    assert named


@given(st.text(st.sampled_from("0123456789abcdefx.:/[]*-%@ ")))
@example("0..")
def test_any_text_of_the_characters_of_addresses_likewise(text: str) -> None:
    test_any_text_is_an_entry_or_a_value_error.hypothesis.inner_test(text)


# --- schemes ----------------------------------------------------------------------------------------------------------


def test_schemes() -> None:
    policy = AddressPolicy(schemes=["HTTPS"])
    policy.check_origin(parse("https://example.org/").origin)
    with pytest.raises(AddressBlocked, match=r"http://example\.org:80 is forbidden: only https URLs are permitted"):
        policy.check_origin(parse("http://example.org/").origin)
    policy.check_host("proxy.example", 3128)  # has none


def test_a_scheme_by_itself() -> None:
    policy = AddressPolicy.public_only(schemes=["http"])
    policy.check_scheme(parse("http://localhost/").origin)
    with pytest.raises(AddressBlocked, match="only http URLs"):
        policy.check_scheme(parse("https://localhost/").origin)


def test_a_scheme_that_this_library_does_not_know() -> None:
    with pytest.raises(AddressBlocked, match="only http and https"):
        AddressPolicy().check_origin(Origin("gopher", "example.org", 70))
    AddressPolicy(schemes=["gopher"]).check_origin(Origin("gopher", "example.org", 70))
    with pytest.raises(AddressBlocked, match="no scheme"):
        AddressPolicy(schemes=[]).check_origin(parse("http://example.org/").origin)


@pytest.mark.parametrize("scheme", ["", "http:", "http://", "1http", "ht tp", "hττp"])
def test_schemes_that_cannot_be(scheme: str) -> None:
    with pytest.raises(ValueError, match="scheme"):
        AddressPolicy(schemes=[scheme])


# --- what is left of a name's addresses -------------------------------------------------------------------------------


def test_of_mixed_answers_only_the_permitted_are_left_in_their_order() -> None:
    found = [
        v4("10.0.0.1"),
        v6("2606:4700::1111"),
        v4("127.0.0.1"),
        v4("8.8.8.8"),
        v6("::ffff:169.254.169.254"),
        v6("::1"),
        v6("64:ff9b::a00:1"),
        v4("1.1.1.1"),
    ]
    left = AddressPolicy.public_only().permitted("example.org", 80, found)
    assert left == [found[1], found[3], found[7]]
    assert all(one is other for one, other in zip(left, (found[1], found[3], found[7]), strict=True))


def test_the_error_tells_all_that_was_refused_but_no_endless_list() -> None:
    with pytest.raises(AddressBlocked) as caught:
        AddressPolicy.public_only().permitted("a.example", 8080, [v4("10.0.0.1", 8080), v6("::1", 8080)])
    assert str(caught.value) == (
        "a.example:8080 is forbidden: 10.0.0.1 is not public (private, RFC 1918: 10.0.0.0/8); "
        "::1 is not public (loopback, RFC 4291: ::1/128)"
    )
    assert isinstance(caught.value, ConnectError)
    with pytest.raises(AddressBlocked) as caught:
        AddressPolicy.public_only().permitted("a.example", 80, [v4(f"10.0.0.{n}") for n in range(100)])
    assert len(str(caught.value)) < 400
    assert "96 more" in str(caught.value)


def test_no_address_at_all_is_none_permitted() -> None:
    with pytest.raises(AddressBlocked):
        AddressPolicy().permitted("example.org", 80, [])


def test_it_needs_no_check_of_the_name_before_it() -> None:
    policy = AddressPolicy.public_only(deny=["evil.example"])
    for host in ("evil.example", "EVIL.example.", "127.0.0.1", "0x7f.1", "localhost"):
        with pytest.raises(AddressBlocked):
            policy.permitted(host, 80, [v4("8.8.8.8")])  # what a `resolve=` override or a hosts file may say


def test_an_override_of_a_literal_is_judged_too() -> None:
    with pytest.raises(AddressBlocked, match=r"10\.0\.0\.1"):
        AddressPolicy.public_only().permitted("8.8.8.8", 80, [v4("10.0.0.1")])


def test_the_port_that_counts_is_the_one_that_is_dialled() -> None:
    policy = AddressPolicy.public_only(
        allow=["127.0.0.1:8080", "intranet.example:8080"], deny=["*:22", "evil.example:81"]
    )
    assert policy.permitted("x.example", 80, [v4("127.0.0.1", 8080)])
    assert policy.permitted("intranet.example", 80, [v4("10.0.0.1", 8080)])
    for host, address in [
        ("x.example", v4("127.0.0.1", 80)),
        ("intranet.example", v4("10.0.0.1", 80)),
        ("x.example", v4("8.8.8.8", 22)),
        ("evil.example", v4("8.8.8.8", 81)),
    ]:
        with pytest.raises(AddressBlocked):
            policy.permitted(host, 8080, [address])


@pytest.mark.parametrize(
    "address",
    [
        v6("fe80::1%eth0"),
        v6("fe80::1", scope=2),
        v6("2606:4700::1111%eth0"),
        v6("2606:4700::1111", scope=2),
        v6("::1%lo", scope=1),
    ],
)
def test_a_zone_is_never_public(address: Address) -> None:
    with pytest.raises(AddressBlocked):
        AddressPolicy.public_only().permitted("x.example", 80, [address])
    AddressPolicy().permitted("x.example", 80, [address])
    allowing = AddressPolicy.public_only(allow=["fe80::/10", "2606:4700::/32", "::1"])
    allowing.permitted("x.example", 80, [address])
    allowing.permitted(address[1][0], 80, [address])


@pytest.mark.parametrize(
    "address",
    [
        v4("localhost"),
        v4("127.1"),
        v4("0x8.8.8.8"),
        v4("134744072"),
        v4(""),
        v4("8.8.8.8\n"),
        v4("8.8.8.8 "),
        v4("8.8.8.8%eth0x\0"),
        v4("::1"),
        v6("8.8.8.8"),
        v6("[2606:4700::1111]"),
        v6("example.org"),
        (socket.AF_INET, ("8.8.8.8", "80")),
        (socket.AF_INET, (b"8.8.8.8", 80)),
        (socket.AF_INET, (0x08080808, 80)),
        (-1, ("8.8.8.8", 80)),
        (99, ("8.8.8.8", 80)),
    ],
)
def test_what_a_resolver_must_not_answer_is_never_dialled(address: Address) -> None:
    for policy in (AddressPolicy(), AddressPolicy.public_only(), AddressPolicy(allow=["*"])):
        with pytest.raises(AddressBlocked):
            policy.permitted("x.example", 80, [address])


def test_a_unix_socket_as_a_resolvers_answer_is_judged_as_one() -> None:
    address = (socket.AF_UNIX, "/run/app.sock")
    assert AddressPolicy().permitted("x.example", 80, [address]) == [address]
    assert AddressPolicy.public_only(allow=["unix:/run/app.sock"]).permitted("x.example", 80, [address]) == [address]
    for policy in (AddressPolicy.public_only(), AddressPolicy.public_only(allow=["x.example"])):
        with pytest.raises(AddressBlocked, match=r"/run/app\.sock"):
            policy.permitted("x.example", 80, [address])
    with pytest.raises(AddressBlocked):
        AddressPolicy().permitted("x.example", 80, [(socket.AF_UNIX, b"/run/app.sock")])


# --- Unix sockets -----------------------------------------------------------------------------------------------------


def test_a_unix_socket_is_not_public() -> None:
    with pytest.raises(AddressBlocked, match=r"'/run/app\.sock' is forbidden: it is local"):
        AddressPolicy.public_only().check_unix("/run/app.sock")
    with pytest.raises(AddressBlocked):
        AddressPolicy.public_only(allow=["*", "0.0.0.0/0", "::/0"]).check_unix("/run/app.sock")


def test_unix_sockets_that_are_allowed() -> None:
    policy = AddressPolicy.public_only(allow=["unix:/run/app.sock", "unix:@bus"])
    policy.check_unix("/run/app.sock")
    policy.check_unix("\0bus")
    for path in ("/run/app.sock.2", "/run/APP.sock", "/run/other/../app.sock", "run/app.sock", "@bus", "\0bu", "bus"):
        with pytest.raises(AddressBlocked):
            policy.check_unix(path)
    AddressPolicy.public_only(allow=["unix:*"]).check_unix("/any")
    AddressPolicy.public_only(allow=["unix:*"]).check_unix("\0any")


def test_unix_sockets_by_how_their_path_begins() -> None:
    policy = AddressPolicy.public_only(allow=["unix:/run/app/*", "unix:@bus-*"])
    assert policy == eval(repr(policy), {"AddressPolicy": AddressPolicy})
    for path in ("/run/app/a.sock", "/run/app/deep/b.sock", "/run/app/..hidden", "\0bus-1"):
        policy.check_unix(path)
    for path in (
        "/run/app",
        "/run/app.sock",
        "/run/app/../other.sock",
        "run/app/a.sock",
        "\0bus",
        "\0/run/app/a",
        "@bus-1",
    ):
        with pytest.raises(AddressBlocked):
            policy.check_unix(path)


def test_unix_sockets_are_denied_by_how_their_path_begins_with_links_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    policy = AddressPolicy(allow=["unix:*"], deny=[f"unix:{tmp_path}/link/app*", "unix:@bus-*"])
    for path in ("real/app.sock", "link/app.sock", "real/../link/apps/a", "link/app"):
        with pytest.raises(AddressBlocked, match=r"denied by 'unix:.*app\*'"):
            policy.check_unix(f"{tmp_path}/{path}")
    with pytest.raises(AddressBlocked):
        policy.check_unix("\0bus-1")
    for path in (f"{tmp_path}/real/other.sock", f"{tmp_path}/app.sock", "\0bus"):
        policy.check_unix(path)


def test_unix_sockets_where_a_list_says_all_that_is_permitted() -> None:
    with pytest.raises(AddressBlocked, match="not in the list"):
        AddressPolicy(allow=["10.0.0.0/8"]).check_unix("/run/app.sock")
    with pytest.raises(AddressBlocked):
        AddressPolicy(allow=["unix:/run/app.sock"]).check_origin(parse("http://example.org/").origin)


@pytest.mark.parametrize(
    "policy",
    [
        AddressPolicy(),
        AddressPolicy(schemes=["https"]),
        AddressPolicy(schemes=[]),
        AddressPolicy(deny=["10.0.0.0/8"]),
        AddressPolicy(schemes=["http+unix"], deny=["*"]),
        AddressPolicy(schemes=["http+unix"], deny=["*:0-65535"]),
        AddressPolicy(schemes=["http+unix"], allow=["*"]),
        AddressPolicy.public_only(schemes=["http+unix"]),
        AddressPolicy(allow=["unix:/run/app.sock"], deny=["unix:/run/*"]),
        AddressPolicy(allow=["unix:/run/other.sock"]),
    ],
)
def test_a_socket_in_a_url_needs_its_scheme_or_its_path_allowed(policy: AddressPolicy) -> None:
    with pytest.raises(AddressBlocked, match=r"the Unix socket '/run/app\.sock' is forbidden: "):
        policy.check_origin(parse("http+unix://%2Frun%2Fapp.sock/").origin)


@pytest.mark.parametrize(
    "policy",
    [
        AddressPolicy(schemes=["http+unix"]),
        AddressPolicy(schemes=["http+unix"], deny=["*:80", "0.0.0.0/0", "::/0"]),
        AddressPolicy(allow=["unix:/run/*"]),
        AddressPolicy.public_only(allow=["unix:/run/app.sock"], schemes=[]),
    ],
)
def test_a_socket_in_a_url_that_is_permitted(policy: AddressPolicy) -> None:
    policy.check_origin(parse("http+unix://%2Frun%2Fapp.sock/").origin)


def test_everything_denied_is_sockets_too() -> None:
    with pytest.raises(AddressBlocked, match=r"it is denied by '\*'"):
        AddressPolicy(deny=["*"]).check_unix("/run/app.sock")
    AddressPolicy(deny=["*:80"]).check_unix("/run/app.sock")


def test_a_denied_socket_is_denied_by_every_path_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "app.sock").touch()
    (tmp_path / "link").symlink_to("real")
    policy = AddressPolicy(allow=["unix:*"], deny=[f"unix:{tmp_path}/real/app.sock", "unix:@bus"])
    for path in ("real/app.sock", "link/app.sock", "real//app.sock", "real/../link/./app.sock"):
        with pytest.raises(AddressBlocked, match="denied by 'unix:"):
            policy.check_unix(f"{tmp_path}/{path}")
    with pytest.raises(AddressBlocked, match="denied by 'unix:@bus'"):
        policy.check_unix("\0bus")
    policy.check_unix(f"{tmp_path}/real/other.sock")
    policy.check_unix("\0other")


# --- a value ----------------------------------------------------------------------------------------------------------


def test_policies_that_say_the_same_are_equal() -> None:
    one = AddressPolicy.public_only(allow=["10.0.0.0/8", "Intranet.Example.", ".a.example", ":80"], schemes=["HTTP"])
    other = AddressPolicy.public_only(
        allow=("*:80", "*.a.example", "intranet.example", "10.0.0.0/8", "10.0.0.0/8"), schemes={"http"}
    )
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
    assert one != AddressPolicy(allow=one.allow, schemes=["http"])
    assert one != AddressPolicy.public_only(allow=one.allow)
    assert one != AddressPolicy.public_only(deny=one.allow, schemes=["http"])
    assert one != "public"


def test_it_cannot_be_changed() -> None:
    policy = AddressPolicy.public_only()
    for name in ("public", "schemes", "_allow", "other"):
        with pytest.raises(AttributeError):
            setattr(policy, name, False)
    with pytest.raises(AttributeError):
        del policy.public


def test_its_representation_makes_it_again() -> None:
    for policy in (
        AddressPolicy(),
        AddressPolicy.public_only(),
        AddressPolicy.public_only(
            allow=["[::1]:8080", "[fd00::/8]:1-2", "fc00::/7", "10.0.0.0/8:443", "*.example", "a.example:80", "*:8080"],
            deny=["unix:@bus", "unix:/run/x", "unix:*", "*", "::ffff:10.0.0.0/104"],
            schemes=["https"],
        ),
    ):
        assert eval(repr(policy)) == policy
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert copy.deepcopy(policy) == policy
    assert repr(AddressPolicy.public_only(allow=["10.0.0.0/8"])) == "AddressPolicy.public_only(allow=['10.0.0.0/8'])"


def test_its_entries_can_be_read() -> None:
    policy = AddressPolicy(allow=iter(["Example.ORG:80", "10.0.0.1"]), deny=[".b"])
    assert policy.allow == ("10.0.0.1", "example.org:80")
    assert policy.deny == ("*.b",)
    assert policy.schemes == ("http", "https")
    assert policy.public is False


def test_thousands_of_entries_are_told_apart() -> None:
    blocked = [f"{n >> 8}.{n & 255}.7.0/24" for n in range(256, 50_000)] + [f"host{n}.example" for n in range(20_000)]
    policy = AddressPolicy(deny=blocked)
    assert not allows(policy, "http://x.example/", "93.184.7.9")
    assert allows(policy, "http://x.example/", "93.184.8.9")
    assert not allows(policy, "http://host19999.example/", "8.8.8.8")
    assert allows(policy, "http://host20000.example/", "8.8.8.8")
