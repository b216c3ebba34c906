"""How fast vector indexes answer, and how much of what is right a graph finds."""
