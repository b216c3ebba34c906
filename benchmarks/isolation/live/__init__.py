"""The same in real time: threads, an event loop, and a real server under a load generator in another process."""
