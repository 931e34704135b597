"""How every figure looks, and how it reaches the disk: the same bytes for the same numbers."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

COLUMN_IN: Final = 3.5
"""Width of a journal's column, inches."""

PAGE_IN: Final = 7.2
"""Width of a journal's page, inches."""

BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
GREY: Final = "#7F7F7F"
"""Okabe and Ito's palette, told apart in all common colour blindness."""

STYLE: Final[dict[RcKeyType, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "svg.hashsalt": "smearscan",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}

styled = mpl.rc_context(STYLE)
"""Decorates every function that draws: matplotlib's own settings are left as they were."""


@styled
def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `stem`.svg and `stem`.pdf, without a date in them."""
    svg, pdf = stem.with_name(stem.name + ".svg"), stem.with_name(stem.name + ".pdf")
    FigureCanvasSVG(figure).print_figure(
        svg, dpi=300, metadata={"Date": None, "Creator": "smearscan"}
    )
    FigureCanvasPdf(figure).print_figure(
        pdf,
        dpi=300,
        metadata={"CreationDate": None, "Creator": "smearscan", "Producer": "matplotlib"},
    )
    return svg, pdf
