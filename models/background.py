"""The colour of bare glass, the zero of every optical density."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

HISTOGRAM_SIGMA: Final = 2.0
"""Smoothing of the brightness histogram, grey levels: wider than JPEG noise, narrower than the
gap between glass and the palest red cells seen (20 levels, Chula fields)."""

MIN_PEAK: Final = 0.1
"""A peak counts from this share of the highest one: glare and dust are brighter than glass, few."""

PEAK_HALF_WIDTH: Final = 6
"""Pixels this many grey levels around the peak are taken to be glass."""

MAX_ABOVE: Final = 0.02
"""White is padding, not glass, if at most this share of the other pixels lies between both."""


def estimate_background(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour of the glass between the cells: the brightest well-populated mode of brightness.

    A mode and not a percentile, so that it holds whether cells cover 2 % or 90 % of the field.
    Exactly white pixels are ignored as padding where a gap separates them from the rest.

    Args:
        rgb: shape (H, W, 3) or any (..., 3), 0–255.

    Returns:
        Shape (3,), 0–255: per channel the median of the pixels at that mode.

    Raises:
        ValueError: not (..., 3), or no pixels.
    """
    if rgb.shape[-1:] != (3,) or rgb.size == 0:
        raise ValueError(f"an RGB image is needed to find the glass, got shape {rgb.shape}")
    pixels = rgb.reshape(-1, 3)
    brightness = (pixels.astype(np.uint16).sum(axis=1) + 1) // 3
    padding = brightness == 255
    if padding.any() and not padding.all():
        peak = _brightest_peak(brightness[~padding])
        between = np.mean(brightness[~padding] > peak + PEAK_HALF_WIDTH)
        if between <= MAX_ABOVE:
            pixels, brightness = pixels[~padding], brightness[~padding]
    glass = np.abs(brightness - float(_brightest_peak(brightness))) <= PEAK_HALF_WIDTH
    background: NDArray[np.float32] = np.median(pixels[glass], axis=0).astype(np.float32)
    return background


def _brightest_peak(brightness: NDArray[np.uint16]) -> int:
    """Grey level of the brightest local maximum of the smoothed histogram."""
    counts = np.bincount(brightness, minlength=256).astype(float)
    smooth = np.pad(gaussian_filter1d(counts, HISTOGRAM_SIGMA, mode="constant"), 1)
    inner = smooth[1:-1]
    peaks = (inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner >= MIN_PEAK * inner.max())
    return int(np.flatnonzero(peaks).max())
