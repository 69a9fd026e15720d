"""A peer that plays on a thread of its own: the test's loop may stand still meanwhile."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], tuple[int, threading.Event]]]:
    """``port, done = peer(play)``: accepts one connection and plays it on a thread, then sets the event."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(play: Callable[[socket.socket], None]) -> tuple[int, threading.Event]:
        done = threading.Event()

        def run() -> None:
            conn, _ = listener.accept()
            with conn:
                play(conn)
            done.set()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return listener.getsockname()[1], done

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    listener.close()


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """An address where connecting neither succeeds nor fails: the kernel drops what comes, as the queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    while True:
        filler = socket.socket()
        filler.settimeout(0.05)
        waiting.append(filler)
        try:
            filler.connect(listener.getsockname())
        except TimeoutError:
            break
        assert len(waiting) < 20, "this kernel's queue does not fill"
    yield listener.getsockname()
    for each in (listener, *waiting):
        each.close()
