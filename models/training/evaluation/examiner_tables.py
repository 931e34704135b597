"""The examiners' figures as Markdown."""

from typing import Final

from models.training.evaluation.examiners import Agreement, ExaminerFigures, ExaminerPoint

_UNC: Final = {"dropped": "left out", "negative": "called not of the group"}


def format_examiners(figures: ExaminerFigures) -> str:
    """Markdown: operating points, agreement, and one table of counts a pair (Fig. S1)."""
    lines = [
        f"{figures.annotated} cells, {figures.reannotated} of them annotated again. "
        "The data set's label is the truth; intervals are exact binomial 95 %.",
        "",
        "| examiner | group | UNC | cells | sensitivity | specificity |",
        "|---|---|---|---:|---|---|",
        *(_format_point(point) for point in figures.points),
        "",
        "| first | second | cells | equal | Cohen's kappa |",
        "|---|---|---:|---:|---:|",
        *(
            f"| {a.first} | {a.second} | {a.n} | {a.equal:.1%} | {a.kappa:.3f} |"
            for a in figures.agreement
        ),
    ]
    for agreement in figures.agreement:
        lines += ["", *_format_counts(agreement)]
    return "\n".join(lines) + "\n"


def _format_point(point: ExaminerPoint) -> str:
    sensitivity = _format_share(point.true_positives, point.positives, point.sensitivity_ci95)
    specificity = _format_share(point.true_negatives, point.negatives, point.specificity_ci95)
    return (
        f"| {point.examiner} | {point.group} | {_UNC[point.unc]} | {point.n} "
        f"| {sensitivity} | {specificity} |"
    )


def _format_share(count: int, total: int, interval: tuple[float, float]) -> str:
    low, high = (100 * bound for bound in interval)
    return f"{100 * count / total:.2f} % ({low:.1f}–{high:.1f}; {count}/{total})"


def _format_counts(agreement: Agreement) -> list[str]:
    return [
        f"Rows {agreement.first}, columns {agreement.second}:",
        "",
        "| | " + " | ".join(agreement.codes) + " |",
        "|---|" + "---:|" * len(agreement.codes),
        *(
            f"| {code} | " + " | ".join(map(str, row)) + " |"
            for code, row in zip(agreement.codes, agreement.counts, strict=True)
        ),
    ]
