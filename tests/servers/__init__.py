"""Servers to test against: scripted ones that play any bytes, ordinary ones, and real programs."""
