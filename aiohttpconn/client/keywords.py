"""What requests may be given, for type checkers and editors: nothing of this is needed to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Mapping

    from ..config import Hedge, Retry, Timeout, Unset
    from ..headers import HeadersInput
    from ..net.tls_certificate import ClientCertificate
    from ..net.tls_options import TLSOptions
    from ..proxy import ProxyInput
    from ..url import Params
    from .auth import AuthInput
    from .body import Content
    from .cookies import CookieJar
    from .form import Files, FormData


class RequestKeywords(TypedDict, total=False):
    """The keywords of `Client.request` and its like."""

    params: Params
    headers: HeadersInput | None
    cookies: Mapping[str, str] | CookieJar | bool | None
    auth: AuthInput | Unset | None
    content: Content | None
    data: FormData | None
    json: Any
    files: Files | None
    follow_redirects: bool | Unset
    timeout: Timeout | float | Unset | None
    proxy: ProxyInput | Unset | None
    max_body: int | Unset | None
    retries: Retry | int | Unset | None
    hedge: Hedge | float | Unset | None
    idempotent: bool | None


class OneShotKeywords(RequestKeywords, total=False):
    """The keywords of `aiohttpconn.request` and its like."""

    verify: bool | str | os.PathLike[str] | ssl.SSLContext | Unset
    cert: ClientCertificate | None
    tls: TLSOptions | None
    trust_env: bool
