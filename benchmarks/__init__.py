"""Measurements with one command each; see README.md."""
