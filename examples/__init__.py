"""Ready examples; each folder is one."""
