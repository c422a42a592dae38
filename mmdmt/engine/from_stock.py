"""Turns what is stock in a config into what DMT needs, so that any stock config can join a run."""

from collections.abc import Mapping
from typing import Any

from mmdmt.config_dicts import dicts_in, first_pipeline, type_name
from mmdmt.engine.task import Task

# Arguments of a cross-entropy that a ``DynamicMutualLoss`` has no need of.
DROPPED = frozenset({'type', 'use_sigmoid', 'use_mask', 'use_soft', 'avg_non_ignore'})
DATA_KEYS = ('labeled', 'unlabeled', 'label_pipeline')


def stock_name(node: Mapping, task: Task) -> str | None:
    """Name of the ``type`` of a dict that is one of the toolbox: without scope, with its scope, or the class itself."""
    found = node.get('type')
    scope = found.rpartition('.')[0] if isinstance(found, str) else getattr(found, '__module__', '').split('.')[0]
    return type_name(node) if scope in ('', task.scope) else None


def with_data(dmt: Mapping, cfg: Mapping, task: Task) -> dict[str, Any]:
    """Copy a ``dmt`` dict with the data that it leaves out, and with transforms that carry the confidence.

    ``labeled`` is the training set of the config, ``unlabeled`` the same with a ``split``, but for
    what it sets. ``label_pipeline`` loads images as the test images are loaded. A ``RepeatDataset`` around all images
    is left out: it makes epochs of a stock loop longer, and DMT counts its phases otherwise.
    """
    result = dict(dmt)
    training = not_repeated(_dataset(cfg, 'train_dataloader'))
    if training and 'labeled' not in result:
        result['labeled'] = training
    unlabeled = result.get('unlabeled', {})
    if result.get('split') and result.get('labeled') and isinstance(unlabeled, Mapping) and 'type' not in unlabeled:
        result['unlabeled'] = {**not_repeated(result['labeled']), **unlabeled}
    if 'label_pipeline' not in result:
        result['label_pipeline'] = _label_pipeline(cfg, task)
    return _carrying(result, task, in_data=False)


def not_repeated(dataset: Any) -> Any:
    """The dataset config in a ``RepeatDataset`` around all of it; those within a combination weigh its parts."""
    while isinstance(dataset, Mapping) and type_name(dataset) == 'RepeatDataset' and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def _dataset(cfg: Mapping, loader: str) -> dict:
    found = cfg.get(loader)
    dataset = found.get('dataset') if isinstance(found, Mapping) else None
    return dataset if isinstance(dataset, dict) else {}


def _label_pipeline(cfg: Mapping, task: Task) -> list:
    """The transforms of the test images before their labels, and the one that packs."""
    pipeline = first_pipeline(_dataset(cfg, 'test_dataloader') or _dataset(cfg, 'val_dataloader'))
    names = [stock_name(step, task) if isinstance(step, Mapping) else None for step in pipeline]
    if not set(task.transforms).intersection(names):
        return []
    end = next(index for index, name in enumerate(names) if name in task.transforms)
    return [*pipeline[:end], dict(type=task.packing)]


def _carrying(node: Any, task: Task, in_data: bool) -> Any:
    """Replace the stock transforms below the keys of data; views have no labels."""
    if isinstance(node, list | tuple):
        return type(node)(_carrying(item, task, in_data) for item in node)
    if not isinstance(node, Mapping) or type_name(node) == 'Views':
        return node
    result = {key: _carrying(value, task, in_data or key in DATA_KEYS) for key, value in node.items()}
    own = task.transforms.get(stock_name(node, task) or '')
    return {**result, 'type': own} if in_data and own else result


def with_dynamic_loss(model: Mapping, arguments: Mapping, task: Task) -> dict[str, Any] | None:
    """Copy the config of a stock model as a model of DMT; None if it is not stock.

    Each cross-entropy of its heads becomes a ``DynamicMutualLoss``, with its own factors.

    Args:
        model: Config of a model.
        arguments: Arguments of every ``DynamicMutualLoss``.
        task: The toolbox.
    """
    own_types = {stock['type']: own for own, stock in task.stock_types.items() if own != 'DynamicMutualLoss'}
    name = stock_name(model, task)
    if name not in own_types:
        return None
    loss = {**task.loss, **arguments}
    heads = {key: _dynamic_head(model[key], loss, task) for key in task.heads if model.get(key)}
    return {**model, **heads, 'type': own_types[name]}


def _dynamic_head(head: Any, loss: Mapping, task: Task) -> Any:
    if isinstance(head, list | tuple):
        return type(head)(_dynamic_head(part, loss, task) for part in head)
    if not isinstance(head, Mapping) or stock_name(head, task) in task.other_heads:
        return head
    # A head that sets no loss at all has a cross-entropy.
    silent = not any(key.startswith('loss') for part in dicts_in(head) for key in part)
    return _dynamic_losses({**head, task.loss_key: dict(type='CrossEntropyLoss')} if silent else head, loss, task)


def _dynamic_losses(node: Any, loss: Mapping, task: Task) -> Any:
    """Replace each cross-entropy between classes below a head."""
    if isinstance(node, list | tuple):
        return type(node)(_dynamic_losses(item, loss, task) for item in node)
    if not isinstance(node, Mapping):
        return node
    if stock_name(node, task) == 'CrossEntropyLoss' and not (node.get('use_sigmoid') or node.get('use_mask')):
        own = {key: value for key, value in node.items() if key not in DROPPED}
        return dict(type='DynamicMutualLoss', **{**loss, **own})
    return {key: _dynamic_losses(value, loss, task) for key, value in node.items()}
