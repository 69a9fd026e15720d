"""An HTTP cache (RFC 9111) before any transport: given to a client as `cache`. Needs the extra ``cache``.

What may be stored, and when it may be used again, is decided by `hishel`'s state machine, in `rules.py`; here are the
places to store it (memory, SQLite), the way of a request past them (`CachingTransport`), and the flights that have
identical requests at a time asked once.
"""

from .cache import Cache
from .transport import CachingTransport

__all__ = ["Cache", "CachingTransport"]
