"""Makes ``mmdmt::`` usable in configs: ``_base_ = 'mmdmt::dmt/fcn_digits.py'``."""

from mmengine.config import Config

from mmdmt.shipped import PREFIX, config_path

_of_other_packages = Config._get_cfg_path


def accept_own_names() -> None:
    """Make mmengine find bases of configs that are named ``mmdmt::...``.

    mmengine knows a fixed list of packages. To add to that list is not enough: each dict of such a base would be built
    by registries of the scope ``mmdmt``, which do not exist, because this package registers in those of the toolboxes.
    """
    Config._get_cfg_path = staticmethod(_get_cfg_path)


def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
    """Path and scope of a base of the config ``filename``."""
    return (config_path(cfg_path), None) if cfg_path.startswith(PREFIX) else _of_other_packages(cfg_path, filename)
