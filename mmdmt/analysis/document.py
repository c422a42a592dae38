"""A report as data, and its two forms: markdown, and a page that needs no other file."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mmdmt.analysis.pictures import Color, media_type
from mmdmt.engine.report import markdown_table

NARROW = 56
"""Tables of more characters in a row take a row of the page for themselves."""
_FIGURE = re.compile(r'-|[-+]?\d[\d.,:]*( ± [\d.]+)?( [%a-zA-Z]{1,3})?( \([-+\d.]+\))?')


@dataclass(frozen=True)
class Table:
    """Texts in rows; ``caption`` says what they are; figures are aligned to the right unless ``prose``."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ''
    prose: bool = False

    @property
    def wide(self) -> bool:
        """Whether it takes a row of the page for itself."""
        columns = zip(self.header, *self.rows, strict=True)
        return self.prose or sum(max(map(len, column)) + 3 for column in columns) > NARROW

    def numeric(self, column: int) -> bool:
        """Whether a column holds figures only."""
        cells = [row[column] for row in self.rows if row[column]]
        return not self.prose and bool(cells) and all(_FIGURE.fullmatch(cell) for cell in cells)


@dataclass(frozen=True)
class Chart:
    """A drawing (SVG) with the figures that it shows; ``wide`` ones take a row for themselves."""

    svg: str
    caption: str
    table: Table | None = None
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture file in a grid; ``note`` stands below it, ``mark`` (``right``, ``wrong`` or empty) colors its frame."""

    content: bytes
    text: str
    note: str = ''
    mark: str = ''

    @property
    def url(self) -> str:
        """The picture itself as an address."""
        return f'data:{media_type(self.content)};base64,{base64.b64encode(self.content).decode()}'


@dataclass(frozen=True)
class Grid:
    """Pictures in rows and columns, which only the page shows; ``legend``: colors and what they stand for."""

    header: Sequence[str]
    rows: Sequence[Sequence[Picture | str]]
    caption: str
    legend: Sequence[tuple[Color, str]] = ()


@dataclass(frozen=True)
class Section:
    """A part of a report: paragraphs, then tables and drawings."""

    title: str
    text: Sequence[str] = ()
    parts: Sequence[Table | Chart | Grid] = ()


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """All facts as markdown: the tables, and those behind the drawings."""
    lines = [f'# {title}']
    for section in sections:
        lines += [f'## {section.title}', *section.text]
        for part in section.parts:
            table = part.table if isinstance(part, Chart) else part
            if isinstance(table, Table) and table.rows:
                caption = table.caption or (part.caption if isinstance(part, Chart) else '')
                lines += [text for text in (caption,) if text]
                lines.append(
                    markdown_table(table.header, [[cell.replace('|', r'\|') for cell in row] for row in table.rows])
                )
            elif isinstance(part, Grid):
                lines.append(f'{part.caption} The pictures are in report.html.')
    return '\n\n'.join(lines) + '\n'


def as_page(title: str, sections: Sequence[Section]) -> str:
    """All facts as one page of HTML, with its pictures in it."""
    return _environment().get_template('report.html').render(title=title, sections=sections)


def _kind(part: Any) -> str:
    return type(part).__name__.lower()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader('mmdmt.analysis'), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(kind=_kind, drawing=Markup)
    environment.filters['color'] = lambda color: '#{:02x}{:02x}{:02x}'.format(*color)
    return environment
