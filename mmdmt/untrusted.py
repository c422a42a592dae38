"""Read files that come from elsewhere without running code that they contain."""

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.fileio.handlers import file_handlers
from mmengine.fileio.handlers.pickle_handler import PickleHandler
from mmengine.fileio.handlers.yaml_handler import YamlHandler
from mmengine.runner import CheckpointLoader

from mmdmt.data_only import data_only
from mmdmt.errors import ALLOW_PICKLE, DamagedFileError, MissingFileError, RefusedFileError, UserError
from mmdmt.safe_pickle import read_pickle

SAFETENSORS = '.safetensors'
# What torch, PyYAML and read_pickle report about a file that names code.
_CODE = re.compile(
    r"(?:GLOBAL|refused global|Unsupported (?:global|class)|function|org,2002:)\W*(?:GLOBAL )?([^\s';,]+)"
)
_active = False


@contextmanager
def untrusted_files(allow_pickle: bool = False) -> Iterator[None]:
    """Read checkpoints, pickles and YAML files without running code in them, as long as the block lasts.

    mmengine unpickles anything: it tries ``weights_only=True`` and falls back. In the block, ``torch.load`` cannot
    fall back, whoever calls it. Within another such block, this one changes nothing.

    Args:
        allow_pickle: Read them as mmengine does, code included.
    """
    global _active
    if _active:
        yield
        return
    schemes, handlers = dict(CheckpointLoader._schemes), dict(file_handlers)
    _active = True
    try:
        CheckpointLoader.register_scheme('', _local_loader(allow_pickle), force=True)
        if not allow_pickle:
            file_handlers.update(dict.fromkeys(('pickle', 'pkl'), _SafePickle()))
            file_handlers.update(dict.fromkeys(('yaml', 'yml'), _SafeYaml()))
        with nullcontext() if allow_pickle else data_only():
            yield
    finally:
        CheckpointLoader._schemes = schemes
        file_handlers.update(handlers)
        _active = False


@untrusted_files()
def load_checkpoint(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint into the memory of the CPU: a file, a URL, or a name of a model zoo.

    Raises:
        FileNotFoundError: if the file does not exist.
        DamagedFileError: if the file is cut off, or its checksums are wrong.
        RefusedFileError: if it needs code that it names.
        UserError: if it holds no weights by name.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(str(source), map_location='cpu', logger='silent')
    except pickle.UnpicklingError as error:
        raise refused(source, error) from error
    if not isinstance(checkpoint, dict):
        raise UserError(f'{source} is no checkpoint: it holds a {type(checkpoint).__name__}, not weights by name')
    return checkpoint


@untrusted_files()
def read_meta(path: str | os.PathLike[str]) -> dict[str, Any]:
    """``meta`` of a checkpoint of ``torch.save``, without reading its weights; empty if there is none.

    Raises:
        RefusedFileError: if it needs code that it names.
    """
    try:
        # In the block, this is only read without code, unless that is allowed.
        meta = torch.load(os.fspath(path), map_location='cpu', mmap=True, weights_only=False)['meta']
    except Exception as error:  # a damaged file raises nearly anything
        if isinstance(error, pickle.UnpicklingError) and _names_code(error):
            raise refused(path, error) from error
        return {}
    return meta if isinstance(meta, dict) else {}


def state_dict(checkpoint: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Weights in a checkpoint, without the ``module.`` that DistributedDataParallel puts before each name."""
    weights = checkpoint.get('state_dict', checkpoint)
    result = OrderedDict((name.removeprefix('module.'), value) for name, value in weights.items())
    result._metadata = getattr(weights, '_metadata', OrderedDict())  # type: ignore[attr-defined]  # versions of modules
    return result


def refused(source: Any, error: Exception) -> RefusedFileError:
    """The error for a file that needs code to be read."""
    found = _CODE.search(str(error))
    what = found[1] if found else _first_line(error)
    return RefusedFileError(
        f'{source} is refused: it names code to run ({what}), not only data. If you trust its origin, add '
        f'{ALLOW_PICKLE}; otherwise ask for the weights (or lists) alone'
    )


def check_archive(path: str | os.PathLike[str]) -> None:
    """Compare the content of a file of ``torch.save`` with its checksums.

    Raises:
        DamagedFileError: if it is cut off or changed; names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:  # zlib's, struct's and others, besides zipfile's own
        raise DamagedFileError(f'{path} is damaged ({error})') from error
    if bad is not None:
        raise DamagedFileError(f'{path} is damaged (the checksum of {bad} is wrong)')


def _local_loader(allow_pickle: bool) -> Callable:
    """The loader of local files: it checks checksums first and reads safetensors too."""

    def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
        path = os.path.expanduser(filename)
        if not os.path.isfile(path):
            raise FileNotFoundError(f'{path} does not exist')
        if path.endswith(SAFETENSORS):
            return _load_safetensors(path)
        if zipfile.is_zipfile(path):
            check_archive(path)
        try:
            # What may be in it, the block decides.
            checkpoint = torch.load(path, map_location, weights_only=False)
        except pickle.UnpicklingError as error:
            if not _names_code(error):
                raise DamagedFileError(f'{path} is damaged, or not a file of torch.save') from error
            raise refused(path, error) from error
        except (EOFError, OSError, RuntimeError, LookupError, AssertionError, ValueError) as error:
            raise DamagedFileError(f'{path} is damaged, or no checkpoint ({_first_line(error)})') from error
        if not allow_pickle:
            _drop_config(checkpoint)
        return checkpoint

    return load_from_local


def _names_code(error: Exception) -> bool:
    return _CODE.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {(str(error).strip().splitlines() or ["no message"])[0]}'


def _drop_config(checkpoint: Any) -> None:
    # mmengine runs this text as Python code when it resumes; its own checkpoints do not contain it.
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)


def _load_safetensors(path: str) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, 'pt') as file:
            model = (file.metadata() or {}).get('model')
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f'{path} is damaged, or no safetensors file ({error})') from error
    return dict(state_dict=weights, meta=dict(dmt=dict(model=model)) if model else {})


class _SafePickle(PickleHandler):
    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        try:
            return read_pickle(file.read())
        except ValueError as error:
            raise refused('the pickle', error) from error


class _SafeLoader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """Also reads tuples, which mmengine writes."""


_SafeLoader.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node))
)


class _SafeYaml(YamlHandler):
    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        try:
            return yaml.load(file, Loader=_SafeLoader)
        except yaml.constructor.ConstructorError as error:
            raise refused('the YAML file', error) from error
        except yaml.YAMLError as error:
            raise UserError(f'the YAML file cannot be read: {error}') from error


def read_tensors(path: Path, where: str) -> Mapping[str, Any]:
    """Read a file of weights alone, as published elsewhere.

    Args:
        path: The file.
        where: Where to get it, for the message.

    Raises:
        MissingFileError, UserError: if it does not exist or holds anything else.
    """
    if not path.is_file():
        raise MissingFileError(f'{path} does not exist; {where}')
    try:
        source = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        # torch's own message recommends running the code in the file.
        raise UserError(f'{path} cannot be read as weights ({type(error).__name__}); {where}') from error
    if not isinstance(source, Mapping):
        raise UserError(f'{path} holds {type(source).__name__} instead of a dict of tensors; {where}')
    return source
