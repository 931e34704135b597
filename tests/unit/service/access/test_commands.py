import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from service.access.commands import keys
from service.installation import Installation
from service.settings import ServiceSettings
from service.store.columns import now
from service.store.keys import Role
from service.store.tables import AuditRow


@pytest.fixture
def run(tmp_path):
    def run_(*words):
        return CliRunner().invoke(keys, [*map(str, words), "--data", str(tmp_path)])

    return run_


@pytest.fixture
def stored(tmp_path):
    """Opened when it is needed: the command makes the database."""
    opened = []

    def open_():
        settings = ServiceSettings(data=tmp_path, _env_file=None)
        opened.append(Installation.open(settings))
        return opened[-1]

    yield open_
    for installation in opened:
        installation.close()


def test_a_secret_is_printed_alone_and_opens_what_was_asked_for(run, stored):
    done = run("create", "lis", "--role", "submit", "--role", "read", "--per-minute", 30)
    assert done.exit_code == 0
    secret = done.stdout.removesuffix("\n")
    key = stored().keys.find(secret)
    assert (key.name, key.roles) == ("lis", {Role.SUBMIT, Role.READ})
    assert (key.rate_per_minute, key.expires_at) == (30, None)
    assert key.id in done.stderr
    assert secret not in done.stderr


def test_a_key_may_expire(run, stored):
    secret = json.loads(run("create", "x", "--role", "read", "--expires-days", 2, "--json").stdout)
    expires_at = stored().keys.find(secret["secret"]).expires_at
    assert abs(expires_at - now() - timedelta(days=2)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "words",
    [
        ["create", "x"],
        ["create", "x", "--role", "king"],
        ["create", "x", "--role", "read", "--per-minute", 0],
        ["create", "x", "--role", "read", "--expires-days", -1],
    ],
)
def test_wrong_usage_makes_no_key(run, words):
    assert run(*words).exit_code == 2
    assert json.loads(run("list", "--json").stdout) == []


def test_the_list_tells_everything_but_secrets(run):
    made = json.loads(run("create", "lis", "--role", "read", "--json").stdout)
    secret = made.pop("secret")
    listed = run("list", "--json").stdout
    assert json.loads(listed) == [made]
    assert secret not in listed
    assert "valid" in run("list").stdout


def test_a_revoked_key_stays_in_the_list_as_such(run, stored):
    made = json.loads(run("create", "lis", "--role", "read", "--json").stdout)
    assert run("revoke", made["id"]).exit_code == 0
    assert not stored().keys.find(made["secret"]).is_valid(now())
    assert "revoked" in run("list").stdout


def test_a_key_that_is_none_is_told(run):
    done = run("revoke", "nobody")
    assert done.exit_code == 1
    assert "smearscan keys list" in done.stderr


def test_the_audit_log_has_keys_without_their_secrets(run, stored):
    made = json.loads(run("create", "lis", "--role", "read", "--json").stdout)
    run("revoke", made["id"])
    with stored().engine.connect() as connection:
        noted = connection.execute(select(AuditRow.actor, AuditRow.action, AuditRow.detail)).all()
    assert [(row.actor, row.action) for row in noted] == [
        ("cli", "key_created"),
        ("cli", "key_revoked"),
    ]
    assert all(row.detail["key"] == made["id"] for row in noted)
    assert made["secret"] not in str(noted)


def test_a_data_directory_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    done = CliRunner().invoke(keys, ["list", "--data", str(tmp_path / "file" / "d")])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert len(done.output.splitlines()) == 1


def test_settings_that_are_wrong_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("SMEARSCAN_PORT", "99999")
    done = CliRunner().invoke(keys, ["list", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "SMEARSCAN_PORT" in done.output
