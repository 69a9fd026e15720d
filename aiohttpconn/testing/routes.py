"""`MockRoutes`: responses by method and URL, and whether all that were registered were asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from ..errors import HTTPException, InvalidURL
from ..headers import check_method
from ..url import parse
from .memory import UnexpectedRequest
from .mock import Answering, MockRequest, MockResponse, MockTransport

if TYPE_CHECKING:
    from ..url import URL

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})


class MockRoute:
    """A response for the requests of one method to URLs of one pattern. Made by `MockRoutes.add()`."""

    def __init__(self, method: str | None, url: str | re.Pattern[str], answer: Any, times: int | None) -> None:
        self.method = None if method is None else _known(check_method(method))
        self.pattern = url
        self.times = times
        self.requests: list[MockRequest] = []
        """The requests that it has answered."""
        self.answer = answer
        self._doing = answer.doing if isinstance(answer, HTTPException) else None
        self._answering = Answering(
            _no_answer if isinstance(answer, BaseException) else answer,
            "answer= takes a function of a request, an exception",
        )
        self._matches = _matcher(url)

    def takes(self, method: str, url: str) -> bool:
        """Whether it is for such a request, and has not answered all its times."""
        if self.method is not None and self.method != method:
            return False
        return (self.times is None or len(self.requests) < self.times) and self._matches(url)

    def answer_to(self, request: MockRequest) -> Answering:
        """What answers the request. Raises the exception that was registered."""
        self.requests.append(request)
        if isinstance(self.answer, BaseException):
            error = self.answer.with_traceback(None)  # of the time before
            if isinstance(error, HTTPException):
                error.doing = self._doing
            raise error
        return self._answering

    @property
    def missing(self) -> int:
        """How many requests it still waits for: those up to `times`, or a first one."""
        return max(0, (1 if self.times is None else self.times) - len(self.requests))

    def __repr__(self) -> str:
        pattern = self.pattern if isinstance(self.pattern, str) else f"/{self.pattern.pattern}/"
        return f"<MockRoute {self.method or '*'} {pattern} asked {len(self.requests)} times>"


class MockRoutes(MockTransport):
    """A `MockTransport` with a table in place of a function. The first route that takes a request answers it.

    >>> from aiohttpconn import Client
    >>> routes = MockRoutes()
    >>> route = routes.add("GET", "http://service.example/users/*", json={"name": "Ada"})
    >>> async with Client(transport=routes) as client:
    ...     (await client.get("http://service.example/users/7?detail=1")).json()
    {'name': 'Ada'}
    >>> len(route.requests)
    1
    >>> routes.assert_all_requested()
    """

    def __init__(self) -> None:
        super().__init__(_no_answer)
        self.routes: list[MockRoute] = []
        self.unexpected: list[MockRequest] = []
        """The requests that no route took."""
        self._refused: list[str] = []
        self._passing: list[Callable[[str], bool]] = []

    def add(
        self,
        method: str | None,
        url: str | re.Pattern[str],
        status: int = 200,
        *,
        answer: Any = None,
        times: int | None = None,
        **response: Any,
    ) -> MockRoute:
        """Register a response.

        - `method`: None for any. Those that everybody knows may be in small letters.
        - `url`: the whole URL, ``*`` for any text in it; written as a caller may write one, it is normalised as those
          of requests are. Without a query it takes any query; with one, a query of the same parameters in any order,
          where a ``*`` stands within one of them, or alone (``?page=1&*``) for any more of them. A text that begins
          with ``*`` and names no scheme (``*/users/7``) takes whatever URL ends so. Or a compiled pattern, to be found
          somewhere in the URL.
        - `status` and what else `MockResponse` takes; or `answer`: a function as `MockTransport` takes it, a response,
          or an exception to be raised.
        - `times`: so often, and then the next route; None: always.
        """
        if answer is None:
            answer = MockResponse(status, **response)
        elif response:
            raise TypeError(f"answer= and {', '.join(response)} exclude each other")
        route = MockRoute(method, url, answer, times)
        self.routes.append(route)
        return route

    def let_pass(self, url: str | re.Pattern[str]) -> None:
        """Have the pytest fixture send requests to such URLs over the network."""
        self._passing.append(_matcher(url))

    def lets_pass(self, url: URL) -> bool:
        """Whether what goes to such a URL is to go over the network."""
        text = str(url.without_userinfo())
        return any(passes(text) for passes in self._passing)

    def refuse(self, url: URL) -> NoReturn:
        """Raise `UnexpectedRequest` where an exclusive connection is asked for, which nothing here can stand for."""
        what = f"exclusive use of {url.origin}"
        self._refused.append(what)
        raise UnexpectedRequest(
            f"{what} would go over the network: requests are answered here, connections are not; "
            f'let_pass("{url.origin}/") leaves it to the network'
        )

    def assert_all_requested(self) -> None:
        """Raise AssertionError where a route was not asked (often enough), or a request had no route."""
        wrong = [f"{route!r} waits for {route.missing} more" for route in self.routes if route.missing]
        wrong += [f"nothing is registered for {_named(request)}" for request in self.unexpected]
        wrong += [f"nothing can be registered for {what}" for what in self._refused]
        if wrong:
            raise AssertionError("\n".join(wrong))

    def _answer_to(self, request: MockRequest) -> Answering:
        url = str(request.url.without_userinfo())
        for route in self.routes:
            if route.takes(request.method, url):
                return route.answer_to(request)
        self.unexpected.append(request)
        known = ", ".join([f"{route.method or '*'} {route.pattern}" for route in self.routes]) or "nothing"
        raise UnexpectedRequest(f"nothing is registered for {_named(request)}; registered are: {known}")

    def __repr__(self) -> str:
        return f"<MockRoutes {self.routes}>"


def _named(request: MockRequest) -> str:
    return f"{request.method} {request.url.shown}"


def _known(method: str) -> str:
    """The method as the client sends it."""
    upper = method.upper()
    return upper if upper in _METHODS else method


# --- URLs that are patterns -------------------------------------------------------------------------------------------


def _matcher(url: str | re.Pattern[str]) -> Callable[[str], bool]:
    if isinstance(url, re.Pattern):
        found = url.search
        return lambda text: found(text) is not None
    url = _normalised(url) if "*" in url else str(parse(url).without_userinfo())
    path, has_query, query = url.partition("#")[0].partition("?")
    if not has_query:
        whole = _glob(path, r"(\?.*)?")
        return lambda text: whole.fullmatch(text.partition("#")[0]) is not None
    before, parameters = _glob(path), _parameters(query)
    more = "*" in parameters
    wanted = [_glob_of_parameter(each) for each in parameters if each != "*"]

    def matches(text: str) -> bool:
        path, _, query = text.partition("#")[0].partition("?")
        return before.fullmatch(path) is not None and _pair_up(wanted, [*map(_decoded, _parameters(query))], more)

    return matches


def _normalised(url: str) -> str:
    """A pattern with stars in it as URLs of requests have it. Raises `InvalidURL` for what none of them can match."""
    literal = url.partition("*")[0].lower()
    if not any(literal.startswith(scheme) or scheme.startswith(literal) for scheme in ("http://", "https://")):
        raise InvalidURL(f"a pattern is a whole http or https URL, or begins with *: {url!r}")
    scheme, named, rest = url.partition("://")
    if not named or "/" in scheme or "?" in scheme:
        return parse(f"http://any.example/{url}").target[1:]
    found = re.search(r"[/?#\\]", rest)
    end = len(rest) if found is None else found.start()
    site, tail = _site(scheme.lower(), rest[:end].rpartition("@")[2]), rest[end:]
    if not tail and site.endswith("*"):
        return site
    return site + parse(f"http://any.example{tail}").target


def _site(scheme: str, authority: str) -> str:
    if "*" not in scheme and "*" not in authority:
        return str(parse(f"{scheme}://{authority}/").origin)
    host, colon, port = authority, "", ""
    if ":" in authority and not authority.endswith("]"):
        host, colon, port = authority.rpartition(":")
    if "*" in host:  # each label by itself: the others may be in any script
        host = ".".join([each.lower() if each.isascii() else _host(each) for each in host.split(".")])
    else:
        host = _host(host)
    return f"{scheme}://{host}{colon}{port}"


def _host(host: str) -> str:
    return host.lower() if "*" in host else parse(f"http://{host}/").origin.host_field


def _glob(text: str, end: str = "") -> re.Pattern[str]:
    return re.compile(".*".join([re.escape(part) for part in text.split("*")]) + end, re.DOTALL)


def _parameters(query: str) -> list[str]:
    return [each for each in query.split("&") if each]


def _decoded(parameter: str) -> str:
    # By latin-1, which keeps apart whatever differs.
    return unquote(parameter.replace("+", " "), "latin-1")


def _glob_of_parameter(parameter: str) -> re.Pattern[str]:
    return re.compile(".*".join([re.escape(_decoded(part)) for part in parameter.split("*")]), re.DOTALL)


def _pair_up(wanted: list[re.Pattern[str]], parameters: list[str], more: bool) -> bool:
    """Whether each pattern has a parameter of its own, and none is left over unless `more` may be."""
    if not wanted:
        return more or not parameters
    first, *others = wanted
    return any(
        first.fullmatch(each) is not None and _pair_up(others, parameters[:at] + parameters[at + 1 :], more)
        for at, each in enumerate(parameters)
    )


def _no_answer(request: MockRequest) -> NoReturn:
    raise AssertionError(f"a route answers, not {request!r}")
