"""The process of one slide: opens it, answers one question after another, ends with its parent.

A decoder may hang or crash here: nobody waits for this process longer than the pool allows, and
nothing but this slide's picture is lost with it.
"""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO, Final

from service.contract.failure import AnalysisError, RegionUnreadable
from service.contract.viewing import ViewingCode, ViewingProblem
from service.leash import die_with
from worker.patch_store import PATCH_QUALITY
from worker.slide.jpeg import encode_jpeg
from worker.slide.opening import open_slide
from worker.slide.protocol import Slide
from worker.viewer.deep_zoom import DeepZoom, TileOutOfRange
from worker.viewer.rendering import TileTooCostly, read_patch_pixels, render_tile
from worker.viewer.wire import (
    MAX_HEADER_BYTES,
    PREFIX,
    QUESTIONS,
    Answer,
    Describe,
    Open,
    Patch,
    Question,
    Tile,
    pack,
)

MAX_MEMORY_BYTES: Final = 8 << 30
"""Address space: many times what a sound slide takes, so that a forged one cannot take the
machine."""


def main() -> None:
    """Answer questions from stdin on stdout until stdin ends; the parent's pid is the argument."""
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    _answer_all(sys.stdin.buffer, answers)


def _answer_all(questions: BinaryIO, answers: BinaryIO) -> None:
    slide: Slide | None = None
    while (question := _receive(questions)) is not None:
        body, problem = b"", None
        try:
            if isinstance(question, Open):
                slide = _open(question)
            else:
                assert slide is not None
                body = _answer(slide, question)
        except AnalysisError as err:
            unreadable = isinstance(err, RegionUnreadable)
            code = ViewingCode.PIXELS_UNREADABLE if unreadable else ViewingCode.SLIDE_UNREADABLE
            problem = ViewingProblem(code=code, message=err.message)
        except TileOutOfRange as err:
            problem = ViewingProblem(code=ViewingCode.OUT_OF_RANGE, message=str(err))
        except TileTooCostly as err:
            problem = ViewingProblem(code=ViewingCode.TOO_COSTLY, message=str(err))
        answers.write(pack(Answer(problem=problem), body))
        answers.flush()


def _open(question: Open) -> Slide:
    slide = question.slide
    return open_slide(Path(slide.path), um_per_px=slide.um_per_px, sha256=slide.sha256)


def _answer(slide: Slide, question: Question) -> bytes:
    match question:
        case Describe():
            return DeepZoom(slide.info.size).describe()
        case Tile(level=level, column=column, row=row):
            return render_tile(slide, level, column, row)
        case Patch():
            pixels = read_patch_pixels(
                slide,
                question.x_px,
                question.y_px,
                patch_um=question.patch_um,
                patch_px=question.patch_px,
            )
            return pixels.tobytes() if question.raw else encode_jpeg(pixels, PATCH_QUALITY)
        case Open():
            raise AssertionError("a slide is opened once")


def _receive(stream: BinaryIO) -> Question | None:
    """The next question; None when there will be none."""
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    size, _ = PREFIX.unpack(prefix)
    assert size <= MAX_HEADER_BYTES
    header = stream.read(size)
    return QUESTIONS.validate_json(header) if len(header) == size else None


if __name__ == "__main__":
    main()
