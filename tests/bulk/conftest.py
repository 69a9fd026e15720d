"""The client of the client's tests."""

from tests.client.conftest import client  # noqa: F401 - a fixture is found by being here
