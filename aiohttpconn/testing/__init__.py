"""For tests of code that uses the client: transports in place of a network, and a server that misbehaves on demand.

- `MockTransport`: a function answers.
- `ASGITransport`: an application answers.
- `RecordReplay`: a file answers.
- `FaultTransport` with `faults`: what may go wrong does.
- `ScriptedServer` with `script`: a real server on loopback that plays any bytes.

The first four are given to a client: ``Client(transport=…)``. As a plugin of pytest the package brings the fixtures
`aiohttpconn_mock` and `scripted_server` (`aiohttpconn.testing.pytest_plugin`).
"""

from . import faults, script
from .application import ClientDisconnected
from .asgi import ASGITransport
from .ending import Truncated
from .faults import FaultTransport
from .memory import UnexpectedRequest
from .mock import MockRequest, MockResponse, MockTransport
from .replay import RecordReplay
from .routes import MockRoute, MockRoutes
from .scripted import ScriptedServer, SlowResolver

__all__ = [
    "ASGITransport",
    "ClientDisconnected",
    "FaultTransport",
    "MockRequest",
    "MockResponse",
    "MockRoute",
    "MockRoutes",
    "MockTransport",
    "RecordReplay",
    "ScriptedServer",
    "SlowResolver",
    "Truncated",
    "UnexpectedRequest",
    "faults",
    "script",
]
