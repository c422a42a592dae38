"""Writes the tables of options into the pages, from the settings and signatures of the code.

``python docs/generate.py`` rewrites them; ``--check`` only lists the pages that differ, and ends with status 1. A page
marks the place of a table by ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

import argparse
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from mmdmt import methods
from mmdmt.checked import Checked
from mmdmt.datasets.strong_color import StrongColor
from mmdmt.datasets.views import Views
from mmdmt.engine import settings
from mmdmt.experiments import plan
from mmdmt.losses import DynamicMutualLoss
from mmdmt.seg.segmentation_task import LabelMapSettings

BLOCK = re.compile(r'(<!-- generated: (\w+) -->\n).*?(<!-- end -->)', re.DOTALL)
BOUNDS = {'gt': 'above', 'ge': 'at least', 'lt': 'below', 'le': 'at most'}
NAMES: dict[Any, str] = {
    bool: 'True or False', int: 'whole number', float: 'number', str: 'text', dict: 'dict', list: 'list', tuple: 'list',
    Any: 'any',
}  # fmt: skip


def plain(text: str | None) -> str:
    """A docstring as Markdown of one line: Sphinx roles become code.

    >>> plain('see :func:`~mmdmt.core.schedule.plan`,\\n    or ``x|y``')
    'see `plan`, or `x\\\\|y`'
    """
    text = re.sub(r':\w+:`~?(?:[\w.]+\.)?(\w+)`', r'`\1`', ' '.join((text or '').split()))
    return text.replace('``', '`').replace('|', r'\|')


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


def allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a setting may hold, in words; that it may be None is told by its default."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *more = get_args(annotation)
        found = [bound for item in more for bound in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return allowed(base, found)
    if origin is Literal:
        return ' or '.join(f'`{value!r}`' for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return ' or '.join(allowed(part, metadata) for part in get_args(annotation) if part is not types.NoneType)
    if inspect.isclass(annotation) and issubclass(annotation, Checked):
        return 'dict'
    name = NAMES[origin or annotation]
    bounds = [
        f'{word} {getattr(item, key):g}' for item in metadata for key, word in BOUNDS.items() if hasattr(item, key)
    ]
    return ' '.join([name, ' and '.join(bounds)]).strip()


def default(value: Any) -> str:
    """The default of a setting; nothing if it has none."""
    if value in (PydanticUndefined, inspect.Parameter.empty):
        return ''
    return f'`{value:.4g}`' if isinstance(value, float) else f'`{value!r}`'


def settings_table(model: type[Checked], without: Iterable[str] = ()) -> str:
    """The fields of checked settings."""
    left = set(without)
    rows = [
        (f'`{name}`', allowed(field.annotation, field.metadata), default(field.default), plain(field.description))
        for name, field in model.model_fields.items()
        if name not in left
    ]
    return table(('key', 'allowed', 'default', 'meaning'), rows)


def arguments(cls: type) -> dict[str, str]:
    """The section ``Args:`` of a docstring: name -> text."""
    section = re.search(r'^Args:\n((?:    .*\n?|\n)*)', inspect.getdoc(cls) or '', re.MULTILINE)
    found = re.split(r'^    (\w+): ', section[1] if section else '', flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def arguments_table(cls: type, without: Iterable[str] = ()) -> str:
    """The arguments of a class with their defaults.

    Raises:
        ValueError: if its docstring describes others than its signature has.
    """
    signature = {name: item.default for name, item in inspect.signature(cls).parameters.items()}
    described = arguments(cls)
    if set(described) != set(signature):
        raise ValueError(f'{cls.__name__}: Args {sorted(described)} are not those of its signature {sorted(signature)}')
    rows = [(f'`{name}`', default(value), plain(described[name])) for name, value in signature.items()]
    return table(('argument', 'default', 'meaning'), [row for row in rows if row[0].strip('`') not in set(without)])


def method_sections() -> str:
    """A section for each method: what it does, its views and its arguments."""
    parts = []
    for name in methods.__all__:
        cls = getattr(methods, name)
        if not inspect.isclass(cls) or not issubclass(cls, methods.SemiSupervised) or cls is methods.SemiSupervised:
            continue
        summary = plain((inspect.getdoc(cls) or '').split('\n\n')[0])
        views = ', '.join(f'`{view}`' for view in list(inspect.signature(cls.loss).parameters)[1:])
        about = f'For {" and ".join(cls.tasks)}; views: {views}.'
        parts.append(f'### {name}\n\n{summary}\n\n{about}\n\n{arguments_table(cls, ["model"])}')
    return '\n\n'.join(parts)


def quoted(path: str) -> str:
    """A file of the repository, as code."""
    return f'```python\n{(DOCS.parent / path).read_text().strip()}\n```'


def override_list() -> str:
    """The config keys that a stage or a model may override."""
    return ', '.join(f'`{name}`' for name in settings.Overrides.model_fields)


OVERRIDES = tuple(settings.Overrides.model_fields)
BLOCKS: Mapping[str, Callable[[], str]] = {
    'dmt': lambda: settings_table(settings.DMTSettings),
    'overrides': override_list,
    'supervised': lambda: settings_table(settings.SupervisedStage, OVERRIDES),
    'semi': lambda: settings_table(settings.SemiStage, settings.SupervisedStage.model_fields),
    'models': lambda: settings_table(settings.ModelOverrides, OVERRIDES),
    'split': lambda: settings_table(settings.SplitSettings),
    'label_writer': lambda: settings_table(LabelMapSettings),
    'loss': lambda: arguments_table(DynamicMutualLoss),
    'methods': method_sections,
    'fixmatch': lambda: quoted('configs/fixmatch/digits.py'),
    'views': lambda: arguments_table(Views),
    'strong_color': lambda: arguments_table(StrongColor),
    'plan': lambda: settings_table(plan.ExperimentPlan),
    'data_sets': lambda: settings_table(plan.DataSet),
    'plan_methods': lambda: settings_table(plan.Method),
    'published': lambda: settings_table(plan.Published),
    'published_rows': lambda: settings_table(plan.PublishedRow),
}


def filled(text: str) -> str:
    """A page with its tables as the code has them."""
    return BLOCK.sub(lambda found: f'{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}', text)


def main(check: bool) -> int:
    """Rewrite the pages; return 1 if only checked and some differ."""
    differ = {path: new for path in sorted(DOCS.glob('*.md')) if (new := filled(path.read_text())) != path.read_text()}
    for path, text in differ.items():
        print(path.name)
        if not check:
            path.write_text(text)
    return int(check and bool(differ))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='only list the pages that differ from the code')
    sys.exit(main(parser.parse_args().check))
