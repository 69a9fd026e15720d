"""What most people call: URLs in, decoded responses out, on top of a pool."""
