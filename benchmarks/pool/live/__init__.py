"""Many models in little memory, on real servers: Millrace's node of many models and Serve's own multiplexing."""
