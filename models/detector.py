"""Where leukocytes are in a field of pixels: the detector and the peaks of its heat.

Coordinates are in field px with the origin at the outer corner of the top left pixel: the centre
of pixel (i, j) is (i + 0.5, j + 0.5).
"""

from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.catalogue import DEFAULT_DETECTOR, WEIGHTS_FILE, locate_weights
from models.checkpoint import load_weights
from models.density import relative_density
from models.detector_card import DetectorCard, check_fields, load_detector_card
from models.nets.heatmap import (
    MEAN_DIAMETER_UM,
    OUTPUT_STRIDE,
    RECEPTIVE_RADIUS_PX,
    STRIDE,
    HeatmapNet,
)
from models.peak import Peak


def margin_px(um_per_px: float, min_distance_um: float) -> int:
    """Least tile margin at which a peak does not depend on the tile: a multiple of `STRIDE`.

    A peak depends on heat within `min_distance_um` and one px for its sub-pixel centre; each heat
    value on `RECEPTIVE_RADIUS_PX`.
    """
    reach = RECEPTIVE_RADIUS_PX + min_distance_um / um_per_px + 2 * OUTPUT_STRIDE
    return STRIDE * int(np.ceil(reach / STRIDE))


class Detector:
    """A loaded detector. Deterministic; holds no state between calls.

    Args:
        card: what the network expects.
        network: with its weights; is set to inference mode and its batch norms are folded.
        device: "cpu", "cuda", ...
    """

    def __init__(self, card: DetectorCard, network: HeatmapNet, *, device: str = "cpu") -> None:
        self.card = card
        self._device = torch.device(device)
        self._network = network.eval()
        self._network.fold()
        self._network.to(self._device).to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, name: str = DEFAULT_DETECTOR, *, device: str = "cpu") -> Self:
        """Load a detector by the name of its weights directory, or the directory's path.

        Raises:
            WeightsUnavailable: no such weights, or a file of theirs is missing.
            WeightsCorrupt: the card is not valid, or the weights are not what it says.
        """
        directory = locate_weights(name)
        card = load_detector_card(directory)
        network = HeatmapNet(card.width)
        load_weights(network, directory / WEIGHTS_FILE, card.sha256)
        return cls(card, network, device=device)

    def detect(
        self,
        fields: NDArray[np.uint8],
        background: NDArray[np.floating],
        red_cell: NDArray[np.floating],
    ) -> list[list[Peak]]:
        """Leukocytes of fields of one slide.

        Args:
            fields: RGB at `card.um_per_px`, shape (N, height, width, 3), 0–255. N may be 0.
            background: RGB of the slide's glass, shape (3,), as `estimate_background` gives it.
            red_cell: density of the slide's red cells, shape (3,), as `estimate_red_cell` gives it.

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
        return self.decode(self.map_heat(relative_density(fields, background, red_cell)))

    @torch.inference_mode()
    def map_heat(self, density: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network says of fields, which may be of different slides.

        Args:
            density: as `relative_density` gives it, shape (N, 3, height, width), none of them 0.

        Returns:
            Heat, 0–1, and diameter, µm: shape (N, 2, ceil(height / 2), ceil(width / 2)).
        """
        height, width = density.shape[2:]
        padded = F.pad(torch.from_numpy(density), (0, -width % STRIDE, 0, -height % STRIDE))
        padded = padded.to(self._device, memory_format=torch.channels_last)
        out = self._network(padded)[
            ..., : -(-height // OUTPUT_STRIDE), : -(-width // OUTPUT_STRIDE)
        ]
        heat = out[:, 0].sigmoid()
        diameter_um = out[:, 1].clamp(-2.0, 2.0).exp() * MEAN_DIAMETER_UM
        maps: NDArray[np.float32] = torch.stack([heat, diameter_um], dim=1).cpu().numpy()
        return maps

    def decode(self, maps: NDArray[np.float32]) -> list[list[Peak]]:
        """Peaks of what `map_heat` returned, as `detect` returns them."""
        um_per_cell = self.card.um_per_px * OUTPUT_STRIDE
        reach = self.card.min_distance_um / um_per_cell
        return [
            decode_peaks(heat, diameter, self.card.threshold, reach)
            for heat, diameter in np.ascontiguousarray(maps)
        ]


def decode_peaks(
    heat: NDArray[np.float32], diameter_um: NDArray[np.float32], threshold: float, reach: float
) -> list[Peak]:
    """Peaks of one heat map.

    A cell of the map is a peak if it reaches the threshold and no higher cell lies within `reach`;
    of equal ones the upper, then the left one wins. The rule looks no further than `reach`, so
    peaks do not depend on where the map was cut. The centre is refined by a parabola through the
    peak and its neighbours in each direction.

    Args:
        heat: shape (rows, cols), 0–1, one cell per `OUTPUT_STRIDE` px.
        diameter_um: same shape.
        threshold: least heat.
        reach: cells; at least 1.

    Returns:
        Sorted by y, then x; field px.
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
    peaks = [
        Peak(
            x=(col + 0.5 + _vertex(padded[row + k, col + k - 1 : col + k + 2])) * OUTPUT_STRIDE,
            y=(row + 0.5 + _vertex(padded[row + k - 1 : row + k + 2, col + k])) * OUTPUT_STRIDE,
            diameter_um=float(diameter_um[row, col]),
            score=float(heat[row, col]),
        )
        for row, col in zip(rows[alive].tolist(), cols[alive].tolist(), strict=True)
    ]
    return sorted(peaks, key=lambda peak: (peak.y, peak.x))


def _vertex(heat: NDArray[np.float32]) -> float:
    """Offset in cells, -0.5 to 0.5, of the vertex of a parabola through three heats."""
    before, centre, after = (float(value) for value in heat)
    if before < 0.0 or after < 0.0:
        return 0.0
    curvature = before - 2.0 * centre + after
    return 0.5 * (before - after) / curvature if curvature < 0.0 else 0.0
