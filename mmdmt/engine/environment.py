"""Checks of the Python environment."""

from importlib.metadata import PackageNotFoundError, version

from mmdmt.errors import InstallationError

# Import package -> distributions that install it: the original ones, then the maintained one.
FAMILIES = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
}


def check_package_families() -> None:
    """Refuse an environment with two distributions of the same import package.

    Raises:
        InstallationError: if there are two; names them and the remedy.
    """
    for package, distributions in FAMILIES.items():
        installed = [f'{name} {found}' for name in distributions if (found := _version(name))]
        if len(installed) > 1:
            raise InstallationError(
                f'{" and ".join(installed)} are both installed and overwrite each other: both provide '
                f'`import {package}`. Create a new environment, or uninstall all of them and install only one.'
            )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
