from pathlib import Path

import numpy as np
import openslide
import pytest

from models.taxonomy import CellClass
from worker.demo import GIEMSA, DemoTruth, Zone, load_truth, write_demo_slide


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoTruth]:
    path = tmp_path_factory.mktemp("demo") / "smear.tiff"
    return path, write_demo_slide(path, mm2=0.08, seed=7, leukocytes=14, blast_fraction=0.25)


def crop(path: Path, x: float, y: float, half: int) -> np.ndarray:
    with openslide.OpenSlide(path) as source:
        corner = (int(x) - half, int(y) - half)
        region = source.read_region(corner, 0, (2 * half, 2 * half))
        return np.asarray(region.convert("RGB")).astype(float)


def test_openslide_sees_the_scale_and_size_of_the_truth(slide: tuple[Path, DemoTruth]) -> None:
    path, truth = slide
    with openslide.OpenSlide(path) as source:
        assert source.dimensions == (truth.width, truth.height)
        assert float(source.properties["openslide.mpp-x"]) == pytest.approx(0.0725)
        assert source.level_downsamples == tuple(2.0**n for n in range(source.level_count))


def test_the_area_is_the_one_asked_for(slide: tuple[Path, DemoTruth]) -> None:
    _, truth = slide
    area_mm2 = truth.width * truth.height * truth.um_per_px**2 / 1e6
    assert area_mm2 == pytest.approx(0.08, rel=0.06)


def test_every_planted_cell_is_dark_and_purple_where_the_truth_says(
    slide: tuple[Path, DemoTruth],
) -> None:
    path, truth = slide
    for cell in truth.leukocytes:
        half = int(0.35 * cell.diameter_um / truth.um_per_px)
        pixels = crop(path, cell.x_px, cell.y_px, half)
        nuclear = (pixels[..., 0] < 150) & (pixels[..., 2] > pixels[..., 1] + 30)
        assert nuclear.mean() > 0.15, cell


def test_bare_glass_is_bright(slide: tuple[Path, DemoTruth]) -> None:
    path, truth = slide
    assert crop(path, truth.width - 30, truth.height / 2, 20).mean() > 200


def test_the_truth_file_returns_what_was_written(slide: tuple[Path, DemoTruth]) -> None:
    path, truth = slide
    assert load_truth(path) == truth


def test_the_blast_fraction_is_planted(slide: tuple[Path, DemoTruth]) -> None:
    _, truth = slide
    codes = [cell.code for cell in truth.leukocytes]
    assert len(codes) == 14
    counted = [code for code in codes if code not in {CellClass.EBO, CellClass.KSC}]
    assert codes.count(CellClass.MYO) == round(0.25 * len(counted))


def test_one_seed_gives_one_file(tmp_path: Path) -> None:
    for name in ("a.tiff", "b.tiff"):
        write_demo_slide(tmp_path / name, mm2=0.02, seed=3, leukocytes=1)
    assert (tmp_path / "a.tiff").read_bytes() == (tmp_path / "b.tiff").read_bytes()


def test_another_seed_gives_another_slide(tmp_path: Path) -> None:
    for seed in (3, 4):
        write_demo_slide(tmp_path / f"{seed}.tiff", mm2=0.02, seed=seed, leukocytes=1)
    assert (tmp_path / "3.tiff").read_bytes() != (tmp_path / "4.tiff").read_bytes()


def test_a_slide_without_leukocytes_has_no_nuclei(tmp_path: Path) -> None:
    path = tmp_path / "empty.tiff"
    truth = write_demo_slide(path, mm2=0.02, seed=1, leukocytes=0)
    assert truth.leukocytes == ()
    with openslide.OpenSlide(path) as source:
        pixels = np.asarray(source.read_region((0, 0), 0, source.dimensions).convert("RGB"))
    nuclear = (pixels[..., 0] < 110) & (pixels[..., 2] > pixels[..., 1].astype(int) + 60)
    assert nuclear.mean() < 0.002


def test_another_stain_is_named_and_seen(tmp_path: Path) -> None:
    path = tmp_path / "cool.tiff"
    truth = write_demo_slide(path, mm2=0.02, seed=1, leukocytes=0, stain=GIEMSA)
    assert truth.stain == "giemsa"
    glass = crop(path, truth.width - 30, truth.height / 2, 20).reshape(-1, 3).mean(axis=0)
    assert glass[2] > glass[1] - 5


def test_a_coarser_scale_draws_the_same_area_with_fewer_pixels(tmp_path: Path) -> None:
    truth = write_demo_slide(tmp_path / "c.tiff", mm2=0.5, seed=1, leukocytes=3, um_per_px=0.25)
    assert truth.width * truth.height * 0.25**2 / 1e6 == pytest.approx(0.5, rel=0.06)


def test_most_cells_lie_in_the_monolayer(tmp_path: Path) -> None:
    truth = write_demo_slide(tmp_path / "m.tiff", mm2=1.0, seed=2, leukocytes=60, um_per_px=0.5)
    assert len(truth.cells_in(Zone.MONOLAYER)) > 30
    assert truth.cells_in(Zone.GLASS) == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mm2": 0.0}, "mm2"),
        ({"seed": -1}, "seed"),
        ({"um_per_px": 0.019}, "um_per_px"),
        ({"um_per_px": 1.01}, "um_per_px"),
        ({"leukocytes": -1}, "leukocytes"),
        ({"blast_fraction": 1.01}, "blast_fraction"),
        ({"leukocytes": 10_000}, "lie over each other"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, wrong: dict[str, float], message: str
) -> None:
    arguments = {"mm2": 0.05, "seed": 1, **wrong}
    with pytest.raises(ValueError, match=message):
        write_demo_slide(tmp_path / "x.tiff", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
