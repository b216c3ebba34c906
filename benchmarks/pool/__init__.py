"""Many models in little memory, simulated."""
