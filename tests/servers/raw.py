"""The scripted server of `aiohttpconn.testing`, by the names that the tests know it by.

server = await raw_server([Request(), Send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"), Reset()])
"""

from __future__ import annotations

from aiohttpconn.testing import ScriptedServer as RawServer
from aiohttpconn.testing.connection import Received
from aiohttpconn.testing.connection import ScriptedConnection as Connection
from aiohttpconn.testing.script import (
    Close,
    Drip,
    EndSending,
    Hold,
    Pause,
    Reset,
    ResumeReading,
    Script,
    Send,
    Step,
    StopReading,
    Truncate,
    WaitFor,
)
from aiohttpconn.testing.script import ReadBody as Body
from aiohttpconn.testing.script import ReadHead as Head
from aiohttpconn.testing.script import ReadRequest as Request

__all__ = [
    "Body",
    "Close",
    "Connection",
    "Drip",
    "EndSending",
    "Head",
    "Hold",
    "Pause",
    "RawServer",
    "Received",
    "Request",
    "Reset",
    "ResumeReading",
    "Script",
    "Send",
    "Step",
    "StopReading",
    "Truncate",
    "WaitFor",
]
