"""Stores of a lookup table, side by side: how fast a row is found by its key, and what that takes."""
