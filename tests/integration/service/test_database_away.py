"""PostgreSQL takes no connections for a while in the middle of a slide."""

import time

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.running_service import RunningService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AWAY_S = 4


def test_the_slide_in_work_goes_on(postgresql, postgresql_database, demo_slide, tmp_path):
    service = RunningService(tmp_path / "data", database_url=postgresql_database)
    name = make_url(postgresql_database).database
    admin = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with service, admin.connect() as server:
        scan_id = service.submit(demo_slide, region="all")["scan_id"]
        service.wait(lambda: service.scan(scan_id)["state"] == "running", "working")
        server.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        try:
            server.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                ),
                {"name": name},
            )
            answer = service.client.get(f"/v1/scans/{scan_id}")
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert str(tmp_path) not in answer.text
            assert service.client.get("/healthz").status_code == 200
            time.sleep(AWAY_S)
        finally:
            server.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        service.wait(service.is_ready, "ready", 60)
        ended = service.await_end(scan_id)
        assert (ended["state"], ended["tries"]) == ("succeeded", 0)
        log = service.log.read_text()
        assert '"event": "died"' not in log
    admin.dispose()
