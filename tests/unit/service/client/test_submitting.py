import json
import threading

import pytest

from service.contract.scan import ScanState
from service.store.scans import ScanFilter
from tests.batches import write_slides


def scans_of(service):
    return service.installation.scans.list(ScanFilter(), limit=10)


@pytest.fixture
def slide(service, tmp_path):
    path = tmp_path / "smear.tiff"
    path.write_bytes(b"II*\0" + bytes(200_000))
    return path


def test_a_slide_is_sent_with_what_the_laboratory_calls_it(service, slide):
    result = service.run(
        *("submit", slide, "--accession", "H-1", "--specimen", "S", "--um-per-px", "0.25"),
        *("--region", "all", "--priority", "archive"),
    )
    (scan,) = scans_of(service)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"queued: {service.url}/v1/scans/{scan.scan_id}\n"
    assert (scan.accession, scan.specimen, scan.priority) == ("H-1", "S", "archive")
    assert (scan.parameters.um_per_px, scan.parameters.region) == (0.25, "all")
    stored = service.installation.layout.slide_of(scan.slide_sha256)
    assert stored.read_bytes() == slide.read_bytes()


def test_the_same_slide_again_is_the_same_scan_unless_forced(service, slide):
    first, second = (service.run("submit", slide, "--json") for _ in range(2))
    forced = service.run("submit", slide, "--json", "--force")
    ids = [json.loads(r.stdout)["scan_id"] for r in (first, second, forced)]
    assert ids[0] == ids[1] != ids[2]


def test_a_slide_where_it_lies_is_named_not_sent(service):
    (path,) = write_slides(service.archive, ["a.svs"])
    assert service.run("submit", "--uri", f"file://{path}").exit_code == 0
    (scan,) = scans_of(service)
    assert service.installation.scans.row(scan.scan_id).slide_uri == path


def test_waiting_ends_with_the_report(service, slide):
    with service.working(written=True):
        result = service.run("submit", slide, "--wait")
        as_json = service.run("submit", slide, "--wait", "--json")
    assert result.exit_code == 0, result.output
    assert "leukocytes" in result.stdout
    assert "/report.html" in result.stdout
    (scan,) = scans_of(service)
    assert json.loads(as_json.stdout)["scan_id"] == scan.scan_id


def test_a_failed_scan_says_why_and_ends_with_1(service):
    (path,) = write_slides(service.archive, ["bad.svs"])
    with service.working(fail=["bad.svs"]):
        result = service.run("submit", "--uri", path, "--wait")
    assert result.exit_code == 1
    assert "unsupported_format: the file is text" in result.stderr


def test_a_cancelled_scan_ends_with_1(service, slide):
    def cancel() -> None:
        while not (scans := scans_of(service)):
            pass
        service.installation.scans.cancel(scans[0].scan_id)

    thread = threading.Thread(target=cancel)
    thread.start()
    result = service.run("submit", slide, "--wait")
    thread.join()
    assert (result.exit_code, scans_of(service)[0].state) == (1, ScanState.CANCELLED)
    assert "cancelled" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("missing.svs",),
        ("--uri", "/a.svs", "--accession", "x" * 129),
        ("--uri", "/a.svs", "--callback-url", "nowhere"),
        ("--uri", "/a.svs", "--um-per-px", "0"),
    ],
)
def test_wrong_usage_ends_with_2(service, words):
    assert service.run("submit", *words).exit_code == 2


def test_what_is_no_slide_is_refused_by_the_service(service, tmp_path):
    (tmp_path / "a.svs").write_bytes(b"%PDF-1.7" + bytes(5000))
    result = service.run("submit", tmp_path / "a.svs")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("unsupported_format: ")
