"""The test suite: one module a module of the package, and the testing ground they stand on."""

import pytest

# Their assertions are part of the tests, and are to be explained as the tests' own are.
pytest.register_assert_rewrite("tests.auditing", "tests.cancellation", "tests.servers")
