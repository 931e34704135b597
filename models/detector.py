"""Where leukocytes are in a field of pixels: a heat map's peaks, each looked at a second time.

Coordinates are those of `models.decoding`.
"""

from typing import Final, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from models.catalogue import DEFAULT_DETECTOR, WEIGHTS_FILE, locate_weights
from models.checkpoint import load_weights
from models.decoding import PEAK_REACH, find_peaks, join_verdicts, read_peaks
from models.density import relative_density
from models.detector_card import DetectorCard, check_fields, load_detector_card
from models.nets.fusing import fuse_layers
from models.nets.heatmap import (
    MEAN_DIAMETER_UM,
    OUTPUT_STRIDE,
    RECEPTIVE_RADIUS_PX,
    STRIDE,
    HeatmapNet,
)
from models.nets.verifier import VerifierNet
from models.peak import Peak
from models.verifier import CROP_PX, verify

REACH_PX: Final = max(
    RECEPTIVE_RADIUS_PX + OUTPUT_STRIDE * (PEAK_REACH + 1), CROP_PX / 2 + OUTPUT_STRIDE
)
"""Farthest px that a peak hangs on: its centre lies at most a cell of the heat map beside its own,
that is a peak by the heat of those within `PEAK_REACH`, and each heat hangs on px within
`RECEPTIVE_RADIUS_PX`. The second look reaches less far."""

MARGIN_PX: Final = STRIDE * int(np.ceil(REACH_PX / STRIDE))
"""Least margin of a tile at which a peak does not depend on the tile: a multiple of `STRIDE`."""


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
        network: with its weights; is set to inference mode and its layers are fused.
        device: "cpu", "cuda", ...
    """

    def __init__(self, card: DetectorCard, network: DetectorNet, *, device: str = "cpu") -> None:
        self.card = card
        self._device = torch.device(device)
        self._network = network.eval()
        fuse_layers(self._network)
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
            For each field its peaks down to a score of `card.doubtful`, each judged by itself,
            sorted by y, then x; several may be of one cell. `judge_peaks` of `models.peak` says
            which are leukocytes. Peaks within `card.margin_px` of the field's edge may depend on
            what lies beyond it, which is taken for glass.

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
        for field, (heat, _), score in zip(density, maps, scores[:, 0], strict=True):
            rows, cols = find_peaks(heat, self.card.candidate, PEAK_REACH)
            wanted = _within(rows, field.shape[1], rim_px) & _within(cols, field.shape[2], rim_px)
            rows, cols = rows[wanted], cols[wanted]
            verdict = verify(self._network.verifier, field, rows, cols, self._device)
            score[rows, cols] = join_verdicts(heat[rows, cols], verdict, self.card.verdict_weight)
        return np.concatenate([maps, scores], axis=1)

    def decode(self, maps: NDArray[np.float32]) -> list[list[Peak]]:
        """Peaks of what `map_cells` returned, as `detect` returns them."""
        return [read_peaks(*planes, threshold=self.card.doubtful) for planes in maps]


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


def _within(cells: NDArray[np.intp], field_px: int, rim_px: int) -> NDArray[np.bool_]:
    """Which rows or columns of a heat map may have a peak's centre that is no rim's.

    A centre lies up to half a cell beside the middle of its own.
    """
    return ((cells + 1) * OUTPUT_STRIDE > rim_px) & (cells * OUTPUT_STRIDE < field_px - rim_px)
