"""Keep-alive connections per route, under limits: `ConnectionPool`, and the rooms it is made of.

`ledger.py` is where it is decided who owns which connection, and who is next.
"""

from .pool import ConnectionPool
from .pooled_connection import PooledConnection
from .stats import HostStats, PoolStats

__all__ = ["ConnectionPool", "HostStats", "PoolStats", "PooledConnection"]
