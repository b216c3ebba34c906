"""Which versions of a servable are in, how they come up and go, and the durable record of it; knows no Ray."""
