"""What callers may set, for a client or for one call: checked, and made of what they gave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import UNSET, Hedge, Retry, Timeout, Unset
from .cookies import CookieJar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..proxy import ProxyInput
    from .auth import Auth, AuthInput
    from .charset import DefaultEncoding
    from .environ import EnvironmentProxies
    from .proxies import ProxyChooser


class Own(NamedTuple):
    """A caller's own settings for one call."""

    cookies: Mapping[str, str] | CookieJar | bool | None = None
    auth: AuthInput | Unset | None = UNSET
    follow_redirects: bool | Unset = UNSET
    timeout: Timeout | float | Unset | None = UNSET
    proxy: ProxyInput | Unset | None = UNSET
    max_body: int | Unset | None = UNSET
    retries: Retry | int | Unset | None = UNSET
    hedge: Hedge | float | Unset | None = UNSET


NOTHING = Own()
UNFOLLOWED = Own(follow_redirects=False)  # what a crawl sends
LINKS = {"follow_redirects": False}


def check_own(own: Own) -> None:
    """Raise what the call itself would, without a loop."""
    if not isinstance(own.timeout, Unset):
        Timeout.of(own.timeout)
    if own.cookies is not None:
        jar_and_cookies(own.cookies)
    if not isinstance(own.auth, Unset):
        given_auth(own.auth)
    if not isinstance(own.follow_redirects, Unset):
        checked_flag("follow_redirects", own.follow_redirects)
    if not isinstance(own.max_body, Unset):
        checked_max_body(own.max_body)
    if not isinstance(own.retries, Unset):
        given_retry(own.retries)
    if not isinstance(own.hedge, Unset):
        given_hedge(own.hedge)
    if not isinstance(own.proxy, Unset) and proxy_chooser(own.proxy) is None:
        from ..proxy import Proxy  # noqa: PLC0415 - for who uses one

        Proxy.of(own.proxy)  # type: ignore[arg-type]  # it is no function


def given_auth(value: AuthInput | None) -> Auth | None:
    if value is None:
        return None
    from .auth import auth_of  # noqa: PLC0415 - not every client signs its requests

    return auth_of(value)


def proxy_chooser(proxy: ProxyInput | Unset | None) -> ProxyChooser | None:
    """Whom to ask for the proxy of each request, if `proxy` is not simply one."""
    if not callable(proxy):
        return None
    from .proxies import ProxyChooser  # noqa: PLC0415 - most go one way

    return ProxyChooser(proxy)


def environment_auth() -> Auth | None:
    """What a netrc file says, if there is one."""
    if not os.path.exists(os.environ.get("NETRC") or os.path.expanduser("~/.netrc")):
        return None
    from .auth import NetrcAuth  # noqa: PLC0415 - not everybody has one

    return NetrcAuth()


def check_hooks(hooks: object) -> None:
    from .hooks import Hooks  # noqa: PLC0415 - most clients have none

    if not isinstance(hooks, Hooks):
        raise TypeError(f"hooks must be a Hooks, such as Hooks(on_request=function), not {type(hooks).__name__}")


def checked_flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def checked_count(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{name} must be a number, 0 or more, not {value!r}")
    return value


def checked_encoding(value: DefaultEncoding) -> DefaultEncoding:
    if value is None or callable(value):
        return value
    from .charset import is_charset  # noqa: PLC0415 - few name one

    if not isinstance(value, str):
        raise TypeError(f"default_encoding must be the name of a charset or a function, not {value!r}")
    if not is_charset(value):
        raise ValueError(f"default_encoding must be a charset that Python knows, not {value!r}")
    return value


def given_retry(value: Retry | int | None) -> Retry | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Retry(attempts=value)
    if value is not None and not isinstance(value, Retry):
        raise TypeError(f"retries must be a Retry, a number of attempts or None, not {value!r}")
    return value


def given_hedge(value: Hedge | float | None) -> Hedge | None:
    return value if value is None or isinstance(value, Hedge) else Hedge(value)


def checked_max_body(value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"max_body must be a number of bytes or None, not {value!r}")
    if value is not None and value < 0:
        raise ValueError(f"max_body must not be negative: {value!r}")
    return value


def environment_proxies() -> EnvironmentProxies | None:
    """The environment's proxies. None if it has none: then nothing is loaded that is about proxies."""
    if not any(name in os.environ or name.upper() in os.environ for name in ("http_proxy", "https_proxy", "all_proxy")):
        return None
    from .environ import EnvironmentProxies  # noqa: PLC0415

    return EnvironmentProxies()


def jar_and_cookies(
    value: Mapping[str, str] | CookieJar | bool | None,
) -> tuple[CookieJar | None, dict[str, str] | None]:
    """The jar to use, and the cookies that go beside it."""
    if value is False:
        return None, None
    if value is None or value is True:
        return CookieJar(), None
    if isinstance(value, CookieJar):
        return value, None
    from .cookie_checks import checked_cookies  # noqa: PLC0415 - few clients are given cookies

    return CookieJar(), checked_cookies(value)


def or_none(value: Any) -> Any:
    return None if value is UNSET else value
