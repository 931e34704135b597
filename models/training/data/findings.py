"""Files of a data set that are missing, damaged or not what they should be."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from models.taxonomy import CellClass


@dataclass(frozen=True, slots=True)
class FileFindings:
    """What is wrong with a data set's files, every one by its name in annotations or manifest.

    Attributes:
        missing: annotated, but not there.
        unreadable: not an image.
        wrong_size: an image of another size: name, width, height.
        mislabelled: lies in the folder of another class: name, label.
        extra: images that no annotation names, such as augmented copies; never used.
    """

    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    wrong_size: tuple[tuple[str, int, int], ...] = ()
    mislabelled: tuple[tuple[str, CellClass], ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def unusable(self) -> frozenset[str]:
        """Names of annotated cells that cannot be used."""
        wrong_size = (name for name, _, _ in self.wrong_size)
        mislabelled = (name for name, _ in self.mislabelled)
        return frozenset((*self.missing, *self.unreadable, *wrong_size, *mislabelled))

    def with_unreadable(self, names: Iterable[str]) -> "FileFindings":
        """Damage that only decoding showed, added."""
        return replace(self, unreadable=(*self.unreadable, *names))


def read_size(path: Path) -> tuple[int, int] | None:
    """Width and height from an image's header; None if there is no such file or no image."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, Image.DecompressionBombError):
        return None
