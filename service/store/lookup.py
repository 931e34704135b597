"""One row by its primary key, past most of SQLAlchemy: it was half of a status poll."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, Table, bindparam, select
from sqlalchemy.exc import OperationalError


class Lookup:
    """Reads rows of one table. Safe to share between threads, not across a fork.

    SQLAlchemy writes the statement and gives connections and types; the driver alone runs it,
    without a transaction on SQLite.

    Args:
        engine: of the database.
        table: with one column as its primary key.
    """

    def __init__(self, engine: Engine, table: Table) -> None:
        self._engine = engine
        self._errors = engine.dialect.loaded_dbapi.OperationalError
        (key,) = table.primary_key
        compiled = select(table).where(key == bindparam("key")).compile(engine)
        self._sql = str(compiled)
        self._positional = compiled.positional
        self._row: Any = namedtuple("Row", table.columns.keys())  # type: ignore[misc]
        self._converters: list[tuple[int, Callable[[Any], Any]]] = []
        for index, column in enumerate(table.columns):
            kind = column.type.dialect_impl(engine.dialect)
            convert = kind.result_processor(engine.dialect, None)
            if convert is not None:
                self._converters.append((index, convert))

    def find(self, key: str) -> Any:
        """The row of this key, a named tuple of its columns; None if there is none.

        Raises:
            OperationalError: the database does not answer.
        """
        try:
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(self._sql, (key,) if self._positional else {"key": key})
                found = cursor.fetchone()
                cursor.close()
            finally:
                connection.close()
        except self._errors as err:
            raise OperationalError(self._sql, None, err) from err
        if found is None:
            return None
        values = list(found)
        for index, convert in self._converters:
            values[index] = convert(values[index])
        return self._row._make(values)
