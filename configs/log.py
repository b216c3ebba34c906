"""The name under which all rooms log."""

LOGGER = "ray.serve.millrace"
"""Our logger: a child of Serve's, so its records go where Serve's go, with the request's id, at a level of its own."""
