"""The README says what the code does."""

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
    import re

    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
