import subprocess
import sys

import click
import pytest

from service.cli import COMMANDS, main

HEAVY = ("torch", "torchvision", "lightning", "openslide", "tifffile", "skimage", "scipy")


def modules_after(code: str) -> set[str]:
    """Names in sys.modules of a fresh interpreter that ran `code`."""
    script = code + "\nimport sys; print(' '.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(out.stdout.splitlines()[-1].split())


def test_the_service_loads_no_torch_and_no_slide_library():
    code = "import service.cli, service.contract.report, service.exports.html, models.taxonomy"
    assert not set(HEAVY) & modules_after(code)


def test_a_slide_process_loads_no_torch():
    code = "import worker.pipeline, worker.results, worker.model.client, worker.__main__"
    assert not {"torch", "safetensors"} & modules_after(code)


def test_intake_loads_no_database_and_no_object_store_until_it_is_asked_for():
    code = "import service.intake.receive, service.intake.references, service.intake.tus"
    assert not {*HEAVY, "sqlalchemy", "s3fs", "botocore"} & modules_after(code)


def test_the_readers_know_a_file_by_its_signature_without_a_web_framework():
    assert not {"fastapi", "starlette"} & modules_after("import service.intake.signature")


def test_help_of_every_command_loads_no_torch():
    code = """
from click.testing import CliRunner
from service.cli import COMMANDS, main
for name in COMMANDS:
    assert CliRunner().invoke(main, [name, '--help']).exit_code == 0, name
"""
    assert not {"torch", "lightning"} & modules_after(code)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_named_command_exists_and_is_documented(name):
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help


def test_neither_the_viewer_nor_a_slides_process_loads_torch():
    assert "torch" not in modules_after("import worker.viewer.serving, worker.viewer.child")


def test_routes_of_pixels_load_no_slide_library():
    assert not set(HEAVY) & modules_after("import service.routes.viewing, service.patches")
