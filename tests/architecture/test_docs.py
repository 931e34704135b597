"""The README says what the code does."""

import re
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from service.cli import COMMANDS, main
from service.contract.failure import FailureCode
from service.contract.quality import QualityCode
from service.contract.report import Report
from service.contract.scan import Scan, ScanParameters
from service.contract.settings import AnalysisSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
QUALITY = (ROOT / "docs" / "quality.md").read_text()


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_code_is_explained(code):
    assert f"`{code}`" in README


@pytest.mark.parametrize("code", QualityCode)
def test_every_quality_flag_is_explained(code):
    assert f"| `{code}` |" in QUALITY


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_mentioned(name):
    assert f"smearscan {name}" in README


@pytest.mark.parametrize("name", ["scan", "demo-slide"])
def test_every_option_is_mentioned(name):
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in README


@pytest.mark.parametrize("model", [Report, Scan, ScanParameters, AnalysisSettings])
def test_every_field_of_the_contract_has_a_description(model: type[BaseModel]):
    for name, definition in model.model_json_schema().get("$defs", {}).items():
        for field, schema in definition.get("properties", {}).items():
            assert "description" in schema, f"{name}.{field}"
    for field, info in model.model_fields.items():
        assert info.description, f"{model.__name__}.{field}"


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def commands_in(page: str) -> list[list[str]]:
    """Every `smearscan …` command of a page's code blocks and code words, as words."""
    text = (ROOT / page).read_text().replace("\\\n", " ")
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text)
    found = [line.split("smearscan ", 1)[1].split() for line in lines if "smearscan " in line]
    return [words for words in found if words and not words[0].startswith("[")]


@pytest.mark.parametrize(
    "page", ["README.md", "docs/training.md", "docs/experiments.md", "docs/operations.md"]
)
def test_every_command_on_a_page_exists_with_its_options(page):
    for words in commands_in(page):
        command: click.Command | None = main
        context = click.Context(main)
        while isinstance(command, click.Group) and words and words[0][0].isalpha():
            command = command.get_command(context, words.pop(0))
        assert command is not None, f"{page}: no such command"
        options = {name for parameter in command.params for name in parameter.opts}
        options |= {name for parameter in command.params for name in parameter.secondary_opts}
        for word in words:
            if word.startswith("--"):
                assert word in options, f"{page}: {command.name} has no {word}"
