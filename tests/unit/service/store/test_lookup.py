import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from service.contract.submission import ScanMetadata
from service.store.creation import NewScan, SlideSource
from service.store.engine import connect
from service.store.lookup import Lookup
from service.store.scans import Scans
from service.store.tables import Base, ScanRow

SCANS = Base.metadata.tables[ScanRow.__tablename__]


@pytest.fixture
def scan_id(engine):
    slide = SlideSource(size_bytes=1000, format="tiff", sha256="a" * 64)
    new = NewScan(
        slide,
        ScanMetadata(accession="Ä-1"),
        submitted_by="lis",
        model_sha256="2" * 64,
        request=None,
    )
    return Scans(engine).create(new).scan.scan_id


def test_it_finds_what_sqlalchemy_finds(engine, scan_id):
    with engine.connect() as connection:
        expected = connection.execute(select(SCANS).where(SCANS.c.id == scan_id)).one()
    found = Lookup(engine, SCANS).find(scan_id)
    assert found._asdict() == expected._asdict()
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize("key", ["", "nobody", "' OR '1' = '1"])
def test_a_key_that_is_not_there_finds_nothing(engine, scan_id, key):
    assert Lookup(engine, SCANS).find(key) is None


def test_what_was_written_a_moment_ago_is_found(engine, scan_id):
    lookup = Lookup(engine, SCANS)
    assert lookup.find(scan_id).state == "queued"
    Scans(engine).cancel(scan_id)
    assert lookup.find(scan_id).state == "cancelled"


def test_connections_go_back_to_the_pool(engine, scan_id):
    lookup = Lookup(engine, SCANS)
    for _ in range(100):  # the pool has twelve
        lookup.find(scan_id)
    assert engine.pool.checkedout() == 0


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all.db", "postgresql+psycopg://nobody@127.0.0.1:1/none"]
)
def test_a_database_that_is_away_is_told_as_sqlalchemy_tells_it(url):
    with pytest.raises(OperationalError):
        Lookup(connect(url), SCANS).find("a")
