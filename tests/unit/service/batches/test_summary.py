import csv
import io

import pytest

from service.batches.summary import COLUMNS, write_summary
from tests.batches import begin, items_of, run_to_end, write_slides


def summary_of(installation, batch) -> list[dict[str, str]]:
    text = "".join(write_summary(installation.batch_items.with_results(batch.batch_id)))
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_each_slide_has_a_line_with_its_numbers_or_its_failure(installation, feeder, archive):
    write_slides(archive, ["a.svs", "bad.svs"])
    batch = run_to_end(installation, feeder, begin(installation, archive), fail=["bad.svs"])
    good, bad = summary_of(installation, batch)
    assert tuple(good) == COLUMNS
    assert (good["state"], good["n_leukocytes"], good["failure_code"]) == ("succeeded", "3", "")
    assert good["scan_id"] == items_of(installation, batch)[0].scan_id
    assert (bad["state"], bad["failure_message"]) == ("failed", "the file is text")
    assert bad["n_leukocytes"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_cell_is_a_formula(installation, feeder, archive, start):
    manifest = f'slide_uri,accession\n"{start}cmd()",=1+1\n'
    batch = begin(installation, archive, roots=(), manifest=manifest)
    batch = run_to_end(installation, feeder, batch)
    (row,) = summary_of(installation, batch)
    assert row["accession"] == "'=1+1"
    assert row["slide_uri"] == (f"'{start}cmd()" if start != "\t" else "cmd()")


def test_more_slides_than_are_read_at_a_time_are_all_there(installation, archive):
    rows = "".join(f"/{n}.svs\n" for n in range(1001))
    batch = begin(installation, archive, roots=(), manifest=f"slide_uri\n{rows}")
    assert [row["number"] for row in summary_of(installation, batch)] == [
        str(n) for n in range(1, 1002)
    ]
