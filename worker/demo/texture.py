"""Random fields from which chromatin, cytoplasm and outlines get their grain."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Field = NDArray[np.float32]

PERIOD_PX: Final = 1024


@lru_cache(maxsize=1)
def _white_spectrum() -> NDArray[np.complex64]:
    white = np.random.default_rng(20190).standard_normal((PERIOD_PX, PERIOD_PX), np.float32)
    return np.asarray(fft.rfft2(white), np.complex64)


@lru_cache(maxsize=24)
def _periodic_noise(scale_px: float) -> Field:
    """Gaussian noise smoothed to a scale, zero mean, unit variance, periodic in `PERIOD_PX`."""
    down = fft.fftfreq(PERIOD_PX)[:, None]
    across = fft.rfftfreq(PERIOD_PX)[None, :]
    response = np.exp(-2 * (np.pi * scale_px) ** 2 * (down**2 + across**2)).astype(np.float32)
    response[0, 0] = 0
    smooth = fft.irfft2(_white_spectrum() * response, (PERIOD_PX, PERIOD_PX))
    return np.asarray(smooth / smooth.std(), np.float32)


def draw_noise(rng: np.random.Generator, edge_px: int, scale_px: float) -> Field:
    """A window of smooth noise.

    Args:
        rng: chooses the window.
        edge_px: of the square window.
        scale_px: standard deviation of the smoothing; grains are about three times as wide.

    Returns:
        Shape (edge_px, edge_px), zero mean and unit variance over the whole field.
    """
    noise = _periodic_noise(round(scale_px, 1))
    left, top = rng.integers(0, PERIOD_PX, 2)
    along = np.arange(edge_px)
    window = noise[np.ix_((top + along) % PERIOD_PX, (left + along) % PERIOD_PX)]
    return window.T if rng.random() < 0.5 else window


def scatter_grains(
    rng: np.random.Generator, where: NDArray[np.bool_], count: int, radius_px: float
) -> Field:
    """Soft round grains strewn over a mask.

    Args:
        rng: places them and varies their strength.
        where: boolean mask of shape (h, w) of allowed centres.
        count: how many; none if the mask is empty.
        radius_px: at which a grain has faded to about a quarter.

    Returns:
        Shape (h, w), 0 where there is no grain, about 1 at a grain's centre.
    """
    field = np.zeros(where.shape, np.float32)
    places = np.flatnonzero(where)
    if len(places) == 0 or count <= 0:
        return field
    chosen = rng.choice(places, count)
    np.add.at(field.reshape(-1), chosen, rng.uniform(0.7, 1.3, count).astype(np.float32))
    sigma = 0.6 * radius_px
    blurred = ndimage.gaussian_filter(field, sigma, mode="constant", truncate=3)
    return np.asarray(blurred * (2 * np.pi * sigma**2), np.float32)


def soft_step(distance_px: Field, width_px: float) -> Field:
    """1 inside (distance below zero), 0 outside, with a smooth edge of a given width."""
    return np.asarray(1 / (1 + np.exp(np.clip(distance_px / width_px, -30, 30))), np.float32)
