"""`docs/model-card.md`: a classifier's card in words, from `card.json` and nothing else."""

from collections.abc import Iterable, Mapping

from models.card import ClassifierCard, GroupErrors, OperatingPoint, SourceEvaluation
from models.taxonomy import CODES

BEGIN = "<!-- from card.json: `smearscan train model-card` writes what follows -->"
END = "<!-- end of card.json -->"

_FIGURES = (
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("macro-F1", "macro_f1"),
    ("blast AUC", "blast_auc"),
    ("atypical AUC", "atypical_auc"),
    ("ECE before calibration", "ece_uncalibrated"),
    ("ECE, cross-fitted", "ece"),
)


def render_card(card: ClassifierCard) -> str:
    """Everything the card holds of figures, as Markdown between `BEGIN` and `END`."""
    parts = [
        BEGIN,
        f"`{card.name}`, version {card.version}: {card.network}, input {card.input_px} px of"
        f" {card.patch_um:g} µm. {card.recipe}.",
        f"Weights: SHA-256 `{card.sha256}`. {card.statement}",
        _table(
            ("", *card.evaluation),
            [
                ("cells", *(str(one.n) for one in card.evaluation.values())),
                *(
                    (title, *(_figure(one, name) for one in card.evaluation.values()))
                    for title, name in _FIGURES
                ),
                *_cuts(card.evaluation),
            ],
        ),
        "Intervals: 95 %, bootstrap over patients where known, else over cells; of sensitivities"
        " exact, cells taken as independent.",
        "Labels by their probability, share of cells that have at least so much and share of these"
        " that are right:",
        _table(("at least", *card.evaluation), _risk(card.evaluation)),
        "Recall by class, of so many cells:",
        _table(("", *card.evaluation), _recall(card.evaluation)),
        f"Temperature {card.temperature:.3f}: {card.calibration}.",
        _point("Blasts", card.blast),
        _point("Atypical cells", card.atypical),
        *_flags(card),
        "\n".join(f"- {text}" for text in card.limitations),
        "\n".join(
            f"- {one.source}: {one.cells} training cells; {one.licence}; {one.citation}"
            for one in card.training
        ),
        END,
    ]
    return "\n\n".join(parts) + "\n"


def replace_figures(page: str, card: ClassifierCard) -> str:
    """A page with its part between the markers written anew.

    Raises:
        ValueError: the markers are not there, in their order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN!r} or {END!r}")
    return before + render_card(card).rstrip("\n") + after


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = tuple(head)
    lines = [first, ("---",) * len(first), *(tuple(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(one: SourceEvaluation, name: str) -> str:
    value: float | None = getattr(one, name)
    if value is None:
        return "–"
    ends = one.intervals.get(name)
    return f"{value:.3f}" + (f" ({ends[0]:.3f}–{ends[1]:.3f})" if ends else "")


def _cuts(evaluation: Mapping[str, SourceEvaluation]) -> Iterable[tuple[str, ...]]:
    asked = sorted({(c.group, c.specificity) for one in evaluation.values() for c in one.cuts})
    for group, specificity in asked:
        found = [
            next((c for c in one.cuts if (c.group, c.specificity) == (group, specificity)), None)
            for one in evaluation.values()
        ]
        yield (
            f"{group} sensitivity at specificity {specificity:g}",
            *(
                f"{c.sensitivity:.3f} ({c.ci95[0]:.3f}–{c.ci95[1]:.3f})" if c else "–"
                for c in found
            ),
        )


def _risk(evaluation: Mapping[str, SourceEvaluation]) -> Iterable[tuple[str, ...]]:
    limits = sorted({p.at_least for one in evaluation.values() for p in one.risk_coverage})
    for limit in limits:
        points = [
            next((p for p in one.risk_coverage if p.at_least == limit), None)
            for one in evaluation.values()
        ]
        yield (
            f"{limit:g}",
            *(
                f"{p.coverage:.3f}, {'–' if p.accuracy is None else f'{p.accuracy:.3f}'}"
                if p
                else "–"
                for p in points
            ),
        )


def _recall(evaluation: Mapping[str, SourceEvaluation]) -> Iterable[tuple[str, ...]]:
    for code in CODES:
        cells = [one.support.get(code, 0) for one in evaluation.values()]
        if any(cells):
            yield (
                code,
                *(
                    f"{one.recall[code]:.2f} of {n}" if n else "–"
                    for one, n in zip(evaluation.values(), cells, strict=True)
                ),
            )


def _point(name: str, point: OperatingPoint) -> str:
    text = (
        f"{name} are counted from P = {point.threshold:.3f}: sensitivity {point.sensitivity:.3f},"
        f" specificity {point.specificity:.3f}; {point.basis}."
    )
    return text + (_errors(point.errors) if point.errors else "")


def _errors(errors: GroupErrors) -> str:
    each = [
        f"{name} {rate.alpha / (rate.alpha + rate.beta):.3f} ({rate.patients} patients,"
        f" {rate.cells} cells, Beta({rate.alpha:.2f}, {rate.beta:.2f}))"
        for name, rate in (
            ("sensitivity", errors.sensitivity),
            ("specificity", errors.specificity),
            ("specificity among mature cells", errors.blank_specificity),
        )
    ]
    return f" Of a patient not seen before, among cells labelled as leukocytes: {'; '.join(each)}."


def _flags(card: ClassifierCard) -> Iterable[str]:
    if card.abstention:
        yield f"`uncertain` below {card.abstention.below:g}: {card.abstention.basis}."
    if card.rejection:
        shares = ", ".join(f"{name} {one:.3f}" for name, one in card.rejection.rejected.items())
        strangers = "; ".join(
            f"{kind} {one.rejected} of {one.as_leukocytes} labelled as leukocytes"
            f" ({one.cells} cells, AUROC {'–' if one.auroc is None else f'{one.auroc:.3f}'})"
            for kind, one in card.rejection.strangers.items()
        )
        yield (
            f"`unfamiliar` above an {card.rejection.score} of {card.rejection.above:.3f}:"
            f" {card.rejection.basis}. Above it, of ordinary cells: {shares}. Of others:"
            f" {strangers or 'not measured'}."
        )
