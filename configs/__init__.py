"""The schema of everything a user writes, its loader, and ready YAML files. Imports nothing of ours."""
