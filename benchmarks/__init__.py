"""Side-by-side benchmark of aiohttpconn and its peers: `python -m benchmarks` (see `--help`)."""
