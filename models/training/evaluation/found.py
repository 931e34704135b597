"""Which labelled cells a scan would come to classify at all: those that a detector finds."""

from collections import Counter
from collections.abc import Callable, Sequence

from models.detector import Detector
from models.training.data.manifest import LabelledCell
from models.training.detector.evaluate import evaluate_crop
from models.training.detector.fields import read_rgb


def keep_found(
    detector: Detector,
    cells: Sequence[LabelledCell],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[tuple[LabelledCell, ...], dict[str, dict[str, int]]]:
    """The cells whose crop has a leukocyte of a detector's at its centre.

    Args:
        detector: frozen.
        cells: one a crop.
        on_progress: told (cells looked at, cells in total) after each.

    Returns:
        Those found, and those whose file cannot be read; and of the others how many, by source and
        label.
    """
    kept: list[LabelledCell] = []
    missed: dict[str, Counter[str]] = {}
    for done, cell in enumerate(cells, start=1):
        try:
            found = evaluate_crop(detector, cell.um_per_px, read_rgb(cell.path))
        except OSError:
            found = True  # the evaluation counts it as unreadable
        if found:
            kept.append(cell)
        else:
            missed.setdefault(cell.source, Counter())[cell.label.value] += 1
        on_progress(done, len(cells))
    return tuple(kept), {source: dict(sorted(missed[source].items())) for source in sorted(missed)}
