"""Which classifiers this installation's model processes serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, delete, insert, select

from service.store.columns import now
from service.store.engine import writing
from service.store.tables import ModelRow

DEFAULT: Final = "default"
"""Named by a scan that names no model, and in settings."""


class UnknownModel(Exception):
    """A scan names a classifier that is not served here."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A classifier, as a model process announced it."""

    name: str
    version: str
    sha256: str
    is_default: bool


class ServedModels:
    """What model processes announced when they started last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def announce(self, models: Sequence[ServedModel]) -> None:
        """Replace what was known."""
        with writing(self._engine) as connection:
            connection.execute(delete(ModelRow))
            connection.execute(
                insert(ModelRow),
                [
                    {
                        "name": model.name,
                        "version": model.version,
                        "sha256": model.sha256,
                        "is_default": model.is_default,
                        "seen_at": now(),
                    }
                    for model in models
                ],
            )

    def list(self) -> Sequence[ServedModel]:
        """All of them, by name."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ModelRow.__table__).order_by(ModelRow.name))
            return [ServedModel(r.name, r.version, r.sha256, r.is_default) for r in rows]

    def sha256_of(self, name: str | None) -> str:
        """Hash of a classifier's weights; "" while no model process has ever started.

        Raises:
            UnknownModel: it is not served here; the message names those that are.
        """
        models = self.list()
        if not models:
            return ""
        for model in models:
            if model.name == name or (name in {None, DEFAULT} and model.is_default):
                return model.sha256
        names = ", ".join(model.name for model in models)
        raise UnknownModel(f"no model {name!r} is served here; there are: {names}")
