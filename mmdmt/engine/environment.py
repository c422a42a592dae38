"""Checks of the Python environment."""

from importlib.metadata import PackageNotFoundError, version

# Distributions that install the same import packages: (original, maintained).
FAMILIES = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
}


def check_package_families() -> None:
    """Refuse an environment in which two distributions have written the same import package.

    Raises:
        RuntimeError: naming the distributions and what to do.
    """
    for package, distributions in FAMILIES.items():
        installed = [f'{name} {found}' for name in distributions if (found := _version(name))]
        if len(installed) > 1:
            raise RuntimeError(
                f'{" and ".join(installed)} are both installed and overwrite each other, as both provide '
                f'`import {package}`. Make a new environment, or uninstall all of them and install only one.'
            )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
