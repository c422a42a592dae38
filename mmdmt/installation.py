"""Checks the installed OpenMMLab packages: which family they are of, and whether they fit together.

This module imports none of them before it has found them, so that it can name what is wrong.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from mmdmt.errors import InstallationError, own_message

# Family, which is the extra of this package that installs it -> import package -> distributions that provide it, and
# the lowest version of each. The toolboxes themselves refuse packages that are too new for them.
FAMILIES = {
    'onedl': {
        'mmengine': {'onedl-mmengine': '0.10.12'},
        'mmcv': {'onedl-mmcv': '2.3.6'},
        'mmseg': {'onedl-mmsegmentation': '1.4.2'},
        'mmpretrain': {'onedl-mmpretrain': '1.3.6'},
    },
    'openmmlab': {
        'mmengine': {'mmengine': '0.10.7', 'mmengine-lite': '0.10.7'},
        'mmcv': {'mmcv': '2.1.0', 'mmcv-lite': '2.1.0', 'mmcv-full': '2.1.0'},
        'mmseg': {'mmsegmentation': '1.2.2'},
        'mmpretrain': {'mmpretrain': '1.2.0'},
    },
}
TITLES = {'onedl': 'the maintained line', 'openmmlab': 'the original packages'}
COMPILED = 'mmcv._ext'
"""The compiled operations of mmcv, which mmcv-lite lacks."""


def check_packages(*toolboxes: str) -> None:
    """Refuse an environment whose OpenMMLab packages are missing, of two families, too old, or do not fit together.

    Args:
        toolboxes: What is needed besides mmengine and mmcv: ``mmseg`` or ``mmpretrain``.

    Raises:
        InstallationError: names the packages, their versions, and the remedy.
    """
    family = installed_family()
    for package in ('mmengine', 'mmcv', *toolboxes):
        _check_distribution(family, package)
    for package in toolboxes:
        _check_import(family, package)


def installed_family() -> str:
    """The family of the installed packages; where only their folders are on the path, it is taken for the original.

    Raises:
        InstallationError: if no family is installed, or both are.
    """
    found = [family for family in FAMILIES if installed_versions(family)]
    if len(found) > 1:
        raise InstallationError(
            f'{_clash()}. Create a new environment, or run `pip uninstall {" ".join(installed_versions())}` and '
            'install one family'
        )
    if not found and not (_on_path('mmengine') or _on_path('mmcv')):
        either = ' or '.join(f'{command(family)} ({title})' for family, title in TITLES.items())
        raise InstallationError(f'no OpenMMLab packages are installed; install one family: {either}')
    return found[0] if found else 'openmmlab'


def installed_versions(family: str | None = None) -> dict[str, str]:
    """Distribution -> version, of the OpenMMLab packages that are installed: those of one family, or all."""
    return {
        name: found
        for own in ([family] if family else FAMILIES)
        for distributions in FAMILIES[own].values()
        for name in distributions
        if (found := _version(name))
    }


def command(family: str) -> str:
    """What installs a family.

    >>> command('onedl')
    "pip install -e '.[onedl]'"
    """
    return f"pip install -e '.[{family}]'"


def _clash() -> str:
    """What two families do to each other."""
    versions = installed_versions()
    for package in FAMILIES['onedl']:
        names = [name for family in FAMILIES.values() for name in family[package] if name in versions]
        if len(names) > 1:
            return _overwritten(package, names)
    one, other = (next(iter(installed_versions(family))) for family in FAMILIES)
    return f'{one} {versions[one]} and {other} {versions[other]} are of two families, which do not fit together'


def _overwritten(package: str, names: list[str]) -> str:
    found = ' and '.join(f'{name} {_version(name)}' for name in names)
    return f'{found} are both installed and overwrite each other: both provide `import {package}`'


def _check_distribution(family: str, package: str) -> None:
    distributions = FAMILIES[family][package]
    names = [name for name in distributions if _version(name)]
    if len(names) > 1:
        raise InstallationError(f'{_overwritten(package, names)}. Uninstall both, then install one of them')
    if not names and not _on_path(package):
        raise InstallationError(f'{next(iter(distributions))} is missing {_beside(family)}: {command(family)}')
    from packaging.version import Version  # matplotlib and mmcv need it, too

    for name in names:
        found = version(name)
        if Version(found) < Version(distributions[name]):
            raise InstallationError(
                f'{name} {found} is too old, {distributions[name]} is the lowest version that works: {command(family)}'
            )


def _check_import(family: str, package: str) -> None:
    """Import what the toolbox registers: it refuses versions by assertions, and imports packages that it need not."""
    try:
        for module in ('models', 'datasets'):
            import_module(f'{package}.{module}')
    except (ImportError, AssertionError) as error:
        if getattr(error, 'name', None) == COMPILED:
            raise InstallationError(
                f"{package} needs mmcv's compiled operations, which are missing {_beside(family)}: uninstall mmcv-lite "
                "and run `mim install 'mmcv>=2.1.0,<2.2'`"
            ) from error
        reason = ' '.join(own_message(error).split())
        raise InstallationError(
            f'{package} cannot be imported {_beside(family)} ({reason}); versions that fit: {command(family)}'
        ) from error


def _beside(family: str) -> str:
    versions = ', '.join(f'{name} {found}' for name, found in installed_versions(family).items())
    return f'beside {versions}' if versions else 'beside packages that are on the path, but not installed'


def _on_path(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # a folder that an uninstalled package left behind has none


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
