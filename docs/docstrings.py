"""Makes Markdown of docstrings for the site: Sphinx roles and doctests become code."""

import re
from typing import Any

import griffe

ROLE = re.compile(r':(?:func|class|meth|mod|data|attr):`~?(?:[\w.]+\.)?(\w+)`')
DOCTEST = re.compile(r'^( *)>>> .*(?:\n\1(?! *$).+)*', re.MULTILINE)


class Readable(griffe.Extension):
    """Changes each docstring that has been read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            text = ROLE.sub(r'`\1`', obj.docstring.value)
            text = re.sub(r'(?<=\w)::\n', ':\n', text)
            obj.docstring.value = DOCTEST.sub(r'\1```pycon\n\g<0>\n\1```', text)
