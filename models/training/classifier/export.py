"""From a finished training run to weights that can be served: calibrate, measure, write a card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import ClassifierCard
from models.catalogue import CARD_FILE, WEIGHTS_FILE
from models.checkpoint import load_weights, save_weights
from models.golden import write_golden
from models.predictor import Classifier
from models.taxonomy import ATYPICAL, BLAST
from models.training.classifier.calibration import CalibrationError, calibrate, sharpen
from models.training.classifier.describing import (
    describe_limitations,
    describe_recipe,
    describe_source,
)
from models.training.classifier.run import (
    DATA,
    FINISHED,
    UNSET,
    load_run,
    read_recipe,
    read_record,
)
from models.training.data.manifest import LabelledCell, Stranger
from models.training.evaluation.bootstrap import REPLICATES, SEED
from models.training.evaluation.cell_figures import Part, measure_cells
from models.training.evaluation.predictions import Predictions, predict_cells
from models.training.evaluation.rejection import (
    StrangerPredictions,
    choose_rejection,
    predict_strangers,
)
from models.training.evaluation.source_figures import complete_figures


@dataclass(frozen=True, slots=True)
class Validation:
    """Cells that took no part in training, and what they are used for.

    Attributes:
        cells: of any source; each source with a cell is measured in the card.
        temperature_sources: whose cells set the temperature, each source with equal weight.
        threshold_source: whose cells set the thresholds.
        strangers: crops of none of the classes, to measure rejection on.
    """

    cells: Sequence[LabelledCell]
    temperature_sources: Sequence[str]
    threshold_source: str
    strangers: Sequence[Stranger] = ()


def plan_validation(
    cells: Sequence[LabelledCell],
    *,
    temperature_sources: Sequence[str] = (),
    threshold_source: str = "",
    strangers: Sequence[Stranger] = (),
) -> Validation:
    """What validation cells are used for, where it is not said.

    All sources set the temperature. The one source that has cells inside and outside both groups
    sets the thresholds.

    Raises:
        CalibrationError: no source can set the thresholds, or several can.
    """
    sources = sorted({cell.source for cell in cells})
    if not threshold_source:
        able = [
            source
            for source in sources
            if all(
                {cell.label in group for cell in cells if cell.source == source} == {True, False}
                for group in (BLAST, ATYPICAL)
            )
        ]
        if len(able) != 1:
            raise CalibrationError(
                f"thresholds can be set on {' or '.join(able) or 'no source'} of"
                f" {', '.join(sources) or 'no cells'}: name one that has cells inside and outside"
                " both groups"
            )
        threshold_source = able[0]
    return Validation(cells, temperature_sources or sources, threshold_source, strangers)


def export_classifier(
    run: Path, directory: Path, *, validation: Validation, version: str
) -> ClassifierCard:
    """Write `weights.safetensors`, `golden.json` and `card.json` of a training run.

    The network is the one the run ended with: no epoch is picked on validation cells. Temperature
    and thresholds are found on all validation cells; the card's sensitivity, specificity and
    calibration error are cross-fitted (`models.training.classifier.calibration`).

    Args:
        run: directory that `fit` wrote.
        directory: to write, named like the weights.
        validation: cells that took no part in training.
        version: of the weights.

    Raises:
        RunError: there is no run, or it is not finished.
        CalibrationError: a source has no cells, or none inside or outside a group.
    """
    recipe = read_recipe(run)
    counts: dict[str, dict[str, int]] = read_record(run, DATA)["counts"]
    classifier = load_run(run)
    return write_weights(
        classifier,
        directory,
        validation=validation,
        changes={
            "version": version,
            "training": tuple(describe_source(name, counts[name]) for name in sorted(counts)),
            "recipe": describe_recipe(recipe, read_record(run, FINISHED)["epochs"]),
            "limitations": describe_limitations(counts),
        },
    )


def recalibrate_classifier(
    weights: Path, directory: Path, *, validation: Validation, version: str
) -> ClassifierCard:
    """Measure and calibrate weights that are there, anew; the tensors stay as they are.

    Args:
        weights: directory to read.
        directory: to write, may be the same.
        validation: cells that took no part in training.
        version: of the weights.

    Raises:
        WeightsUnavailable, WeightsCorrupt: the weights cannot be loaded.
        CalibrationError: a source has no cells, or none inside or outside a group.
    """
    served = Classifier.load(str(weights), root=weights.parent)
    plain = served.card.model_copy(update={"temperature": 1.0})
    return write_weights(
        Classifier(served.network, plain),
        directory,
        validation=validation,
        changes={"version": version},
    )


def write_refitted(classifier: Classifier, directory: Path, *, how: str) -> ClassifierCard:
    """Write a classifier whose last layer is new as weights to be calibrated.

    Args:
        classifier: loaded weights, the layer replaced.
        directory: to write, named like the weights.
        how: it was fitted, for the card.
    """
    card = classifier.card
    plain = card.model_copy(
        update={
            "temperature": 1.0,
            "calibration": "none: refitted, to be calibrated",
            "blast": UNSET,
            "atypical": UNSET,
            "abstention": None,
            "rejection": None,
            "evaluation": {},
        }
    )
    return write_weights(
        Classifier(classifier.network, plain),
        directory,
        validation=None,
        changes={"recipe": f"{card.recipe}; {how}"},
    )


def write_weights(
    classifier: Classifier,
    directory: Path,
    *,
    validation: Validation | None,
    changes: Mapping[str, Any],
) -> ClassifierCard:
    """Save a classifier as weights, calibrated and measured where there are cells to do it on.

    All figures are of the saved weights, which are of half precision, not of those in memory. The
    card is written last: a directory without one is not taken for weights.

    Args:
        classifier: on the CPU; holds the saved weights afterwards.
        directory: to write, named like the weights.
        validation: None leaves temperature and operating points as the classifier's card has them.
        changes: further fields of the card.

    Raises:
        CalibrationError: a source has no cells, or none inside or outside a group.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CARD_FILE).unlink(missing_ok=True)
    sha256 = save_weights(classifier.network, directory / WEIGHTS_FILE)
    load_weights(classifier.network, directory / WEIGHTS_FILE, sha256)
    fields = classifier.card.model_dump() | {"name": directory.name, "sha256": sha256, **changes}
    card = ClassifierCard.model_validate(fields)
    if validation is not None:
        card = _calibrated(Classifier(classifier.network, card), validation)
    write_golden(Classifier(classifier.network, card), directory)
    (directory / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return card


def _calibrated(classifier: Classifier, validation: Validation) -> ClassifierCard:
    """The card with temperature, operating points and evaluation; its temperature must be 1."""
    card = classifier.card
    found = predict_cells(classifier, validation.cells)
    calibration = calibrate(
        found,
        temperature_sources=validation.temperature_sources,
        threshold_source=validation.threshold_source,
    )
    served = Predictions(
        found.cells, sharpen(found.probabilities, calibration.temperature), found.unreadable
    )
    detail = {
        source: measure_cells(
            [Part(served.of_source(source), None, frozenset(card.unsupported_classes))],
            replicates=REPLICATES,
            seed=SEED,
        )
        for source in served.sources
    }
    measured = complete_figures(
        served.per_source(card), detail, served, temperature=calibration.temperature
    )
    strange = predict_strangers(classifier, validation.strangers)
    return card.model_copy(
        update={
            "temperature": calibration.temperature,
            "calibration": calibration.how,
            "blast": calibration.blast,
            "atypical": calibration.atypical,
            "abstention": calibration.abstention,
            "rejection": choose_rejection(
                served,
                StrangerPredictions(
                    strange.strangers, sharpen(strange.probabilities, calibration.temperature)
                ),
                source=validation.threshold_source,
            ),
            "evaluation": {
                source: figures.model_copy(update={"ece": calibration.ece.get(source)})
                for source, figures in measured.items()
            },
        }
    )
