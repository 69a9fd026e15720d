"""Whose turn it is: addresses in rotation, those that failed behind the others."""

from __future__ import annotations

import random
import socket

import pytest

from aiohttpconn.net.address_book import AVOIDED, AVOIDED_MOST, AddressBook
from aiohttpconn.net.tcp import Address

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def named(text: str) -> list[Address]:
    """Small letters are IPv4, capitals IPv6."""
    return [((V6 if letter.isupper() else V4), (letter, 80)) for letter in text]


def ask(book: AddressBook, text: str, now: float = 0.0, host: str = "a.example", port: int = 80) -> str:
    return "".join(where[0] for _, where in book.order(host, port, named(text), now))


def fail(book: AddressBook, text: str, now: float) -> None:
    for address in named(text):
        book.failed(address, now)


@pytest.mark.parametrize(
    ("given", "turns"),
    [
        ("", ["", ""]),
        ("a", ["a", "a"]),
        ("ab", ["ab", "ba", "ab"]),
        ("abc", ["abc", "bca", "cab", "abc"]),
        ("Aa", ["Aa", "Aa"]),
        ("ABab", ["AaBb", "BbAa", "AaBb"]),
        ("aABC", ["aABC", "aBCA", "aCAB", "aABC"]),
        ("abA", ["aAb", "bAa"]),
    ],
)
def test_each_connection_begins_with_the_next_address_of_the_first_family(given: str, turns: list[str]) -> None:
    book = AddressBook()
    assert [ask(book, given) for _ in turns] == turns


def test_names_and_ports_have_turns_of_their_own() -> None:
    book = AddressBook()
    assert ask(book, "ab") == "ab"
    assert ask(book, "ab", host="b.example") == "ab"
    assert ask(book, "ab", port=443) == "ab"
    assert ask(book, "ab") == "ba"


def test_failed_address_goes_last_for_a_while() -> None:
    book = AddressBook()
    fail(book, "a", 100)
    assert [ask(book, "abc", 100 + AVOIDED - 0.1) for _ in range(3)] == ["bca", "cba", "bca"]
    assert ask(book, "abc", 100 + AVOIDED) == "abc"


def test_others_take_turns_as_if_the_avoided_one_were_not_there() -> None:
    book = AddressBook()
    fail(book, "a", 0)
    assert "".join(ask(book, "abc", 1)[0] for _ in range(6)) == "bcbcbc"


def test_order_that_was_given_is_kept_but_for_those_that_failed() -> None:
    book = AddressBook()
    for _ in range(2):
        assert book.order("a.example", 80, named("abAc"), 0, in_order=True) == named("abAc")
    fail(book, "b", 0)
    assert book.order("a.example", 80, named("abAc"), 1, in_order=True) == named("aAcb")


def test_avoided_ones_keep_their_order_and_all_are_still_there() -> None:
    book = AddressBook()
    fail(book, "AB", 0)
    assert ask(book, "ABab", 1) == "abAB"
    fail(book, "ab", 1)
    assert sorted(ask(book, "ABab", 2)) == sorted("ABab")
    assert book.avoids(named("A")[0], 1)
    assert not book.avoids(named("c")[0], 1)


def test_failing_again_is_avoided_for_twice_as_long_up_to_a_bound() -> None:
    book = AddressBook()
    now = 0.0
    address = named("a")[0]
    for expected in (30, 60, 120, 240, 300, 300):
        book.failed(address, now)
        assert book.avoids(address, now + expected - 1)
        assert not book.avoids(address, now + expected)
        now += expected
    now += AVOIDED_MOST + 1
    book.failed(address, now)
    assert not book.avoids(address, now + AVOIDED), "long ago is forgotten"


def test_many_failures_at_once_are_one() -> None:
    book = AddressBook()
    for _ in range(100):
        fail(book, "a", 0)
    fail(book, "a", AVOIDED - 1)
    assert not book.avoids(named("a")[0], AVOIDED)


def test_address_that_worked_is_as_good_as_new() -> None:
    book = AddressBook()
    for now in (0, 30):
        fail(book, "a", now)
    book.worked(named("a")[0])
    assert ask(book, "ab", 31) == "ab"
    fail(book, "a", 31)
    assert not book.avoids(named("a")[0], 31 + AVOIDED)


def test_memory_is_bounded() -> None:
    book = AddressBook(limit=3)
    for number in range(10):
        ask(book, "ab", host=f"{number}.example")
        book.failed((V4, (f"127.0.0.{number}", 80)), 0)
    assert repr(book) == "<AddressBook 3 names, 3 addresses that failed>"
    assert book.avoids((V4, ("127.0.0.9", 80)), 1)
    assert not book.avoids((V4, ("127.0.0.6", 80)), 1)
    book.clear()
    assert repr(book) == "<AddressBook 0 names, 0 addresses that failed>"


def test_nothing_is_lost_and_no_avoided_one_goes_before_another() -> None:
    chance = random.Random(4)
    book = AddressBook(limit=20)
    for step in range(2000):
        given = "".join(chance.sample("abcdeABCDE", chance.randrange(1, 8)))
        order = ask(book, given, step, host=chance.choice("xyz"))
        assert sorted(order) == sorted(given)
        avoided = [book.avoids(address, step) for address in named(order)]
        assert avoided == sorted(avoided)
        fail(book, chance.choice("abcdeABCDE"), step)
        if chance.random() < 0.5:
            book.worked(named(chance.choice("abcdeABCDE"))[0])
