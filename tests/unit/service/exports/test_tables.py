"""CSV and Parquet: the same cells, read back."""

import csv
import io
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from models.taxonomy import CODES
from service.contract.cell import Cell
from service.exports.csv import write_csv
from service.exports.parquet import ROWS_PER_GROUP, write_parquet
from service.exports.row import COLUMNS
from tests.analyses import cells_of, random_cells, report_of

REPORT, CELLS = report_of(random_cells(300))
EMPTY_REPORT, NO_CELLS = report_of(cells_of())


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def as_csv(cells: object) -> str:
    stream = io.StringIO(newline="")
    write_csv(cells, stream)  # type: ignore[arg-type]
    return stream.getvalue()


def test_the_csv_has_exactly_these_columns() -> None:
    assert as_csv([]) == (
        "id,x_px,y_px,diameter_um,detection_score,label,p_blast,p_atypical,"
        "p_BAS,p_EBO,p_EOS,p_KSC,p_LYA,p_LYT,p_MMZ,p_MOB,p_MON,p_MYB,p_MYO,p_NGB,p_NGS,p_PMB,"
        "p_PMO,flags\n"
    )


def test_a_cell_survives_the_csv() -> None:
    for cell, row in zip(CELLS, read_csv(as_csv(CELLS)), strict=True):
        assert (cell.id, cell.label, ";".join(cell.flags)) == (
            int(row["id"]),
            row["label"],
            row["flags"],
        )
        for name in ("x_px", "y_px", "diameter_um", "detection_score", "p_blast", "p_atypical"):
            assert getattr(cell, name) == float(row[name])
        for code, probability in cell.probabilities.items():
            assert probability == float(row[f"p_{code}"])


def test_an_unsupported_class_is_an_empty_field() -> None:
    assert {(row["p_MOB"], row["p_PMB"]) for row in read_csv(as_csv(CELLS))} == {("", "")}


def test_the_reports_counts_follow_from_the_csv() -> None:
    rows = read_csv(as_csv(CELLS))
    leukocytes = [row for row in rows if row["label"] not in {"EBO", "KSC"}]
    assert len(leukocytes) == REPORT.n_leukocytes
    for group, column in ((REPORT.blast, "p_blast"), (REPORT.atypical, "p_atypical")):
        positive = [row for row in leukocytes if float(row[column]) >= group.threshold]
        assert len(positive) == group.count


def test_csv_rows_are_written_as_cells_come() -> None:
    stream = io.StringIO(newline="")

    def cells() -> Iterator[Cell]:
        yield CELLS[0]
        assert stream.getvalue().count("\n") == 2
        yield CELLS[1]

    write_csv(cells(), stream)
    assert stream.getvalue().count("\n") == 3


@pytest.fixture(scope="module")
def table() -> pq.ParquetFile:
    stream = io.BytesIO()
    write_parquet(REPORT, CELLS, stream)
    return pq.ParquetFile(io.BytesIO(stream.getvalue()))


def test_parquet_has_the_columns_of_the_csv(table: pq.ParquetFile) -> None:
    assert tuple(table.schema_arrow.names) == COLUMNS


def test_a_cell_survives_parquet(table: pq.ParquetFile) -> None:
    for cell, row in zip(CELLS, table.read().to_pylist(), strict=True):
        assert (row["id"], row["label"], tuple(row["flags"])) == (cell.id, cell.label, cell.flags)
        assert row["p_blast"] == cell.p_blast
        known = {code: row[f"p_{code}"] for code in CODES if row[f"p_{code}"] is not None}
        assert known == cell.probabilities


def test_parquet_says_which_scan_it_is_of(table: pq.ParquetFile) -> None:
    metadata = table.schema_arrow.metadata
    assert metadata[b"scan_id"] == REPORT.scan_id.encode()
    assert metadata[b"statement"] == REPORT.statement.encode()


@pytest.mark.parametrize(("rows", "groups"), [(ROWS_PER_GROUP, 1), (ROWS_PER_GROUP + 1, 2)])
def test_parquet_is_written_in_bounded_row_groups(rows: int, groups: int) -> None:
    stream = io.BytesIO()
    write_parquet(REPORT, (CELLS[0] for _ in range(rows)), stream)
    assert pq.ParquetFile(io.BytesIO(stream.getvalue())).num_row_groups == groups


def test_an_empty_slide_gives_an_empty_table_with_all_columns() -> None:
    stream = io.BytesIO()
    write_parquet(EMPTY_REPORT, NO_CELLS, stream)
    table = pq.ParquetFile(io.BytesIO(stream.getvalue())).read()
    assert table.num_rows == 0
    assert tuple(table.column_names) == COLUMNS
