from pathlib import Path

import pytest

from models.card import load_card
from models.catalogue import DEFAULT_CLASSIFIER
from models.training.evaluation.model_card import render_card, replace_figures
from tests.cards import make_card

ROOT = Path(__file__).parents[5]
PAGE = ROOT / "docs" / "model-card.md"


def test_the_page_says_what_the_served_card_says():
    card = load_card(ROOT / "models" / "weights" / DEFAULT_CLASSIFIER)
    page = PAGE.read_text("utf-8")
    assert replace_figures(page, card) == page
    assert f"{card.evaluation['deepapl'].balanced_accuracy:.3f}" in page


def test_a_card_without_figures_is_rendered_all_the_same():
    assert "made-up" in render_card(make_card())


def test_a_page_without_a_place_for_the_figures_is_refused():
    with pytest.raises(ValueError, match="lacks"):
        replace_figures("# A page\n", make_card())
