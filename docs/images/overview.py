"""Draws ``overview.png``, the picture of the README, from a run of ``configs/dmt/fcn_digits.py`` and its report.

python docs/images/overview.py work_dirs/fcn_digits docs/images/overview.png
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

IMAGE = '000200_000240'
ROWS = {'label': 'pseudo label\nfrom A', 'weight': 'weight of\nthe label', 'prediction': 'prediction\nof B'}


def picture(axes: Axes, path: Path) -> None:
    """Show a picture file; an empty place where there is none."""
    if path.exists():
        axes.imshow(Image.open(path).convert('RGB'), interpolation='nearest')
    for spine in axes.spines.values():
        spine.set_visible(path.exists())
        spine.set_color('#bbbbbb')
    axes.set(xticks=[], yticks=[])


def figures(work_dir: Path, model: str) -> list[float]:
    """Validation mIoU of a model after its baseline and each iteration, from the records of its phases."""
    phases = sorted(work_dir.glob(f'*_train_{model}/phase.json'))
    return [json.loads(path.read_text())['metrics']['mIoU'] for path in phases]


def curve(axes: Axes, work_dir: Path) -> None:
    """Draw mIoU by iteration, with the baselines as dashed lines."""
    for model, color in (('a', '#2b7de9'), ('b', '#d9541e')):
        values = figures(work_dir, model)
        axes.plot(range(len(values)), values, color=color, marker='o', label=f'model {model.upper()}')
        axes.axhline(values[0], color=color, linestyle='--', linewidth=1)
    axes.text(5, figures(work_dir, 'b')[0] + 0.6, 'baselines: labels only', ha='right', fontsize=9, color='#555555')
    axes.set(xlabel='iteration', ylabel='mIoU on validation, %', xticks=range(6))
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc='lower right', bbox_to_anchor=(1, 0.08))


def main(work_dir: Path, out: Path) -> None:
    """Draw the picture of a run."""
    figure = plt.figure(figsize=(12, 3.7), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(2.2, 5))
    curve(left.subplots(), work_dir)
    grid = right.subplots(3, 7)
    for row, (kind, name) in enumerate(ROWS.items()):
        for iteration in range(6):
            picture(grid[row, iteration + 1], work_dir / f'0{iteration}_train_b/pictures/{IMAGE}_{kind}.png')
        grid[row, 0].set_ylabel(name, rotation=0, ha='right', va='center', labelpad=6)
    for row, name in enumerate((IMAGE, 'none', f'{IMAGE}_truth')):
        picture(grid[row, 0], work_dir / f'pictures/{name}.png')
    for axes, title in zip(grid[0], ('image', '', *(f'iteration {i}' for i in range(1, 6))), strict=True):
        axes.set_title(title, fontsize=10)
    grid[2, 0].set_title('truth', fontsize=10)
    grid[2, 1].set_title('baseline', fontsize=10)
    figure.savefig(out, dpi=100)
    Image.open(out).convert('RGB').quantize(128, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == '__main__':
    main(Path(sys.argv[1]), Path(sys.argv[2]))
