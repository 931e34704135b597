"""`smearscan train model-card`."""

from pathlib import Path

import click

from models.training.options import FILE


@click.command()
@click.option("--weights", default="default", show_default=True, help="Name or directory.")
@click.option("--page", type=FILE, required=True, help="Markdown page with the two markers.")
def write_model_card(weights: str, page: Path) -> None:
    """Write the figures of a card into a page, docs/model-card.md, between its markers."""
    from models.card import load_card
    from models.catalogue import DEFAULT_CLASSIFIER, DEFAULT_WEIGHTS, locate_weights
    from models.training.evaluation.model_card import replace_figures

    name = DEFAULT_CLASSIFIER if weights == DEFAULT_WEIGHTS else weights
    text = page.read_text(encoding="utf-8")
    try:
        written = replace_figures(text, load_card(locate_weights(name)))
    except ValueError as err:
        raise click.ClickException(f"{page.name}: {err}") from err
    page.write_text(written, encoding="utf-8")
