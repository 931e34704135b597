"""Where leukocytes are in a field of pixels: a heat map's peaks, each looked at a second time.

Coordinates are in field px with the origin at the outer corner of the top left pixel: the centre
of pixel (i, j) is (i + 0.5, j + 0.5).
"""

from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from models.catalogue import DEFAULT_DETECTOR, WEIGHTS_FILE, locate_weights
from models.checkpoint import load_weights
from models.density import relative_density
from models.detector_card import DetectorCard, check_fields, load_detector_card
from models.nets.folding import fold_batch_norms
from models.nets.heatmap import (
    MEAN_DIAMETER_UM,
    OUTPUT_STRIDE,
    RECEPTIVE_RADIUS_PX,
    STRIDE,
    HeatmapNet,
)
from models.nets.verifier import VerifierNet
from models.peak import Peak
from models.verifier import CROP_PX, cut_crops, verify


def margin_px(um_per_px: float, min_distance_um: float) -> int:
    """Least tile margin at which a peak does not depend on the tile: a multiple of `STRIDE`.

    A peak depends on heat within `min_distance_um` and one px for its sub-pixel centre; each heat
    value on `RECEPTIVE_RADIUS_PX`; the second look on half a crop, which is less.
    """
    reach = RECEPTIVE_RADIUS_PX + min_distance_um / um_per_px + 2 * OUTPUT_STRIDE
    return STRIDE * int(np.ceil(max(reach, CROP_PX / 2 + OUTPUT_STRIDE) / STRIDE))


class DetectorNet(nn.Module):
    """Both networks of a detector; they share a weights file.

    Args:
        width: of the `HeatmapNet`.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.heatmap = HeatmapNet(width)
        self.verifier = VerifierNet()


class Detector:
    """A loaded detector. Deterministic; holds no state between calls.

    Args:
        card: what the networks expect.
        network: with its weights; is set to inference mode and its batch norms are folded.
        device: "cpu", "cuda", ...
    """

    def __init__(self, card: DetectorCard, network: DetectorNet, *, device: str = "cpu") -> None:
        self.card = card
        self._device = torch.device(device)
        self._network = network.eval()
        fold_batch_norms(self._network)
        self._network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(cls, name: str = DEFAULT_DETECTOR, *, device: str = "cpu") -> Self:
        """Load a detector by the name of its weights directory, or the directory's path.

        Raises:
            WeightsUnavailable: no such weights, or a file of theirs is missing.
            WeightsCorrupt: the card is not valid, or the weights are not what it says.
        """
        directory = locate_weights(name)
        card = load_detector_card(directory)
        network = DetectorNet(card.width)
        load_weights(network, directory / WEIGHTS_FILE, card.sha256)
        return cls(card, network, device=device)

    def detect(
        self,
        fields: NDArray[np.uint8],
        background: NDArray[np.floating],
        red_cell: NDArray[np.floating],
        *,
        rim_px: int = 0,
    ) -> list[list[Peak]]:
        """Leukocytes of fields of one slide.

        Args:
            fields: RGB at `card.um_per_px`, shape (N, height, width, 3), 0–255. N may be 0.
            background: RGB of the slide's glass, shape (3,), as `estimate_background` gives it.
            red_cell: density of the slide's red cells, shape (3,), as `estimate_red_cell` gives it.
            rim_px: centres nearer to the field's edge than this are not wanted and are left out,
                but for some of the last 2 px; saves looking at them.

        Returns:
            For each field its peaks, sorted by y, then x. Peaks within `card.margin_px` of the
            field's edge may depend on what lies beyond it, which is taken for glass.

        Raises:
            PatchShapeError: fields are not RGB bytes, the background is not one colour, or the
                red cell's density is not three numbers above 0.
        """
        check_fields(fields, background, red_cell)
        if 0 in fields.shape:
            return [[] for _ in fields]
        return self.decode(self.map_cells(relative_density(fields, background, red_cell), rim_px))

    def map_cells(self, density: NDArray[np.float32], rim_px: int = 0) -> NDArray[np.float32]:
        """What the networks say of fields, which may be of different slides.

        Args:
            density: as `relative_density` gives it, shape (N, 3, height, width), none of them 0.
            rim_px: as for `detect`.

        Returns:
            Heat, 0–1, diameter, µm, and at peaks of the heat the score, 0–1, elsewhere 0: shape
            (N, 3, ceil(height / 2), ceil(width / 2)).
        """
        maps = map_fields(self._network.heatmap, density, self._device)
        scores = np.zeros_like(maps[:, :1])
        reach = self.card.min_distance_um / (self.card.um_per_px * OUTPUT_STRIDE)
        for field, (heat, _), score in zip(density, maps, scores[:, 0], strict=True):
            rows, cols = find_peaks(heat, self.card.candidate, reach)
            wanted = _within(rows, field.shape[1], rim_px) & _within(cols, field.shape[2], rim_px)
            rows, cols = rows[wanted], cols[wanted]
            crops = cut_crops(field, rows, cols)
            verdict = verify(self._network.verifier, crops, self._device)
            score[rows, cols] = join_verdicts(heat[rows, cols], verdict, self.card.verdict_weight)
        return np.concatenate([maps, scores], axis=1)

    def decode(self, maps: NDArray[np.float32]) -> list[list[Peak]]:
        """Peaks of what `map_cells` returned, as `detect` returns them."""
        return [read_peaks(*planes, threshold=self.card.threshold) for planes in maps]


@torch.inference_mode()
def map_fields(
    network: HeatmapNet, density: NDArray[np.float32], device: torch.device | str = "cpu"
) -> NDArray[np.float32]:
    """The heat map of fields.

    Args:
        network: in inference mode, on `device`.
        density: as `relative_density` gives it, shape (N, 3, height, width), none of them 0.
        device: where to compute.

    Returns:
        Heat, 0–1, and diameter, µm: shape (N, 2, ceil(height / 2), ceil(width / 2)).
    """
    height, width = density.shape[2:]
    padded = F.pad(torch.from_numpy(density), (0, -width % STRIDE, 0, -height % STRIDE))
    padded = padded.to(device, memory_format=torch.channels_last)
    out = network(padded)[..., : -(-height // OUTPUT_STRIDE), : -(-width // OUTPUT_STRIDE)]
    heat = out[:, 0].sigmoid()
    diameter_um = out[:, 1].clamp(-2.0, 2.0).exp() * MEAN_DIAMETER_UM
    maps: NDArray[np.float32] = torch.stack([heat, diameter_um], dim=1).cpu().numpy()
    return maps


def find_peaks(
    heat: NDArray[np.float32], threshold: float, reach: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cells of a heat map that are peaks.

    A cell is a peak if it reaches the threshold and no higher cell lies within `reach`; of equal
    ones the upper, then the left one wins. The rule looks no further than `reach`, so peaks do not
    depend on where the map was cut.

    Args:
        heat: shape (rows, cols), 0–1, one cell per `OUTPUT_STRIDE` px.
        threshold: least heat.
        reach: cells; at least 1.

    Returns:
        Rows and columns, sorted by row, then column.
    """
    k = int(np.floor(reach))
    padded = np.pad(heat, k, constant_values=-1.0)
    rows, cols = np.nonzero(heat >= threshold)
    alive = np.ones(len(rows), dtype=bool)
    value = heat[rows, cols]
    for dy in range(-k, k + 1):
        for dx in range(-k, k + 1):
            if (dy, dx) == (0, 0) or dy * dy + dx * dx > reach * reach:
                continue
            other = padded[rows + k + dy, cols + k + dx]
            earlier = (dy, dx) < (0, 0)
            alive &= (value > other) if earlier else (value >= other)
    return rows[alive], cols[alive]


def join_verdicts(
    heat: NDArray[np.float32], verdict: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """Score of peaks, 0–1: the logits of both networks added, the second one's times `weight`.

    Args:
        heat: of the peaks, 0–1, shape (N,).
        verdict: the verifier's logits, shape (N,).
        weight: from the card.
    """
    heat = np.clip(heat, 1e-6, 1.0 - 1e-6)
    logit = np.log(heat / (1.0 - heat)) + np.float32(weight) * verdict
    score: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    return score


def read_peaks(
    heat: NDArray[np.float32],
    diameter_um: NDArray[np.float32],
    score: NDArray[np.float32],
    *,
    threshold: float,
) -> list[Peak]:
    """Peaks of one field's maps.

    The centre is refined by a parabola through the heat of a peak and its neighbours in each
    direction.

    Args:
        heat: shape (rows, cols), 0–1, one cell per `OUTPUT_STRIDE` px.
        diameter_um: same shape.
        score: same shape, 0 where there is no peak.
        threshold: least score; above 0.

    Returns:
        Sorted by y, then x; field px.
    """
    padded = np.pad(heat, 1, constant_values=-1.0)
    rows, cols = np.nonzero(score >= threshold)
    peaks = [
        Peak(
            x=(col + 0.5 + _vertex(padded[row + 1, col : col + 3])) * OUTPUT_STRIDE,
            y=(row + 0.5 + _vertex(padded[row : row + 3, col + 1])) * OUTPUT_STRIDE,
            diameter_um=float(diameter_um[row, col]),
            score=float(score[row, col]),
        )
        for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
    ]
    return sorted(peaks, key=lambda peak: (peak.y, peak.x))


def _within(cells: NDArray[np.intp], field_px: int, rim_px: int) -> NDArray[np.bool_]:
    """Which rows or columns of a heat map may have a peak's centre that is no rim's.

    A centre lies up to half a cell beside the middle of its own.
    """
    return ((cells + 1) * OUTPUT_STRIDE > rim_px) & (cells * OUTPUT_STRIDE < field_px - rim_px)


def _vertex(heat: NDArray[np.float32]) -> float:
    """Offset in cells, -0.5 to 0.5, of the vertex of a parabola through three heats."""
    before, centre, after = (float(value) for value in heat)
    if before < 0.0 or after < 0.0:
        return 0.0
    curvature = before - 2.0 * centre + after
    return 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
