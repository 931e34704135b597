import pytest

from service.store.engine import connect


@pytest.fixture
def engine(database):
    engine = connect(database)
    yield engine
    engine.dispose()
