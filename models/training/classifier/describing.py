"""What a card says in words of its recipe, its training data and their limits."""

from collections.abc import Mapping
from typing import Final

from models.card import StainReference, TrainingSource
from models.taxonomy import BLAST, CODES, CellClass
from models.training.classifier.recipe import Recipe

CITATIONS: Final = {
    "deepapl": (
        "no licence granted; images are not redistributed",
        "Sidhom et al. 2021, github sidhomj/DeepAPL; CellaVision, 82 acute-leukemia patients",
    ),
    "pbc": (
        "CC BY 4.0",
        "Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1; CellaVision, healthy donors",
    ),
    "lmu": (
        "CC BY 3.0",
        "Matek et al. 2019, TCIA AML-Cytomorphology_LMU, doi 10.7937/tcia.2019.36f5o9ld",
    ),
}
"""Licence and citation of the sources this project knows."""

STAINS: Final = {
    "deepapl": StainReference(
        mean=(4.71, 4.02, 4.90, 5.54, 5.44, 5.32), spread=(0.17, 0.25, 0.06, 0.03, 0.03, 0.03)
    ),
    "pbc": StainReference(
        mean=(4.56, 3.81, 4.94, 5.54, 5.44, 5.32), spread=(0.19, 0.35, 0.05, 0.03, 0.03, 0.03)
    ),
}
"""Of the same sources, as `python -m benchmarks.stain_reference ../shared/data` prints them. A
spread is at least 0.03: no lamp is steadier from day to day."""

UNKNOWN_LICENCE: Final = "unknown: state it before sharing"

_SOURCE_LIMITS: Final = (
    (
        {"deepapl", "pbc"},
        "All sources were scanned by CellaVision instruments.",
    ),
    ({"lmu"}, "All cells come from one laboratory and one scanner."),
)
"""Said where no other source took part in training."""


def describe_recipe(recipe: Recipe, epochs: int) -> str:
    """What the run did, in a line.

    Args:
        recipe: of the run.
        epochs: it ran, fewer than the recipe's if it stopped early.
    """
    weights = (
        f"moving average {recipe.ema_decay:g}" if recipe.ema_decay else "weights of the last step"
    )
    sizes = " → ".join(str(px) for _, px in recipe.stages)
    early = (
        f" of {recipe.epochs}, stopped by training cells kept aside"
        if epochs < recipe.epochs
        else ""
    )
    start = {"imagenet": "ImageNet weights", "random": "random weights"}.get(
        recipe.init, f"the weights {recipe.init_weights}"
    )
    taught = (
        f", {recipe.teaching.share:.0%} of it against what networks that had not seen a cell say"
        if recipe.teaching
        else ""
    )
    return (
        f"{recipe.name}: {epochs} epochs{early}, input {sizes} px, from {start},"
        f" {recipe.loss.kind.replace('_', ' ')}{taught}, seed {recipe.seed}, {weights}; none picked"
        " on validation cells"
    )


def describe_limitations(counts: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """What a reader of results must know of the training data.

    Args:
        counts: training cells per source and class.
    """
    present = {code for source in counts.values() for code in source}
    missing = ", ".join(code for code in CODES if code not in present)
    limits: list[str] = []
    if missing:
        limits.append(f"No training cells of {missing}: these classes are never named.")
    limits += [text for sources, text in _SOURCE_LIMITS if set(counts) <= sources and counts]
    limits.append(
        "Published transfer to other scanners loses a third to three quarters of macro-F1:"
        " expect worse elsewhere."
    )
    if "deepapl" in counts:
        limits.append(
            "Labels of deepapl are a routine laboratory's, one reader each; stain debris sits under"
            " some basophil and eosinophil labels."
        )
    with_blasts = [name for name, classes in counts.items() if BLAST & set(map(CellClass, classes))]
    if len(with_blasts) == 1 and len(counts) > 1:
        limits.append(
            f"Blasts come from {with_blasts[0]} only, so some of the blast AUC may be the"
            " laboratory's look."
        )
    return tuple(limits)


def describe_source(name: str, counts: Mapping[str, int]) -> TrainingSource:
    """A source as the card lists it.

    Args:
        name: of the source; one this project does not know gets `UNKNOWN_LICENCE`.
        counts: its training cells per class.
    """
    licence, citation = CITATIONS.get(name, (UNKNOWN_LICENCE, name))
    return TrainingSource(
        source=name,
        cells=sum(counts.values()),
        licence=licence,
        citation=citation,
        stain=STAINS.get(name),
    )
