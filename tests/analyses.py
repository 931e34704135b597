"""Analyses and reports without a slide or a network, for tests of what comes after them."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from models.taxonomy import CODES, INDEX, CellClass
from service.contract.report import (
    ClassifierRecord,
    DetectorRecord,
    GroupErrors,
    ModelThresholds,
    RateOverPatients,
    RegionRecord,
    Report,
    Versions,
)
from service.contract.scan import RegionChoice, ScanParameters, Stage
from service.contract.settings import AnalysisSettings
from worker.cells import CellTable, ClassifiedCells
from worker.report import Analysis, build_report
from worker.slide.geometry import Size
from worker.slide.protocol import Level, SlideInfo

SETTINGS = AnalysisSettings()

SLIDE = SlideInfo(
    format="generic-tiled-tiff",
    reader="openslide 4.0.0",
    size=Size(60_000, 40_000),
    um_per_px=0.1,
    um_per_px_source="tiff:XResolution",
    levels=(Level(Size(60_000, 40_000), 1.0),),
    sha256="1" * 64,
    icc_profile=True,
)

REGION = RegionRecord(
    choice=RegionChoice.MONOLAYER,
    area_mm2=12.5,
    coverage=0.998,
    tiles=640,
    tiles_failed=1,
    doubtful_objects=7,
)

CLASSIFIER = ClassifierRecord(
    name="resnext50-tiny",
    version="1.0.0",
    sha256="2" * 64,
    network="resnext50_32x4d",
    patch_um=29,
    input_px=400,
    unsupported_classes=(CellClass.MOB, CellClass.PMB),
    thresholds=ModelThresholds(blast=0.5, atypical=0.4),
    blast_errors=GroupErrors(
        sensitivity=RateOverPatients(alpha=30.0, beta=10.0),
        specificity=RateOverPatients(alpha=95.0, beta=5.0),
        blank_specificity=RateOverPatients(alpha=195.0, beta=5.0),
    ),
)

DETECTOR = DetectorRecord(name="heatmap-tiny", version="1.0.0", sha256="3" * 64)


def certain(label: CellClass, probability: float = 1.0) -> np.ndarray:
    """Probabilities of one cell: `probability` for its class, the rest for NGS (or LYT)."""
    row = np.zeros(len(CODES), np.float32)
    row[INDEX[CellClass.LYT if label is CellClass.NGS else CellClass.NGS]] = 1 - probability
    row[INDEX[label]] += probability
    return row


def cells_of(*rows: np.ndarray) -> ClassifiedCells:
    """Cells with these probabilities, one below the other, in focus, away from edges."""
    n = len(rows)
    return ClassifiedCells(
        centres_l0=np.array([[500.0, 100.0 * (i + 1)] for i in range(n)]).reshape(n, 2),
        diameter_um=np.full(n, 12.0),
        detection_score=np.full(n, 0.9),
        probabilities=np.array(rows, np.float32).reshape(n, len(CODES)),
        edge=np.zeros(n, np.bool_),
        out_of_focus=np.zeros(n, np.bool_),
    )


def cells_with(counts: dict[CellClass, int]) -> ClassifiedCells:
    """That many cells of each class, each certain."""
    return cells_of(*(certain(code) for code, n in counts.items() for _ in range(n)))


def random_cells(n: int, seed: int = 0) -> ClassifiedCells:
    """A mixed smear: mostly neutrophils and lymphocytes, some blasts, all supported classes."""
    rng = np.random.default_rng(seed)
    usual = {
        CellClass.NGS: 40,
        CellClass.LYT: 22,
        CellClass.MYO: 8,
        CellClass.MON: 6,
        CellClass.NGB: 4,
        CellClass.KSC: 4,
        CellClass.EOS: 2,
        CellClass.EBO: 2,
    }
    unsupported = CLASSIFIER.unsupported_classes
    weights = np.array([0 if c in unsupported else usual.get(c, 0.7) for c in CODES])
    labels = rng.choice(len(CODES), n, p=weights / weights.sum())
    supported = weights > 0
    logits = rng.normal(0, 0.8, (n, len(CODES)))
    logits[np.arange(n), labels] += rng.gamma(3, 1.4, n)
    likely = np.where(supported, np.exp(logits), 0)
    size = SLIDE.size
    return ClassifiedCells(
        centres_l0=rng.uniform((0, 0), (size.width, size.height), (n, 2)),
        diameter_um=rng.normal(13, 2, n).clip(6, 25),
        detection_score=rng.beta(9, 1, n),
        probabilities=(likely / likely.sum(axis=1, keepdims=True)).astype(np.float32),
        edge=rng.random(n) < 0.02,
        out_of_focus=rng.random(n) < 0.03,
    )


def analysis_of(cells: ClassifiedCells, **changes: object) -> Analysis:
    """An analysis that found these cells."""
    analysis = Analysis(
        scan_id="scan-0001",
        analysed_at=datetime(2025, 1, 31, 9, 30, tzinfo=UTC),
        parameters=ScanParameters(),
        slide=SLIDE,
        region=REGION,
        classifier=CLASSIFIER,
        detector=DETECTOR,
        cells=cells,
        timings={Stage.OPENING: 0.4, Stage.MONOLAYER: 3.2, Stage.DETECTING: 8.1},
        versions=Versions(smearscan="0.1.0", python="3.11.7", libraries={"torch": "2.11.0"}),
    )
    return replace(analysis, **changes)  # type: ignore[arg-type]


def report_of(cells: ClassifiedCells, **changes: object) -> tuple[Report, CellTable]:
    """Report and cells of such an analysis."""
    return build_report(analysis_of(cells, **changes), SETTINGS)
