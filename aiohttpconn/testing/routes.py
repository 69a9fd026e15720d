"""`MockRoutes`: responses by method and URL, and whether all that were registered were asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..headers import check_method
from ..url import parse
from .memory import UnexpectedRequest
from .mock import MockRequest, MockResponse, MockTransport

if TYPE_CHECKING:
    from ..messages import Request


class MockRoute:
    """A response for the requests of one method to URLs of one pattern. Made by `MockRoutes.add()`."""

    def __init__(self, method: str | None, url: str | re.Pattern[str], answer: Any, times: int | None) -> None:
        self.method = None if method is None else check_method(method)
        self.pattern = url
        self.times = times
        self.requests: list[MockRequest] = []
        """The requests that it has answered."""
        self.answer = answer
        self._matches = _matcher(url)

    def takes(self, method: str, url: str) -> bool:
        """Whether it is for such a request, and has not answered all its times."""
        if self.method is not None and self.method != method:
            return False
        return (self.times is None or len(self.requests) < self.times) and self._matches(url)

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
        super().__init__(self._answer)
        self.routes: list[MockRoute] = []
        self.unexpected: list[MockRequest] = []
        """The requests that no route took."""
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

        - `method`: None for any.
        - `url`: the whole URL, ``*`` for any text in it; without a query of its own it takes any query. Or a compiled
          pattern, to be found somewhere in the URL.
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

    def lets_pass(self, request: Request) -> bool:
        """Whether such a request is to go over the network."""
        url = str(request.url.without_userinfo())
        return any(passes(url) for passes in self._passing)

    def assert_all_requested(self) -> None:
        """Raise AssertionError where a route was not asked (often enough), or a request had no route."""
        wrong = [f"{route!r} waits for {route.missing} more" for route in self.routes if route.missing]
        wrong += [f"nothing is registered for {_named(request)}" for request in self.unexpected]
        if wrong:
            raise AssertionError("\n".join(wrong))

    def _answer(self, request: MockRequest) -> Any:
        url = str(request.url.without_userinfo())
        for route in self.routes:
            if route.takes(request.method, url):
                route.requests.append(request)
                answer = route.answer
                if isinstance(answer, BaseException):
                    raise answer
                return answer(request) if callable(answer) else answer
        self.unexpected.append(request)
        known = ", ".join([f"{route.method or '*'} {route.pattern}" for route in self.routes]) or "nothing"
        raise UnexpectedRequest(f"nothing is registered for {_named(request)}; registered are: {known}")

    def __repr__(self) -> str:
        return f"<MockRoutes {self.routes}>"


def _named(request: MockRequest) -> str:
    return f"{request.method} {request.url.shown}"


def _matcher(url: str | re.Pattern[str]) -> Callable[[str], bool]:
    if isinstance(url, re.Pattern):
        found = url.search
        return lambda text: found(text) is not None
    if "*" not in url:
        url = str(parse(url))  # as requests have it: with a path, the host in lower case
    pattern = ".*".join([re.escape(part) for part in url.split("*")])
    if "?" not in url:
        pattern += r"(\?.*)?"
    compiled = re.compile(pattern, re.DOTALL)
    return lambda text: compiled.fullmatch(text.partition("#")[0]) is not None
