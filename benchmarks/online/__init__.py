"""Requests per second, latency and CPU time of Millrace beside FastAPI and Ray Serve, measured in one run."""
