"""Adapts the pages to the site: links to files of the repository."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
API = (ROOT / 'docs/api.md').read_text()
LINK = re.compile(r'\[([^\]]+)\]\(\.\./([^)#\s]+)(#[^)]*)?\)')


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links out of ``docs``: a documented module by its place in the API, other files by their name.

    Raises:
        FileNotFoundError: if there is no such file.
    """

    def replaced(found: re.Match[str]) -> str:
        text, path = found[1], found[2]
        if not (ROOT / path).exists():
            raise FileNotFoundError(f'a page links to {path}, which does not exist')
        module = path.removesuffix('.py').replace('/', '.')
        return f'[{text}](api.md#{module})' if f'::: {module}\n' in API else f'{text} (`{path}`)'

    return LINK.sub(replaced, markdown)
