"""Build, check, compile and execute a graph in one process. Knows nothing of Ray."""
