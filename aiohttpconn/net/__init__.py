"""A byte stream to a server: asyncio streams, name lookup, dialling, TLS, tunnels."""
