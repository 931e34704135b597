import csv
import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from service.contract.cell import Cell
from service.contract.failure import AnalysisError, FailureCode
from service.contract.report import Report
from service.exports.gallery import choose_gallery
from service.patches import PATCHES_FILE, PatchMissing, read_patch
from tests.analyses import cells_of, random_cells, report_of
from worker.results import (
    LEFTOVER_AGE_S,
    RESULT_FILES,
    THUMBNAIL_PX,
    Results,
    TargetOccupied,
    check_target,
    encode_thumbnail,
    open_patch_store,
    write_results,
)


def results_of(n: int, seed: int = 0) -> Results:
    report, cells = report_of(random_cells(n, seed) if n else cells_of())
    galleries = choose_gallery(cells)
    shown = {cell.id for gallery in galleries for cell in gallery.cells}
    patch = np.full((40, 40, 3), 200, np.uint8)
    return Results(report, cells, galleries, dict.fromkeys(shown, patch), encode_thumbnail(patch))


FIRST, SECOND = results_of(20), results_of(30, seed=1)


class FailingCells(Sequence[Cell]):
    """Cells whose reading ends in an error of the system."""

    def __init__(self, cells: Sequence[Cell], code: int) -> None:
        self._cells = cells
        self._code = code

    def __len__(self) -> int:
        return len(self._cells)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Cell]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._cells[index]

    def __iter__(self) -> Iterator[Cell]:
        yield self._cells[0]
        raise OSError(self._code, os.strerror(self._code))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_result_is_exactly_its_files(tmp_path: Path) -> None:
    write_results(tmp_path / "scan", FIRST)
    assert names_in(tmp_path / "scan") == set(RESULT_FILES)
    assert names_in(tmp_path) == {"scan"}


def test_the_files_tell_of_the_same_cells(tmp_path: Path) -> None:
    write_results(tmp_path, FIRST)
    report = Report.model_validate_json((tmp_path / "report.json").read_text("utf-8"))
    assert report == FIRST.report
    with (tmp_path / "cells.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == report.n_cells
    assert pq.read_table(tmp_path / "cells.parquet").num_rows == report.n_cells
    geojson = json.loads((tmp_path / "cells.geojson").read_text("utf-8"))
    assert len(geojson["features"]) == report.n_cells
    assert report.scan_id in (tmp_path / "report.html").read_text("utf-8")


def test_an_empty_slide_has_a_result(tmp_path: Path) -> None:
    write_results(tmp_path / "scan", results_of(0))
    assert names_in(tmp_path / "scan") == set(RESULT_FILES)


def test_kept_patches_are_part_of_the_result(tmp_path: Path) -> None:
    target = tmp_path / "2025" / "scan"
    with open_patch_store(target) as store:
        store.keep([0, 1], np.full((2, 40, 40, 3), 200, np.uint8))
        store.number(np.array([0, 1]))
        write_results(target, replace(FIRST, patch_store=store))
    assert names_in(target) == {*RESULT_FILES, PATCHES_FILE}
    assert names_in(tmp_path / "2025") == {"scan"}
    assert read_patch(target, 2).startswith(b"\xff\xd8")
    write_results(target, SECOND)
    with pytest.raises(PatchMissing, match="not kept"):
        read_patch(target, 2)


def test_patches_of_a_result_that_cannot_be_written_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "scan"
    write_results(target, FIRST)
    broken = replace(SECOND, cells=FailingCells(SECOND.cells, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), open_patch_store(target) as store:
        store.number(np.zeros(0, np.intp))
        write_results(target, replace(broken, patch_store=store))
    assert names_in(tmp_path) == {"scan"}
    assert names_in(target) == set(RESULT_FILES)


def test_missing_parents_are_made(tmp_path: Path) -> None:
    write_results(tmp_path / "2025" / "scan", FIRST)
    assert (tmp_path / "2025" / "scan" / "report.json").is_file()


def test_an_earlier_result_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "scan"
    write_results(target, FIRST)
    write_results(target, SECOND)
    report = Report.model_validate_json((target / "report.json").read_text("utf-8"))
    assert report.n_cells == SECOND.report.n_cells
    assert pq.read_table(target / "cells.parquet").num_rows == SECOND.report.n_cells
    assert names_in(tmp_path) == {"scan"}


def test_a_reader_who_opened_the_earlier_result_still_reads_it(tmp_path: Path) -> None:
    target = tmp_path / "scan"
    write_results(target, FIRST)
    with (target / "report.json").open(encoding="utf-8") as stream:
        write_results(target, SECOND)
        assert Report.model_validate_json(stream.read()) == FIRST.report


def test_a_symbolic_link_keeps_pointing_at_the_result(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk")
    write_results(link, FIRST)
    assert link.is_symlink()
    assert names_in(tmp_path / "disk") == set(RESULT_FILES)


def test_a_directory_with_somebody_elses_files_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("ten years of work")
    with pytest.raises(TargetOccupied, match=r"holds thesis\.docx, which is no scan's result"):
        write_results(tmp_path, FIRST)
    assert names_in(tmp_path) == {"thesis.docx"}


def test_a_file_is_refused_as_target(tmp_path: Path) -> None:
    (tmp_path / "scan").write_text("x")
    with pytest.raises(TargetOccupied, match="is a file"):
        check_target(tmp_path / "scan")


@pytest.mark.parametrize("name", ["new", "."])
def test_a_new_or_empty_directory_is_accepted(tmp_path: Path, name: str) -> None:
    check_target(tmp_path / name)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_typed_failure_and_leaves_the_earlier_result(
    tmp_path: Path, code: int
) -> None:
    target = tmp_path / "scan"
    write_results(target, FIRST)
    with pytest.raises(AnalysisError) as caught:
        write_results(target, replace(SECOND, cells=FailingCells(SECOND.cells, code)))
    assert caught.value.code is FailureCode.STORAGE_FULL
    assert caught.value.failure.retryable
    assert str(tmp_path) not in caught.value.message
    report = Report.model_validate_json((target / "report.json").read_text("utf-8"))
    assert report == FIRST.report
    assert names_in(tmp_path) == {"scan"}


def test_another_error_of_the_system_leaves_no_half_result(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        write_results(tmp_path / "scan", replace(FIRST, cells=FailingCells(FIRST.cells, errno.EIO)))
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
@pytest.mark.parametrize(("age_s", "survives"), [(60, True), (LEFTOVER_AGE_S + 60, False)])
def test_what_a_killed_writer_left_is_removed_once_old(
    tmp_path: Path, age_s: float, survives: bool, make: Callable[[Path], None]
) -> None:
    leftover = tmp_path / ".scan.partial-0123"
    make(leftover)
    then = time.time() - age_s
    os.utime(leftover, (then, then))
    write_results(tmp_path / "scan", FIRST)
    assert leftover.exists() is survives


def test_another_targets_leftovers_are_not_touched(tmp_path: Path) -> None:
    leftover = tmp_path / ".scan2.partial-0123"
    leftover.mkdir()
    os.utime(leftover, (0, 0))
    write_results(tmp_path / "scan", FIRST)
    assert leftover.exists()


def test_results_have_ordinary_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    write_results(tmp_path / "scan", FIRST)
    assert (tmp_path / "scan").stat().st_mode == ordinary.stat().st_mode


def test_a_patch_becomes_a_small_jpeg() -> None:
    jpeg = encode_thumbnail(np.full((400, 400, 3), 200, np.uint8))
    image = Image.open(BytesIO(jpeg))
    assert (image.format, image.size) == ("JPEG", (THUMBNAIL_PX, THUMBNAIL_PX))
