"""What the classifier looked at, painted over a cell."""

import asyncio
from io import BytesIO
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import PatchShapeError
from models.saliency_overlay import paint_saliency
from models.taxonomy import CellClass
from service.contract.failure import AnalysisError
from service.contract.viewing import ViewingCode, ViewingProblem
from worker.viewer.slide_process import ViewingFailed


class FetchSaliency(Protocol):
    """Asks the model process; blocks, and is called from a thread."""

    def __call__(
        self, patch: NDArray[np.uint8], *, model: str | None, target: CellClass | None
    ) -> NDArray[np.float32]:
        """As `models.saliency.saliency_maps` of one patch.

        Args:
            patch: RGB, shape (400, 400, 3), 0–255.
            model: name of the weights; None: the default.
            target: class whose loss is differentiated; None: the likeliest.

        Returns:
            Shape (400, 400), at least 0.

        Raises:
            AnalysisError: model_unavailable.
            PatchShapeError: the patch is not of the card's shape, or these weights cannot name the
                target.
        """


async def render_saliency(
    fetch: FetchSaliency,
    patch: NDArray[np.uint8],
    *,
    model: str | None,
    target: CellClass | None,
) -> bytes:
    """A patch in grey with its saliency in colour, a PNG.

    Raises:
        ViewingFailed: model_unavailable; invalid, for a target the weights cannot name.
    """

    def work() -> bytes:
        stream = BytesIO()
        saliency = fetch(patch, model=model, target=target)
        Image.fromarray(paint_saliency(patch, saliency)).save(stream, "PNG")
        return stream.getvalue()

    try:
        return await asyncio.to_thread(work)
    except AnalysisError as err:
        raise ViewingFailed(
            ViewingProblem(code=ViewingCode.MODEL_UNAVAILABLE, message=err.message, retry_after_s=5)
        ) from err
    except PatchShapeError as err:
        raise ViewingFailed(ViewingProblem(code=ViewingCode.INVALID, message=str(err))) from err
