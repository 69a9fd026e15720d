"""When a request is sent again."""

from __future__ import annotations


class RetryRecord:
    """What is remembered of each origin."""
