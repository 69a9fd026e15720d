"""Who is told what happens."""

from __future__ import annotations


class Hooks:
    """Who is told what happens."""
