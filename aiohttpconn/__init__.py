"""aiohttpconn: an asyncio-native HTTP client with connection pooling.

Three levels, each built on the one below: `AsyncHTTPConnection` (`http.client`, awaited), `ConnectionPool` (keep-alive
connections under limits), `Client` (URLs, redirects, cookies, auth, retries, decoded bodies).
"""

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .client.client import Client, StreamedResponse
from .client.cookies import Cookie, CookieJar
from .client.flow import Attempt
from .client.response import Response
from .config import DEFAULT, UNSET, Hedge, Limits, Retry, Timeout
from .connection import AsyncHTTPConnection, AsyncHTTPSConnection
from .errors import (
    AddressBlocked,
    BadHeader,
    BadStatusLine,
    BodyLengthMismatch,
    BodyNotReplayable,
    BodyTooLarge,
    CannotSendHeader,
    CannotSendRequest,
    ChecksumMismatch,
    ConnectError,
    ConnectTimeout,
    DecodingError,
    DownloadError,
    FileChanged,
    HTTPException,
    HTTPStatusError,
    ImproperConnectionState,
    IncompleteRead,
    InvalidHeader,
    InvalidMethod,
    InvalidURL,
    LineTooLong,
    NetworkError,
    NotConnected,
    PoolClosed,
    PoolTimeout,
    ProtocolError,
    ProxyError,
    ReadError,
    ReadTimeout,
    RedirectBlocked,
    RemoteDisconnected,
    RequestTimeout,
    ResolveError,
    ResponseNotReady,
    RobotsDenied,
    StreamClosed,
    StreamConsumed,
    TLSError,
    TooManyFields,
    TooManyRedirects,
    TooSlow,
    TotalTimeout,
    UnknownTransferEncoding,
    UnsupportedScheme,
    WriteError,
    WriteTimeout,
)
from .headers import Headers
from .messages import Opening, Request, ResponseHead
from .net.resolve import Resolver, TimedResolver
from .net.stream import StreamReader, StreamWriter
from .net.tls_options import TLSOptions
from .net.tls_sessions import TLSSessions
from .pool import ConnectionPool
from .response import HTTPResponse
from .transport import Observer, RequestContext, Transport
from .url import URL, Origin

if TYPE_CHECKING:
    from .bulk.frontier import Frontier
    from .bulk.map import MapResults
    from .bulk.result import MapResult
    from .cache.cache import Cache
    from .cache.transport import CachingTransport
    from .client.auth import Auth, BasicAuth, BearerAuth, NetrcAuth
    from .client.digest import DigestAuth
    from .client.hooks import Hooks, resend_count
    from .client.oauth2 import OAuth2ClientCredentials, TokenError
    from .client.oneshot import delete, get, head, options, patch, post, put, request, stream
    from .client.proxies import ProxyPool
    from .download import Download, DownloadResult, Progress, RangeStream
    from .har import HarRecorder
    from .net.dns import AioDNSResolver
    from .net.guard import AddressPolicy
    from .net.lookups import CachingResolver
    from .net.overrides import OverridingResolver
    from .net.tls_info import TLSInfo
    from .politeness.limits import HostConcurrency, RateLimit
    from .politeness.robots import RobotsTxt
    from .politeness.rule import Rule
    from .politeness.throttle import AdaptiveThrottle
    from .politeness.transport import PoliteTransport
    from .pool.stats import HostStats, PoolStats
    from .proxy import Proxy

_LATER = {
    "AdaptiveThrottle": "politeness.throttle",
    "HostConcurrency": "politeness.limits",
    "PoliteTransport": "politeness.transport",
    "RateLimit": "politeness.limits",
    "RobotsTxt": "politeness.robots",
    "Rule": "politeness.rule",
    "AddressPolicy": "net.guard",
    "AioDNSResolver": "net.dns",
    "Cache": "cache.cache",
    "CachingResolver": "net.lookups",
    "CachingTransport": "cache.transport",
    "OverridingResolver": "net.overrides",
    "ProxyPool": "client.proxies",
    "Auth": "client.auth",
    "BasicAuth": "client.auth",
    "BearerAuth": "client.auth",
    "DigestAuth": "client.digest",
    "Download": "download",
    "DownloadResult": "download",
    "Frontier": "bulk.frontier",
    "HarRecorder": "har",
    "MapResult": "bulk.result",
    "MapResults": "bulk.map",
    "HostStats": "pool.stats",
    "PoolStats": "pool.stats",
    "Proxy": "proxy",
    "Hooks": "client.hooks",
    "resend_count": "client.hooks",
    "NetrcAuth": "client.auth",
    "OAuth2ClientCredentials": "client.oauth2",
    "Progress": "download",
    "RangeStream": "download",
    "TLSInfo": "net.tls_info",
    "TokenError": "client.oauth2",
    **dict.fromkeys(
        ("delete", "get", "head", "options", "patch", "post", "put", "request", "stream"),
        "client.oneshot",
    ),
}
"""What not every program needs is imported when it is first asked for."""
_MODULES = ("distributed", "errors", "har", "otel", "testing")


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415

    if name in _MODULES:
        return import_module(f".{name}", __name__)
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "DEFAULT",
    "UNSET",
    "URL",
    "AdaptiveThrottle",
    "AddressBlocked",
    "AddressPolicy",
    "AioDNSResolver",
    "AsyncHTTPConnection",
    "AsyncHTTPSConnection",
    "Attempt",
    "Auth",
    "BadHeader",
    "BadStatusLine",
    "BasicAuth",
    "BearerAuth",
    "BodyLengthMismatch",
    "BodyNotReplayable",
    "BodyTooLarge",
    "Cache",
    "CachingResolver",
    "CachingTransport",
    "CannotSendHeader",
    "CannotSendRequest",
    "ChecksumMismatch",
    "Client",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionPool",
    "Cookie",
    "CookieJar",
    "DecodingError",
    "DigestAuth",
    "Download",
    "DownloadError",
    "DownloadResult",
    "FileChanged",
    "Frontier",
    "HTTPException",
    "HTTPResponse",
    "HTTPStatusError",
    "HarRecorder",
    "Headers",
    "Hedge",
    "Hooks",
    "HostConcurrency",
    "HostStats",
    "ImproperConnectionState",
    "IncompleteRead",
    "InvalidHeader",
    "InvalidMethod",
    "InvalidURL",
    "Limits",
    "LineTooLong",
    "MapResult",
    "MapResults",
    "NetrcAuth",
    "NetworkError",
    "NotConnected",
    "OAuth2ClientCredentials",
    "Observer",
    "Opening",
    "Origin",
    "OverridingResolver",
    "PoliteTransport",
    "PoolClosed",
    "PoolStats",
    "PoolTimeout",
    "Progress",
    "ProtocolError",
    "Proxy",
    "ProxyError",
    "ProxyPool",
    "RangeStream",
    "RateLimit",
    "ReadError",
    "ReadTimeout",
    "RedirectBlocked",
    "RemoteDisconnected",
    "Request",
    "RequestContext",
    "RequestTimeout",
    "ResolveError",
    "Resolver",
    "Response",
    "ResponseHead",
    "ResponseNotReady",
    "Retry",
    "RobotsDenied",
    "RobotsTxt",
    "Rule",
    "StreamClosed",
    "StreamConsumed",
    "StreamReader",
    "StreamWriter",
    "StreamedResponse",
    "TLSError",
    "TLSInfo",
    "TLSOptions",
    "TLSSessions",
    "TimedResolver",
    "Timeout",
    "TokenError",
    "TooManyFields",
    "TooManyRedirects",
    "TooSlow",
    "TotalTimeout",
    "Transport",
    "UnknownTransferEncoding",
    "UnsupportedScheme",
    "WriteError",
    "WriteTimeout",
    "__version__",
    "delete",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "request",
    "resend_count",
    "stream",
]
