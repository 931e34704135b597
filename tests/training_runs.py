"""Small labelled cells, a network that learns them in seconds, and a run that can be killed.

As a program: `python -m tests.training_runs FOLDER OUT [KILL_AT_STEP]` fits RECIPE to the cells of
`write_cells`, and kills itself with SIGKILL when the given step begins.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.nets import registry
from models.taxonomy import CellClass
from models.training.classifier.fit import Machines, Saving, fit
from models.training.classifier.recipe import Recipe
from models.training.data.manifest import LabelledCell

COLOURS = {
    CellClass.MYO: (80, 40, 140),
    CellClass.NGS: (200, 120, 160),
    CellClass.PMO: (40, 90, 200),
}

UM_PER_PX = 0.3


def build_tiny(n_classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=4),
        torch.nn.BatchNorm2d(8),
        torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.2)),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, n_classes),
    )


def register_tiny() -> None:
    registry.NETWORKS["tiny"] = build_tiny


register_tiny()

RECIPE = Recipe(
    name="tiny",
    network="tiny",
    stages=((2, 32), (2, 48)),
    batch_size=6,
    learning_rate=0.02,
    ema_decay=0.8,
    precision="32-true",
)


def write_cells(folder: Path, *, per_class: int, source: str = "lab") -> tuple[LabelledCell, ...]:
    """Squares of one colour a class; a patient has one cell of each."""
    rng = np.random.default_rng(0)
    cells = []
    for code, colour in COLOURS.items():
        for index in range(per_class):
            image = np.full((120, 120, 3), 235, np.uint8)
            image[40:80, 40:80] = np.clip(rng.normal(colour, 8, (40, 40, 3)), 0, 255)
            path = folder / f"{code}{index}.png"
            if not path.exists():
                Image.fromarray(image).save(path)
            cells.append(LabelledCell(path, source, code, f"p{index}", UM_PER_PX, name=path.name))
    return tuple(cells)


class KilledRecipe(Recipe):
    """Ends the process with SIGKILL when step `kill_at` of this process asks for its input size."""

    kill_at = 0
    asked = 0

    def input_px_at(self, epoch: int) -> int:
        KilledRecipe.asked += 1
        if KilledRecipe.asked > KilledRecipe.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().input_px_at(epoch)


def main(folder: str, out: str, kill_at: str = "") -> None:
    recipe = RECIPE
    if kill_at:
        KilledRecipe.kill_at = int(kill_at)
        recipe = KilledRecipe(**{name: getattr(RECIPE, name) for name in RECIPE.as_record()})
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fit(
        recipe,
        write_cells(Path(folder), per_class=12),
        out=Path(out),
        machines=Machines(devices=devices, accelerator="cpu"),
        saving=Saving(every_steps=1),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
