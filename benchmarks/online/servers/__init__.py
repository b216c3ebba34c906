"""The peers: the same workloads written by hand for FastAPI and for Ray Serve."""
