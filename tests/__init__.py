"""The test suite: one module a module of the package, and the testing ground they stand on."""
