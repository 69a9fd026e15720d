"""Keep-alive connections per route, under limits: `ConnectionPool`, and the rooms it is made of.

`ledger.py` is where it is decided who owns which connection, and who is next.
"""

from .pool import ConnectionPool

__all__ = ["ConnectionPool"]
