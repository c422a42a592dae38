from importlib.metadata import PackageNotFoundError

import pytest

from mmdmt.engine import environment

ORIGINAL = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}
MAINTAINED = {'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6', 'onedl-mmsegmentation': '1.4.2'}


@pytest.fixture
def installed(monkeypatch):
    packages = {}

    def version(name):
        if name not in packages:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(environment, 'version', version)
    return packages


@pytest.mark.parametrize('family', [ORIGINAL, MAINTAINED, {}])
def test_one_family(installed, family):
    installed.update(family)
    environment.check_package_families()


@pytest.mark.parametrize(
    ('extra', 'message'),
    [
        ({'mmcv': '2.1.0'}, r'mmcv 2\.1\.0 and onedl-mmcv 2\.3\.6 are both installed.*`import mmcv`'),
        ({'mmsegmentation': '1.2.2'}, r'mmsegmentation 1\.2\.2 and onedl-mmsegmentation 1\.4\.2 .*`import mmseg`'),
        ({'mmcv-lite': '2.1.0'}, r'mmcv-lite 2\.1\.0 and onedl-mmcv 2\.3\.6 '),
        (ORIGINAL, r'mmengine 0\.10\.7 and onedl-mmengine 0\.10\.12 .*Create a new environment'),
    ],
)
def test_both_families(installed, extra, message):
    installed.update(MAINTAINED | extra)
    with pytest.raises(RuntimeError, match=message):
        environment.check_package_families()
