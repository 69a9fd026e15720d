"""HTTP/1.1 without I/O: bytes in, values out. Nothing in here imports asyncio."""
