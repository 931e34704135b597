"""What computed a report: models and versions, as its records."""

import platform
from importlib.metadata import version
from typing import Final

from models.card import ClassifierCard, OperatingPoint, PatientRate
from models.detector_card import DetectorCard
from service.contract.report import (
    ClassifierRecord,
    DetectorRecord,
    GroupErrors,
    ModelThresholds,
    RateOverPatients,
    Versions,
)

LIBRARIES: Final = (
    "torch",
    "numpy",
    "openslide-python",
    "tifffile",
    "imagecodecs",
    "simplejpeg",
)
"""Those whose version can move a number in a report."""

UNCERTAIN_BELOW: Final = 0.5
"""Where a card does not say."""


def record_classifier(card: ClassifierCard) -> ClassifierRecord:
    """What a report says of a classifier."""
    return ClassifierRecord(
        name=card.name,
        version=card.version,
        sha256=card.sha256,
        network=card.network,
        patch_um=card.patch_um,
        input_px=card.input_px,
        unsupported_classes=card.unsupported_classes,
        thresholds=ModelThresholds(blast=card.blast.threshold, atypical=card.atypical.threshold),
        uncertain_below=card.abstention.below if card.abstention else UNCERTAIN_BELOW,
        unfamiliar_above=card.rejection.above if card.rejection else None,
        blast_errors=_record_errors(card.blast),
        atypical_errors=_record_errors(card.atypical),
    )


def _record_errors(point: OperatingPoint) -> GroupErrors | None:
    if point.errors is None:
        return None
    return GroupErrors(
        sensitivity=_record_rate(point.errors.sensitivity),
        specificity=_record_rate(point.errors.specificity),
        blank_specificity=_record_rate(point.errors.blank_specificity),
    )


def _record_rate(rate: PatientRate) -> RateOverPatients:
    return RateOverPatients(alpha=rate.alpha, beta=rate.beta)


def record_detector(card: DetectorCard) -> DetectorRecord:
    """What a report says of a detector."""
    return DetectorRecord(name=card.name, version=card.version, sha256=card.sha256)


def record_versions() -> Versions:
    """Versions of this software and of what its numbers depend on."""
    return Versions(
        smearscan=version("smearscan"),
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
    )
