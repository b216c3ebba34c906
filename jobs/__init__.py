"""A graph over data sets: what a job reads, scores and writes."""
