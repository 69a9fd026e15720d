"""HAR 1.2 (HTTP Archive): exchanges as JSON that browsers' developer tools read, and `HarRecorder`, which writes it.

The format: http://www.softwareishard.com/blog/har-12-spec/
"""

from __future__ import annotations

from .archive import document_of, load, save
from .entries import Entry, Exchange, entry_of, exchange_of
from .recorder import HarRecorder

__all__ = ["Entry", "Exchange", "HarRecorder", "document_of", "entry_of", "exchange_of", "load", "save"]
