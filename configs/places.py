"""What Millrace keeps in the folder that an application's relative paths start from, and who may steer it."""

from pathlib import Path

KEPT = Path(".millrace")
"""The state, what was fetched, the admin token: below the application's root."""
TOKEN_VARIABLE = "MILLRACE_ADMIN_TOKEN"
"""Environment variable with the admin token, in place of the file."""
TOKEN_FILE = KEPT / "admin.token"
