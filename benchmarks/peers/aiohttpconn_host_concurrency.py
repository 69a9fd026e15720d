"""This library, with a limit of exchanges at a time that never holds back."""

from __future__ import annotations

from types import MappingProxyType

from aiohttpconn import HostConcurrency

from .aiohttpconn import AiohttpconnPeer


class HostConcurrencyPeer(AiohttpconnPeer):
    options = MappingProxyType({"politeness": HostConcurrency(1000)})


PEER = HostConcurrencyPeer
