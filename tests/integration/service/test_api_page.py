"""The commands of docs/api.md, run as they stand against a running service."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running_service import KEY, RunningService

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_lead_from_a_slide_to_its_report(
    tmp_path: Path, demo_slide: bytes
) -> None:
    archive, desk = tmp_path / "archive", tmp_path / "desk"
    for directory in (archive, desk):
        directory.mkdir()
    (archive / "a.tiff").write_bytes(demo_slide)
    (desk / "smear.tiff").write_bytes(demo_slide)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    with RunningService(tmp_path / "data", slide_roots=json.dumps([str(archive)])) as service:
        given = {"SMEARSCAN": str(service.client.base_url), "KEY": KEY, "ARCHIVE": str(archive)}
        done = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", "\n".join(blocks)],
            cwd=desk,
            env={**os.environ, **given, "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((desk / "report.json").read_text("utf-8"))
    assert report["scan_id"] == json.loads((desk / "scan.json").read_text("utf-8"))["scan_id"]
    assert "|26-1234|" in (desk / "report.hl7").read_text("utf-8")
    suspects = json.loads((desk / "suspects.json").read_text("utf-8"))
    assert 0 < len(suspects["cells"]) <= 10
    assert json.loads((desk / "batch.json").read_text("utf-8"))["name"] == "archive 2024"
    assert (desk / "summary.csv").read_text("utf-8").startswith("number,")
