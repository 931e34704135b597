from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from service.store.audit import Action, Audit
from service.store.engine import connect, is_reachable, migrate
from service.store.tables import Base


def test_the_migrations_lead_to_the_tables_the_code_knows(engine: Engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrating_again_changes_nothing(database, engine: Engine):
    Audit(engine).note("system", Action.PURGED)
    migrate(database)
    assert len(list(Audit(engine).entries())) == 1


def test_several_processes_may_migrate_at_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: migrate(url), range(4)))
    assert is_reachable(connect(url))


def test_a_new_database_may_be_opened_by_many_at_once(tmp_path):
    def opens(url: str) -> bool:
        engine = connect(url, pool_size=1)
        try:
            return is_reachable(engine)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(8) as threads:
        for n in range(100):  # without waiting one in 120 was told "locked"
            assert all(threads.map(opens, [f"sqlite:///{tmp_path / f'{n}.db'}"] * 8))


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_the_audit_log_refuses_to_be_changed(engine: Engine, change: str):
    audit = Audit(engine)
    audit.note("system", Action.PURGED, scan_id="a", detail={"files": 3})
    with pytest.raises(DBAPIError, match="only added to"), engine.begin() as connection:
        connection.execute(text(change))
    (entry,) = audit.entries(scan_id="a")
    assert (entry.actor, entry.action, entry.detail) == ("system", "purged", {"files": 3})
    assert entry.at.tzinfo is not None


def test_a_database_that_is_not_there_is_not_reachable(tmp_path):
    assert not is_reachable(connect(f"sqlite:///{tmp_path / 'missing' / 'x.db'}"))
