"""A connection to the database, and its schema brought up to date.

SQLite runs in WAL mode: readers never wait, writers wait for one another up to `BUSY_TIMEOUT_S`.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from service.layout import DataRoot
from service.settings import ServiceSettings

BUSY_TIMEOUT_S: Final = 30
_BUSY_PAUSE_S: Final = 0.01
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WRITES: Final = "smearscan_writes"
"""Execution option of a connection whose transactions will write."""
_MIGRATION_LOCK: Final = 0x736D6561
"""PostgreSQL's advisory lock under which one process at a time migrates ("smea")."""


def database_url(settings: ServiceSettings) -> str:
    """The configured database, or SQLite in the data directory."""
    if settings.database_url:
        return settings.database_url
    return f"sqlite:///{DataRoot.of(settings).database}"


def connect(url: str, *, pool_size: int = 8) -> Engine:
    """An engine. Not to be carried across a fork: dispose of it there with `close=False`."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=pool_size, max_overflow=4, pool_pre_ping=True)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=4,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin in `_begin`, not in the driver
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch to WAL, waiting up to `BUSY_TIMEOUT_S` for whoever is switching as well.

    A new database changes its mode under a lock that SQLite asks for once: the driver's time limit
    is a busy handler, and SQLite need not call it (sqlite.org/c3ref/busy_handler.html).
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            return


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that will write; on SQLite it takes the write lock at once.

    A transaction that begins with reading and then writes fails on SQLite when another writer came
    between, however long it would have waited.
    """
    with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        yield connection


def migrate(url: str) -> None:
    """Bring the schema up to date; several processes may call this at once."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = connect(url, pool_size=1)
    try:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def is_reachable(engine: Engine) -> bool:
    """Whether the database answers."""
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
