"""Sessions that a further connection to the same place can resume (RFC 5077, RFC 8446 section 2.2)."""

from __future__ import annotations

import ssl
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

MOST_SESSIONS = 128
"""Places that a session is kept of: with what OpenSSL keeps beside it, one takes 20 to 40 KiB."""
_FRESH = 0.1
"""The part of a session's life in which it is used without looking for a newer one."""
_MOST_SKIPPED = 64
"""Connections in a row that are opened without a session to a place that takes none back."""


class _Kept:
    """What is kept of one place."""

    __slots__ = ("accepted", "offered", "refusals", "session", "single_use", "skip", "source")

    def __init__(self) -> None:
        self.session: ssl.SSLSession | None = None
        self.source: ssl.SSLObject | None = None
        """The connection that has a newer one."""
        self.offered: ssl.SSLSession | None = None
        """The one that was offered last."""
        self.accepted = 0
        """How often the server took that one."""
        self.single_use = False
        """Whether the server took one only once: then the newest is always asked for, and offered once."""
        self.refusals = 0
        """How many times in a row there was none, or the server did not take one that was new."""
        self.skip = 0
        """For how many connections more nothing is tried."""

    def refused(self) -> None:
        self.session = self.source = self.offered = None
        self.skip = min(1 << self.refusals, _MOST_SKIPPED)
        self.refusals += 1


class TLSSessions:
    """The sessions of several connections. One that is resumed is opened without certificates and signatures.

    A session is offered only to the place that it came from: same host, port, proxy and name, same context, verifying
    as strictly. What was not verified when a session began is not verified when it is resumed, so nothing of this may
    differ.

    Python hands out a session by encoding and decoding it, which takes 0.2 ms, as much again as it saves: so one is
    taken only when there is a connection to be opened with it, and used for several, until a tenth of its life is over,
    or the server declines it. (RFC 8446 appendix C.4 advises against that for what an observer could link by it: these
    connections go between the same two hosts.)

    Some servers hand out tickets that they do not take back, or none. To offer one in vain costs 0.4 ms more, most of a
    full handshake, so fewer and fewer connections try, down to one in 64, until the server takes one.
    """

    __slots__ = ("_kept", "most")

    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def at(self, place: Hashable, context: ssl.SSLContext) -> Resumption | None:
        """What a connection to `place` needs; None for contexts that verify by themselves, after the handshake."""
        if type(context).__module__ != "ssl":
            return None
        raw: Any = super(ssl.SSLContext, context)  # SSLContext makes enums of these: 5 µs
        return Resumption(
            self, (place, context, raw.verify_mode, context.check_hostname, raw.verify_flags, raw.options)
        )

    def find(self, key: Hashable) -> ssl.SSLSession | None:
        """The session to offer."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        if kept.skip:
            kept.skip -= 1
            return None
        if (source := kept.source) is not None:
            kept.source = None
            session = source.session
            if session is None or not (session.has_ticket or session.id):
                kept.refused()  # without either of them there is nothing to resume it by
                return None
            kept.session = session
        session = kept.session
        if session is None:
            return None
        if session.time + session.timeout <= time.time():
            del self._kept[key]
            return None
        if kept.single_use:
            kept.session = None
        if session is not kept.offered:
            kept.offered = session
            kept.accepted = 0
        return session

    def offer(self, key: Hashable, connection: ssl.SSLObject, offered: ssl.SSLSession | None) -> None:
        """Something has been read of `connection`, with it the tickets that servers send first. `offered`: what it was
        to resume."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        elif offered is not None and offered is kept.offered:  # else it is news of an older one
            if connection.session_reused:
                kept.accepted += 1
                kept.refusals = 0
            elif kept.accepted:
                # Once only, or the server has forgotten what it took several times: after a restart.
                kept.single_use = kept.single_use or kept.accepted == 1
                kept.session = kept.offered = None
            else:
                kept.refused()
        if kept.skip:
            return
        session = kept.session
        if session is None or kept.single_use or time.time() >= session.time + _FRESH * session.timeout:
            kept.source = connection

    def drop(self, key: Hashable) -> None:
        """A connection that was to resume one did not come to be, or broke: begin anew."""
        self._kept.pop(key, None)


class Resumption:
    """The sessions of the place that one connection leads to."""

    __slots__ = ("_key", "_sessions", "offered")

    def __init__(self, sessions: TLSSessions, key: Hashable) -> None:
        self._sessions = sessions
        self._key = key
        self.offered: ssl.SSLSession | None = None

    def begin(self) -> ssl.SSLSession | None:
        """The session to offer, None for a full handshake."""
        self.offered = self._sessions.find(self._key)
        return self.offered

    def keep(self, connection: ssl.SSLObject) -> None:
        """The connection works, and something has been read of it."""
        self._sessions.offer(self._key, connection, self.offered)
        self.offered = None

    def failed(self) -> None:
        """The handshake failed: if a session was offered, that may be why."""
        if self.offered is not None:
            self.drop()

    def drop(self) -> None:
        """The connection broke, and its session with it."""
        self._sessions.drop(self._key)
