"""Signing requests."""

from __future__ import annotations

from typing import TypeAlias


class Auth:
    """Signs requests."""


AuthInput: TypeAlias = tuple[str, str] | Auth
