import asyncio
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import PatchShapeError
from models.saliency_overlay import paint_saliency
from models.taxonomy import CellClass
from service.contract.failure import AnalysisError, FailureCode
from service.contract.viewing import ViewingCode
from tests.slide_files import paint_smear
from worker.viewer.saliency import render_saliency
from worker.viewer.slide_process import ViewingFailed

PATCH = paint_smear(400, 400)
MAP = np.linspace(0, 1, 160_000, dtype=np.float32).reshape(400, 400)


class ModelProcess:
    """Answers with one map, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure
        self.asked: list[tuple[str | None, CellClass | None]] = []

    def __call__(
        self, patch: NDArray[np.uint8], *, model: str | None, target: CellClass | None
    ) -> NDArray[np.float32]:
        self.asked.append((model, target))
        if self._failure is not None:
            raise self._failure
        return MAP


def render(model: ModelProcess) -> bytes:
    return asyncio.run(render_saliency(model, PATCH, model="resnext", target=CellClass.MYO))


def test_the_picture_is_the_patch_under_its_map():
    model = ModelProcess()
    image = Image.open(BytesIO(render(model)))
    assert image.format == "PNG"
    assert (np.asarray(image) == paint_saliency(PATCH, MAP)).all()
    assert model.asked == [("resnext", CellClass.MYO)]


@pytest.mark.parametrize(
    ("failure", "code", "again"),
    [
        (
            AnalysisError(FailureCode.MODEL_UNAVAILABLE, "no model"),
            ViewingCode.MODEL_UNAVAILABLE,
            True,
        ),
        (PatchShapeError("cannot name MOB"), ViewingCode.INVALID, False),
    ],
)
def test_what_the_model_refuses_is_told(failure, code, again):
    with pytest.raises(ViewingFailed, match=str(failure)) as caught:
        render(ModelProcess(failure))
    assert caught.value.problem.code is code
    assert (caught.value.problem.retry_after_s is not None) is again
