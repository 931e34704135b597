import csv
import json

import pyarrow.parquet as pq
import pytest

from service.contract.cell import DoubtfulObject
from service.exports.formats import FORMATS
from service.store.audit import Action
from tests.analyses import cells_with
from tests.installations import finished_scan, waiting_scan


@pytest.fixture
def scan_id(installation):
    return finished_scan(installation, accession="A-1")


def test_the_report_is_json_unless_asked_otherwise(client, scan_id):
    answer = client.get(f"/v1/scans/{scan_id}/report")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["scan_id"] == scan_id


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_comes_by_suffix_and_by_accept(client, scan_id, suffix):
    by_suffix = client.get(f"/v1/scans/{scan_id}/report.{suffix}")
    accept = {"Accept": FORMATS[suffix].media_type}
    by_accept = client.get(f"/v1/scans/{scan_id}/report", headers=accept)
    assert by_suffix.status_code == by_accept.status_code == 200
    assert by_suffix.content == by_accept.content
    assert by_suffix.headers["content-type"] == FORMATS[suffix].content_type


def test_formats_for_laboratory_systems_carry_the_accession(client, scan_id):
    assert "A-1" in client.get(f"/v1/scans/{scan_id}/report.hl7").text
    assert "A-1" in client.get(f"/v1/scans/{scan_id}/report.fhir.json").text


def test_a_client_that_has_a_report_is_not_sent_it_again(client, scan_id):
    etag = client.get(f"/v1/scans/{scan_id}/report").headers["etag"]
    again = client.get(f"/v1/scans/{scan_id}/report", headers={"If-None-Match": etag})
    other = client.get(f"/v1/scans/{scan_id}/report.csv", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


def test_a_format_nobody_writes_is_not_acceptable(client, scan_id):
    answer = client.get(f"/v1/scans/{scan_id}/report", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize("what", ["report", "report.csv", "cells", "cells/1", "doubtful-objects"])
def test_a_scan_that_is_not_over_has_no_results_yet(client, installation, what):
    answer = client.get(f"/v1/scans/{waiting_scan(installation)}/{what}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "queued" in answer.json()["detail"]


def test_results_that_were_removed_are_gone(client, installation, scan_id):
    directory = installation.layout.result_of(scan_id, 1)
    for path in directory.iterdir():
        path.unlink()
    answer = client.get(f"/v1/scans/{scan_id}/report")
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")


def pages(client, scan_id, query, limit=30):
    cells, cursor = [], None
    while True:
        params = f"limit={limit}&{query}" + (f"&cursor={cursor}" if cursor else "")
        page = client.get(f"/v1/scans/{scan_id}/cells?{params}").json()
        cells += [entry["cell"] for entry in page["cells"]]
        cursor = page["next_cursor"]
        if cursor is None:
            assert len(cells) == page["total"]
            return cells


def test_all_cells_come_once_page_by_page(client, scan_id):
    assert [cell["id"] for cell in pages(client, scan_id, "")] == list(range(1, 201))


def test_cells_equal_those_of_the_parquet_file(client, installation, scan_id):
    table = pq.read_table(installation.layout.result_of(scan_id, 1) / "cells.parquet")
    for cell, row in zip(pages(client, scan_id, ""), table.to_pylist(), strict=True):
        assert cell["probabilities"]["MYO"] == row["p_MYO"]
        assert (cell["label"], cell["flags"]) == (row["label"], row["flags"])


@pytest.mark.parametrize("sort", ["-p_blast", "p_atypical", "-MYO", "NGS", "-diameter_um"])
def test_cells_are_sorted_by_what_is_asked(client, scan_id, sort):
    name = sort.removeprefix("-")

    def value(cell):
        return cell[name] if name in cell else cell["probabilities"][name]

    values = [value(cell) for cell in pages(client, scan_id, f"sort={sort}")]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_cells_are_filtered_by_label_flag_and_threshold(client, scan_id):
    every = pages(client, scan_id, "")
    wanted = [c["id"] for c in every if c["label"] in {"MYO", "EBO"}]
    assert [c["id"] for c in pages(client, scan_id, "label=MYO&label=EBO")] == wanted
    flagged = [c["id"] for c in every if "uncertain" in c["flags"]]
    assert [c["id"] for c in pages(client, scan_id, "flag=uncertain")] == flagged
    likely = [c["id"] for c in every if c["p_blast"] >= 0.3]
    assert [c["id"] for c in pages(client, scan_id, "min_p_blast=0.3")] == likely
    assert wanted
    assert flagged
    assert likely


@pytest.mark.parametrize(
    "query", ["sort=colour", "limit=0", "limit=501", "label=XYZ", "min_p_blast=1.1", "cursor=-1"]
)
def test_a_query_out_of_range_is_refused(client, scan_id, query):
    answer = client.get(f"/v1/scans/{scan_id}/cells?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_slide_without_cells_has_an_empty_list(client, installation):
    scan_id = finished_scan(installation, 2, cells_with({}))
    page = client.get(f"/v1/scans/{scan_id}/cells").json()
    assert page == {"cells": [], "total": 0, "next_cursor": None}


@pytest.mark.parametrize(("number", "status"), [(1, 200), (200, 200), (201, 404), (0, 422)])
def test_a_cell_is_found_by_its_number(client, scan_id, number, status):
    assert client.get(f"/v1/scans/{scan_id}/cells/{number}").status_code == status


def test_a_review_stands_beside_the_models_label_and_the_latest_holds(client, scan_id):
    url = f"/v1/scans/{scan_id}/cells/3"
    before = client.get(url).json()
    assert before["review"] is None
    client.put(f"{url}/review", json={"label": "MON"})
    client.put(f"{url}/review", json={"label": "artefact", "comment": "=HYPERLINK(1)"})
    after = client.get(url).json()
    assert after["cell"] == before["cell"]
    assert after["review"]["label"] == "artefact"
    listed = client.get(f"/v1/scans/{scan_id}/cells?limit=3").json()["cells"][2]
    assert listed["review"] == after["review"]


@pytest.mark.parametrize(
    ("number", "body", "status"),
    [
        (1, {"label": "blast"}, 422),
        (1, {}, 422),
        (1, {"label": "MYO", "comment": "x" * 2001}, 422),
        (1, {"label": "MYO", "comment": "a\u0000b"}, 422),
        (201, {"label": "MYO"}, 404),
    ],
)
def test_a_review_that_says_nothing_useful_is_refused(client, scan_id, number, body, status):
    answer = client.put(f"/v1/scans/{scan_id}/cells/{number}/review", json=body)
    assert answer.status_code == status


def test_reviews_are_exported_for_retraining_safe_for_spreadsheets(client, scan_id):
    body = {"label": "EOS", "comment": "=1+1"}
    client.put(f"/v1/scans/{scan_id}/cells/2/review", json=body)
    (row,) = csv.DictReader(client.get("/v1/reviews.csv").text.splitlines())
    cell = client.get(f"/v1/scans/{scan_id}/cells/2").json()["cell"]
    assert (row["label"], row["model_label"]) == ("EOS", cell["label"])
    assert (float(row["x_px"]), row["comment"]) == (cell["x_px"], "'=1+1")


def test_who_read_and_reviewed_is_in_the_audit_log(client, installation, scan_id):
    client.get(f"/v1/scans/{scan_id}/report")
    client.put(f"/v1/scans/{scan_id}/cells/1/review", json={"label": "MYO"})
    (key,) = installation.keys.list()
    actions = [(e.actor, e.action) for e in installation.audit.entries(scan_id=scan_id)]
    assert actions == [(key.id, Action.READ_REPORT), (key.id, Action.REVIEWED)]


def test_a_page_of_html_may_run_nothing(client, scan_id):
    policy = client.get(f"/v1/scans/{scan_id}/report.html").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_a_purged_scan_is_gone_with_files_slide_and_reviews(client, installation, scan_id):
    sha256 = installation.scans.row(scan_id).slide_sha256
    client.put(f"/v1/scans/{scan_id}/cells/1/review", json={"label": "MYO"})
    assert client.delete(f"/v1/scans/{scan_id}").status_code == 204
    assert client.get(f"/v1/scans/{scan_id}").status_code == 404
    assert not (installation.layout.results / scan_id).exists()
    assert not installation.layout.slide_of(sha256).exists()
    assert list(installation.reviews.all()) == []
    assert [e.action for e in installation.audit.entries(scan_id=scan_id)][-1] == "purged"


def test_a_slide_that_another_scan_has_outlives_a_purge(client, installation, scan_id):
    other = finished_scan(installation, 1, um_per_px=0.2)
    sha256 = installation.scans.row(other).slide_sha256
    client.delete(f"/v1/scans/{scan_id}")
    assert installation.layout.slide_of(sha256).exists()


def test_a_running_scan_is_not_purged(client, installation):
    scan_id = waiting_scan(installation, 5)
    answer = client.delete(f"/v1/scans/{scan_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert json.loads(client.post(f"/v1/scans/{scan_id}/cancel").text)["state"] == "cancelled"
    assert client.delete(f"/v1/scans/{scan_id}").status_code == 204


def doubtful(n: int) -> tuple[DoubtfulObject, ...]:
    return tuple(
        DoubtfulObject(
            id=k, x_px=k + 0.25, y_px=7.0, diameter_um=9.5, detection_score=0.6 - k / 100
        )
        for k in range(1, n + 1)
    )


def test_doubtful_objects_come_likeliest_first_and_in_parts(client, installation):
    scan_id = finished_scan(installation, doubtful=doubtful(5))
    address, found, cursor = f"/v1/scans/{scan_id}/doubtful-objects", [], None
    for _ in range(3):
        page = client.get(address, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        assert page.json()["total"] == 5
        found += page.json()["objects"]
        cursor = page.json()["next_cursor"]
    assert cursor is None
    assert found == [one.model_dump() for one in doubtful(5)]


def test_a_scan_without_doubtful_objects_says_so(client, scan_id):
    page = client.get(f"/v1/scans/{scan_id}/doubtful-objects").json()
    assert page == {"objects": [], "total": 0, "next_cursor": None}


def test_doubtful_objects_that_an_earlier_version_did_not_keep_are_gone(
    client, installation, scan_id
):
    (installation.layout.result_of(scan_id, 1) / "doubtful.csv").unlink()
    answer = client.get(f"/v1/scans/{scan_id}/doubtful-objects")
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert "scan it again" in answer.json()["detail"]
