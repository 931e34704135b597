"""What people say of cells. Rows are added; the latest of a cell holds."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, Row, func, insert, select

from service.contract.review import Review, ReviewRequest
from service.store.columns import now
from service.store.engine import writing
from service.store.tables import ReviewRow, ScanRow


class Reviews:
    """The reviews of an installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, scan_id: str, cell_id: int, request: ReviewRequest, *, reviewer: str) -> Review:
        """Note what a person says of a cell that exists."""
        review = Review(label=request.label, comment=request.comment, reviewer=reviewer, at=now())
        with writing(self._engine) as connection:
            connection.execute(
                insert(ReviewRow).values(
                    scan_id=scan_id,
                    cell_id=cell_id,
                    label=review.label,
                    comment=review.comment,
                    reviewer=reviewer,
                    at=review.at,
                )
            )
        return review

    def of_cells(self, scan_id: str, cell_ids: Sequence[int]) -> dict[int, Review]:
        """The reviews that hold, by cell."""
        latest = (
            select(func.max(ReviewRow.id))
            .where(ReviewRow.scan_id == scan_id, ReviewRow.cell_id.in_(cell_ids))
            .group_by(ReviewRow.cell_id)
        )
        query = select(ReviewRow.__table__).where(ReviewRow.id.in_(latest))
        with self._engine.connect() as connection:
            return {row.cell_id: _as_review(row) for row in connection.execute(query)}

    def all(self) -> Iterator[Row[Any]]:
        """The reviews that hold, with their scans' slides, by scan and cell: for retraining."""
        latest = select(func.max(ReviewRow.id)).group_by(ReviewRow.scan_id, ReviewRow.cell_id)
        query = (
            select(
                ReviewRow.__table__,
                ScanRow.slide_sha256,
                ScanRow.result_attempt,
            )
            .join(ScanRow, ScanRow.id == ReviewRow.scan_id)
            .where(ReviewRow.id.in_(latest))
            .order_by(ReviewRow.scan_id, ReviewRow.cell_id)
        )
        with self._engine.connect() as connection:
            yield from connection.execution_options(yield_per=500).execute(query)


def _as_review(row: Row[Any]) -> Review:
    return Review.model_validate(
        {
            "label": row.label,
            "comment": row.comment,
            "reviewer": row.reviewer,
            "at": row.at,
        }
    )
