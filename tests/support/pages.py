"""Snippets of README and docs."""

import re
from pathlib import Path


def snippets(page: str, marker: str, language: str) -> list[str]:
    """Code blocks of a page that stand behind `<!-- test: marker -->`."""
    pattern = rf"<!-- test: {re.escape(marker)} -->\n```{language}\n(.*?)```"
    found = re.findall(pattern, Path(page).read_text(), re.DOTALL)
    assert found, f"{page} has no {language} block marked {marker!r}"
    return found
