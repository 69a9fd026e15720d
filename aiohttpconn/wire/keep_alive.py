"""What a server says of how long it keeps an idle connection: ``Keep-Alive: timeout=5, max=99``.

The field is RFC 2068's (section 19.7.1.1), and in no RFC after it; Apache, nginx, Node and others send it all the same.
"""

from __future__ import annotations

import math
import re

_TIMEOUT = re.compile(r'timeout\s*=\s*"?([0-9]{1,9})\b', re.IGNORECASE)
_MAX = re.compile(r'max\s*=\s*"?([0-9]{1,9})\b', re.IGNORECASE)


def usable_for(value: str) -> float:
    """For how many idle seconds a connection may be used again, by the value of Keep-Alive; infinite if it says none.

    A tenth less than the server says, at most a second: its clock began to run before ours, and a request takes a while
    to get there. 0 where `max`, the number of requests that are left, is 0.

    >>> usable_for("timeout=5, max=100"), usable_for("timeout=60"), usable_for("timeout=60, max=0")
    (4.5, 59.0, 0.0)
    """
    left = math.inf
    for parameter in map(str.strip, value.split(",")):
        if (match := _TIMEOUT.match(parameter)) is not None:
            seconds = int(match[1])
            left = min(left, max(seconds - 1.0, seconds * 0.9))
        elif (match := _MAX.match(parameter)) is not None and int(match[1]) == 0:
            left = 0.0
    return left
