"""Rules for what goes out to other people's servers, and when: given to a client as `politeness`.

    Client(politeness=[RobotsTxt(), HostConcurrency(4), RateLimit(2), AdaptiveThrottle()])

A rule (`Rule`) is state and arithmetic: when may the next request to a host go, and what did the last one come to. It
waits for nothing itself. The waiting is done by `Admission`, one line for each host, whose head goes out as soon as all
rules agree at the same moment. So a cool-down holds back those, too, whose turn it is by the rate, and no turn is spent
on a request that another rule still holds back.
"""

from .rule import Rule
from .transport import PoliteTransport

__all__ = ["PoliteTransport", "Rule"]
