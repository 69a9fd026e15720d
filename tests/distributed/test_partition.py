"""Which worker serves which host."""

from __future__ import annotations

import pytest

from aiohttpconn.distributed import partition
from aiohttpconn.distributed.partition import Lane, Partitions, host_of
from aiohttpconn.distributed.result import ClusterResult
from aiohttpconn.url import URL


def put(partitions: Partitions, *keys: str) -> None:
    for key in keys:
        partitions.put(ClusterResult(partitions.size, key), key)


def given(jobs: list[ClusterResult]) -> list[str]:
    return [str(job.given) for job in jobs]


@pytest.fixture
def lanes() -> list[Lane]:
    return [Lane("tcp://one"), Lane("tcp://two"), Lane("tcp://three")]


def test_hosts_go_to_the_worker_with_the_least_to_do_when_all_are_there(lanes: list[Lane]) -> None:
    partitions = Partitions(10, 4)
    partitions.expect(lane.worker for lane in lanes[:2])
    put(partitions, "a", "b", "a", "c", "a")
    partitions.join(lanes[0])
    assert partitions.send(lanes[0], 10) == []
    partitions.join(lanes[1])
    assert given(partitions.send(lanes[0], 10)) == ["a", "a", "a"]
    assert given(partitions.send(lanes[1], 10)) == ["b", "c"]


def test_one_that_joins_gets_what_nobody_has_begun(lanes: list[Lane]) -> None:
    partitions = Partitions(2, 2)
    partitions.join(lanes[0])
    put(partitions, "a", "b", "c", "a", "d")
    assert given(partitions.send(lanes[0], 10)) == ["a", "b", "a"]
    partitions.join(lanes[1])
    assert given(partitions.send(lanes[1], 10)) == ["c", "d"]
    put(partitions, "a")  # stays where it was begun
    assert partitions.send(lanes[1], 10) == []


def test_one_that_is_through_takes_what_waits_and_keeps_its_hosts(lanes: list[Lane]) -> None:
    partitions = Partitions(1, 4)
    partitions.join(lanes[0])
    partitions.join(lanes[1])
    put(partitions, "a", "b", "c")
    assert [given(partitions.send(lane, 1)) for lane in lanes[:2]] == [["a"], ["b"]]
    partitions.brought(lanes[1], 1)
    assert given(partitions.send(lanes[1], 1)) == ["c"]
    partitions.brought(lanes[0], 0)
    put(partitions, "b")
    assert partitions.send(lanes[0], 1) == []
    partitions.brought(lanes[1], 2)
    assert given(partitions.send(lanes[1], 1)) == ["b"]


def test_a_slow_host_does_not_fill_a_worker(lanes: list[Lane]) -> None:
    partitions = Partitions(10, 2)
    partitions.join(lanes[0])
    put(partitions, *"aaaab")
    assert given(partitions.send(lanes[0], 10)) == ["a", "b", "a"]
    partitions.brought(lanes[0], 0)
    assert given(partitions.send(lanes[0], 10)) == ["a"]


def test_a_lost_one_leaves_its_hosts_to_others(lanes: list[Lane]) -> None:
    partitions = Partitions(3, 2)
    partitions.join(lanes[0])
    put(partitions, "a", "b", "a", "a")
    partitions.send(lanes[0], 2)
    lost = partitions.lose(lanes[0])
    assert given(lost) == ["a", "b"]
    assert partitions.size == 2
    partitions.join(lanes[1])
    assert given(partitions.send(lanes[1], 10)) == ["a", "a"]
    put(partitions, "b")
    assert given(partitions.send(lanes[1], 10)) == ["b"]
    assert lanes[1].load == 3


def test_what_is_remembered_is_bounded(lanes: list[Lane], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "REMEMBERED", 2)
    partitions = Partitions(2, 2)
    partitions.join(lanes[0])
    for number, key in enumerate("abcd"):
        partitions.put(ClusterResult(number, key), key)
        partitions.send(lanes[0], 1)
        partitions.brought(lanes[0], number)
    assert list(partitions._served) == ["c", "d"]
    assert not partitions._hosts


def test_partitioned_by_host() -> None:
    assert host_of(URL("https://www.example.org:8443/a")) == host_of(URL("http://example.org/")) == "example.org"
