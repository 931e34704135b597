from dataclasses import replace

import torch

from models.training.classifier.augment import augment
from models.training.classifier.recipe import Augmentation

STILL = Augmentation(
    scale=0, shift_um=0, stain_gain=0, stain_mix=0, glass=0, blur=0, noise=0, fade=0
)


def field_with_a_dot(px: int = 124) -> torch.Tensor:
    field = torch.full((1, 3, px, px), 0.9)
    field[:, :, px // 2 - 6 : px // 2 + 6, px // 2 - 6 : px // 2 + 6] = 0.2
    return field


def view(fields: torch.Tensor, how: Augmentation, seed: int = 0, px: int = 80) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return augment(fields, field_um=36.0, patch_um=29.0, px=px, how=how, generator=rng)


def test_the_cell_stays_at_the_centre_when_nothing_but_rotation_is_asked():
    seen = view(field_with_a_dot().expand(8, -1, -1, -1), STILL)
    axis = torch.arange(80) + 0.5
    dark = 0.9 - seen[:, 0]
    for weights in (dark.sum(1), dark.sum(2)):
        centre = (weights * axis).sum(1) / weights.sum(1)
        torch.testing.assert_close(centre, torch.full((8,), 40.0), atol=0.3, rtol=0)


def test_the_view_is_the_patch_not_the_field():
    dark_px = float((view(field_with_a_dot(), STILL) < 0.5)[0, 0].sum())
    expected = (12 * 36 / 124 / 29 * 80) ** 2
    assert abs(dark_px / expected - 1) < 0.1


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    fields = torch.rand(4, 3, 124, 124, generator=torch.Generator().manual_seed(1))
    assert torch.equal(view(fields, Augmentation(), 5), view(fields, Augmentation(), 5))
    assert not torch.equal(view(fields, Augmentation(), 5), view(fields, Augmentation(), 6))


def test_values_stay_between_black_and_white():
    fields = torch.rand(16, 3, 124, 124, generator=torch.Generator().manual_seed(1))
    seen = view(fields, Augmentation(stain_gain=0.5, noise=0.2))
    assert seen.shape == (16, 3, 80, 80)
    assert float(seen.min()) >= 0.0
    assert float(seen.max()) <= 1.0


def test_fading_leaves_the_cell_and_removes_the_neighbourhood():
    fields = torch.rand(4, 3, 124, 124, generator=torch.Generator().manual_seed(1))
    how = Augmentation(
        scale=0, shift_um=0, stain_gain=0, stain_mix=0, glass=0, blur=0, noise=0, fade=1
    )
    faded, plain = view(fields, how), view(fields, STILL)
    torch.testing.assert_close(
        faded[..., 36:44, 36:44], plain[..., 36:44, 36:44], atol=1e-3, rtol=0
    )
    assert float(faded[..., :4, :4].std(dim=(2, 3)).max()) < 0.01 < float(plain[..., :4, :4].std())


def test_an_unsharp_mask_brightens_the_glass_beside_a_cell_and_leaves_flat_glass_alone():
    fields = field_with_a_dot().expand(16, -1, -1, -1)
    plain, sharp = view(fields, STILL), view(fields, replace(STILL, sharpen=1.0))
    assert float(sharp.max()) > float(plain.max()) + 0.02
    assert float(sharp.min()) < float(plain.min()) - 0.02
    torch.testing.assert_close(sharp[:, :, 0, 0], plain[:, :, 0, 0])
