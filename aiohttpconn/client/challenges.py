"""What a server says of authentication: WWW-Authenticate and Authentication-Info (RFC 9110 section 11.6).

Challenges are separated by commas, and so are the parameters of each; what is no challenge is passed over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SEPARATORS = re.compile(r"[ \t,]*")
_SCHEME = re.compile(_TOKEN)
# RFC 9110 section 11.2: auth-param = token BWS "=" BWS ( token / quoted-string ). Unquoted values are read up to the
# next comma or space: servers leave out quotes about what is no token, such as a base64 nonce.
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9\-._~+/]+=*)[ \t]*(?=,|$)")
_ESCAPED = re.compile(r"\\(.)")
_TO_COMMA = re.compile(r"[^,]*")


class Challenge(NamedTuple):
    """One challenge: scheme and names of parameters in lower case, values unquoted. The first of a name counts."""

    scheme: str
    parameters: dict[str, str]
    token68: str | None = None


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges in all values of a field, in their order."""
    found: list[Challenge] = []
    for value in values:
        at = 0
        current: Challenge | None = None
        while (at := _end(_SEPARATORS.match(value, at))) < len(value):
            if current is not None and (parameter := _PARAMETER.match(value, at)):
                _keep(current.parameters, parameter)
                at = parameter.end()
            elif scheme := _SCHEME.match(value, at):
                at = scheme.end()
                token68 = _TOKEN68.match(value, at)
                current = Challenge(scheme[0].lower(), {}, token68 and token68[1])
                found.append(current)
                at = token68.end() if token68 else at
            else:
                at = max(at + 1, _end(_TO_COMMA.match(value, at)))
    return found


def parse_parameters(value: str) -> dict[str, str]:
    """The parameters of a field that has nothing else (Authentication-Info, RFC 7615)."""
    parameters: dict[str, str] = {}
    at = 0
    while (at := _end(_SEPARATORS.match(value, at))) < len(value):
        if parameter := _PARAMETER.match(value, at):
            _keep(parameters, parameter)
            at = parameter.end()
        else:
            at = max(at + 1, _end(_TO_COMMA.match(value, at)))
    return parameters


def _keep(parameters: dict[str, str], parameter: re.Match[str]) -> None:
    name, quoted, plain = parameter.groups()
    parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))


def _end(match: re.Match[str] | None) -> int:
    assert match is not None  # these patterns match anywhere
    return match.end()
