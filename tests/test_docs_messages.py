"""The messages that docs/troubleshooting.md quotes are messages of the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs/troubleshooting.md').read_text()
QUOTED = [text for _, text in re.findall(r'^- (`+)(.+)\1$', PAGE, re.MULTILINE)]
GAP = '\0'


def texts(node):
    """The texts in a piece of code; a gap stands for what an f-string fills in, and joins the parts of a sum."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        elif isinstance(child, ast.JoinedStr):
            yield ''.join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in child.values)


@cache
def messages():
    """All texts of the package and the tools."""
    files = [*(ROOT / 'mmdmt').rglob('*.py'), *(ROOT / 'tools').glob('*.py')]
    return {' '.join(text.split()) for path in files for text in texts(ast.parse(path.read_text()))}


def occurs(quoted):
    """Whether one text of the code reads like this, with something else for each ``...``."""
    parts = [part.strip() for part in re.split(r'\.{3,}', quoted)]
    pattern = re.compile('.*'.join(map(re.escape, parts)))
    longest = max(parts, key=len)
    return any(longest in text and pattern.search(text) for text in messages())


def test_page_quotes_messages():
    assert len(QUOTED) > 50
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize('quoted', QUOTED)
def test_quoted_message_is_one_of_the_code(quoted):
    assert len(re.sub(r'\W', '', quoted.replace('...', ''))) > 10, 'too little of the message to find it'
    assert occurs(quoted)


def test_wrong_quotations_are_found():
    assert occurs('config ... does not exist')
    assert not occurs('config ... does not exists')
    assert not occurs('config ... already holds a DMT run')
