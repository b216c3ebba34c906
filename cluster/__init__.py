"""Where Millrace runs: a cluster on this machine, with Ray's settings in one place. Knows no Ray."""
