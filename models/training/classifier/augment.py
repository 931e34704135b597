"""Random changes of a batch of crops that leave the cell's class as it is.

Colour changes happen in optical density, −log(intensity), where stain adds up (Beer–Lambert; the
space of Ruifrok and Johnston 2001).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.training.classifier.recipe import Augmentation


def augment(
    fields: Tensor,
    *,
    field_um: float,
    patch_um: float,
    px: int,
    how: Augmentation,
    generator: torch.Generator,
) -> Tensor:
    """One random view of every field.

    Args:
        fields: (N, 3, H, H) in 0–1, each `field_um` wide, the cell at its centre.
        field_um: width of a field, µm; wider than `patch_um` leaves room to rotate.
        patch_um: width of the view, µm.
        px: width of the view, px.
        how: strengths.
        generator: the only source of randomness, on the device of the fields.

    Returns:
        (N, 3, px, px) in 0–1.
    """
    views = _move(fields, field_um=field_um, patch_um=patch_um, px=px, how=how, rng=generator)
    views = _fade(views, patch_um=patch_um, how=how, rng=generator)
    views = _stain(views, how=how, rng=generator)
    views = _blur(views, how=how, rng=generator)
    if how.sharpen:
        views = _sharpen(views, how=how, rng=generator)
    sigma = how.noise * _uniform((len(views), 1, 1, 1), generator)
    return (views + sigma * _normal(views.shape, generator)).clamp_(0.0, 1.0)


def _move(
    fields: Tensor,
    *,
    field_um: float,
    patch_um: float,
    px: int,
    how: Augmentation,
    rng: torch.Generator,
) -> Tensor:
    """Rotate by any angle, mirror, magnify and shift; one interpolation for all."""
    n = len(fields)
    angle = _uniform(n, rng) * (2 * torch.pi)
    mirror = torch.randint(0, 2, (n,), generator=rng, device=rng.device) * 2.0 - 1.0
    magnification = torch.exp(_normal(n, rng) * how.scale)
    extent = patch_um / field_um / magnification
    shift = _normal((n, 2), rng) * (2 * how.shift_um / field_um)
    cos, sin = torch.cos(angle) * extent, torch.sin(angle) * extent
    rows = [
        torch.stack([cos * mirror, -sin, shift[:, 0]], 1),
        torch.stack([sin * mirror, cos, shift[:, 1]], 1),
    ]
    theta = torch.stack(rows, 1)
    if fields.shape[-1] * patch_um / field_um >= 2 * px:
        fields = F.avg_pool2d(fields, 2)
    grid = F.affine_grid(theta, [n, 3, px, px], align_corners=False)
    return F.grid_sample(fields, grid, padding_mode="reflection", align_corners=False)


def _fade(views: Tensor, *, patch_um: float, how: Augmentation, rng: torch.Generator) -> Tensor:
    """Blend everything outside a circle of 8–12 µm radius into the patch's own glass colour."""
    n, _, px, _ = views.shape
    axis = ((torch.arange(px, device=rng.device) + 0.5) / px - 0.5) * patch_um
    distance_um = torch.hypot(axis[None, :], axis[:, None])
    radius_um = 8.0 + 4.0 * _uniform((n, 1, 1, 1), rng)
    chosen = _uniform((n, 1, 1, 1), rng) < how.fade
    outside = torch.sigmoid((distance_um - radius_um) * 4.0) * chosen
    glass = views[:, :, ::4, ::4].flatten(2).quantile(0.95, dim=2)[:, :, None, None]
    return views * (1.0 - outside) + glass * outside


def _stain(views: Tensor, *, how: Augmentation, rng: torch.Generator) -> Tensor:
    """Change each image's stain strengths, stain hues and glass colour."""
    n = len(views)
    density = -torch.log(views.clamp_min(1 / 255))
    mix = torch.eye(3, device=rng.device) + how.stain_mix * _normal((n, 3, 3), rng)
    gain = torch.exp(how.stain_gain * _normal((n, 3, 1), rng))
    overall = torch.exp(how.stain_gain * _normal((n, 1, 1), rng))
    glass = how.glass * _normal((n, 3, 1, 1), rng)
    density = torch.einsum("nij,njhw->nihw", mix * gain * overall, density) + glass
    return torch.exp(-density).clamp_(0.0, 1.0)


def _blur(views: Tensor, *, how: Augmentation, rng: torch.Generator) -> Tensor:
    """Blur a share of the batch, one sigma for all of it."""
    chosen = _uniform(len(views), rng) < how.blur
    sigma = 0.3 + 1.2 * float(_uniform((), rng))
    if not chosen.any():
        return views
    views = views.clone()
    views[chosen] = _smooth(views[chosen], sigma)
    return views


def _sharpen(views: Tensor, *, how: Augmentation, rng: torch.Generator) -> Tensor:
    """Add to a share of the batch what a blur would take away, one sigma for all of it."""
    chosen = _uniform(len(views), rng) < how.sharpen
    sigma = 0.5 + 1.5 * float(_uniform((), rng))
    amount = 2.0 * _uniform((len(views), 1, 1, 1), rng)
    if not chosen.any():
        return views
    some = views[chosen]
    views = views.clone()
    views[chosen] = (some + amount[chosen] * (some - _smooth(some, sigma))).clamp_(0.0, 1.0)
    return views


def _smooth(views: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` px, cut at 4 px."""
    taps = torch.exp(-0.5 * (torch.arange(-4, 5, device=views.device) / sigma) ** 2)
    taps = (taps / taps.sum()).to(views.dtype)
    some = F.pad(views, (4, 4, 4, 4), mode="replicate")
    some = F.conv2d(some, taps.view(1, 1, 1, 9).expand(3, 1, 1, 9), groups=3)
    return F.conv2d(some, taps.view(1, 1, 9, 1).expand(3, 1, 9, 1), groups=3)


def _uniform(shape: int | tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, device=rng.device)


def _normal(shape: int | tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, device=rng.device)
