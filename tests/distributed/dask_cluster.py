"""A Dask cluster of two worker processes, in a process of its own: prints its address, and ends with its stdin.
A number there is how many workers there are to be."""

import sys

if __name__ == "__main__":
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=None, silence_logs=50
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        for line in sys.stdin:
            cluster.scale(int(line))
