"""Which files the viewer opens: slides under its roots, and nothing a path can be bent to."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from service.contract.viewing import SlideReference, ViewingCode, ViewingProblem
from worker.viewer.slide_process import ViewingFailed


class SlideRoots:
    """Directories whose files may be opened.

    Who can write there decides what is in them; the viewer only sees to it that no path leads out.

    Args:
        roots: may be missing for now; links in their own paths are followed.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)

    def resolve(self, slide: SlideReference) -> tuple[SlideReference, os.stat_result]:
        """The slide under its real path, and its file's status.

        Raises:
            ViewingFailed: slide_refused; slide_gone, when there is no such file or another.
        """
        path = Path(slide.path)
        if "\0" in slide.path or not path.is_absolute() or ".." in path.parts:
            raise _failure(
                ViewingCode.SLIDE_REFUSED, "the slide's path is not a plain absolute path"
            )
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except (OSError, RuntimeError) as err:
            raise _failure(
                ViewingCode.SLIDE_GONE,
                "the slide's file is not there any more: originals are kept for a time, results for"
                " longer; send the slide again to look at it",
            ) from err
        if not any(real.is_relative_to(os.path.realpath(root)) for root in self._roots):
            raise _failure(
                ViewingCode.SLIDE_REFUSED,
                "the slide lies outside the directories that may be read: see `slide_roots`",
            )
        if not stat.S_ISREG(status.st_mode):
            raise _failure(ViewingCode.SLIDE_REFUSED, "the slide is not a regular file")
        if slide.size_bytes not in {None, status.st_size}:
            raise _failure(
                ViewingCode.SLIDE_GONE,
                f"the slide's file has {status.st_size} bytes now, {slide.size_bytes} when it was"
                " scanned: it is another slide; scan it again to look at it",
            )
        return slide.model_copy(update={"path": str(real)}), status


def _failure(code: ViewingCode, message: str) -> ViewingFailed:
    return ViewingFailed(ViewingProblem(code=code, message=message))
