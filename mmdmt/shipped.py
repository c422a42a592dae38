"""Finds the configs and the tools that come with the package."""

import difflib
from pathlib import Path

from mmdmt.errors import MissingFileError

PREFIX = 'mmdmt::'
"""What a config's name in this package begins with, as in other packages of OpenMMLab."""
SHIPPED = Path(__file__).parent / '.mim'
"""Folder of the configs and the tools, laid out as in other packages of OpenMMLab; a checkout has links there."""


def config_path(name: str) -> str:
    """Path of a config of this package.

    Args:
        name: Path of the config in ``configs``. ``mmdmt::`` or ``configs/`` may precede it, ``.py`` may be left out.

    Raises:
        MissingFileError: if there is no such config; names similar ones.

    Example:
        >>> config_path('mmdmt::dmt/fcn_digits.py') == config_path('dmt/fcn_digits')
        True
    """
    folder, own = SHIPPED / 'configs', name.removeprefix(PREFIX).removeprefix('configs/').removesuffix('.py') + '.py'
    if not (folder / own).is_file():
        similar = ' or '.join(PREFIX + item for item in _similar(own, folder))
        hint = f'; did you mean {similar}?' if similar else ''
        missing = (
            f'config {name} does not exist'
            if Path(name).suffix or name.startswith(PREFIX)
            else f'there is no config or work dir {name}'
        )
        raise MissingFileError(f'{missing}{hint}')
    return str((folder / own).resolve())


def find_config(name: str | Path) -> str:
    """A path that exists, as it is; any other is that of a config of this package, see :func:`config_path`."""
    return str(name) if Path(name).is_file() else config_path(str(name))


def _similar(wanted: str, folder: Path) -> list[str]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob('*/**/*.py'))
    return [name for name in names if Path(name).name == wanted] or difflib.get_close_matches(wanted, names, 2, 0.8)
