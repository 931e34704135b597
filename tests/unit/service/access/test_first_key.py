import pytest

from service.access.first_key import ensure_first_key
from service.installation import Installation
from service.settings import ServiceSettings
from service.store.engine import database_url, migrate
from service.store.keys import Role


@pytest.fixture
def settings_of(tmp_path):
    def settings(**others):
        given = ServiceSettings(data=tmp_path, _env_file=None, **others)
        migrate(database_url(given))
        return given

    return settings


def keys_of(settings):
    installation = Installation.open(settings)
    try:
        return installation.keys.list(), installation.keys
    finally:
        installation.close()


def test_a_new_installation_gets_one_administrator_once(settings_of):
    settings = settings_of()
    secret = ensure_first_key(settings)
    assert ensure_first_key(settings) is None
    (key,), keys = keys_of(settings)
    assert key.roles == {Role.ADMIN}
    assert keys.find(secret).id == key.id


def test_a_key_from_the_settings_is_installed_and_not_shown(settings_of):
    settings = settings_of(bootstrap_key="smsc_given")
    assert ensure_first_key(settings) is None
    (key,), keys = keys_of(settings)
    assert keys.find("smsc_given").id == key.id


def test_another_key_in_the_settings_changes_nothing_later(settings_of):
    ensure_first_key(settings_of(bootstrap_key="smsc_given"))
    ensure_first_key(settings_of(bootstrap_key="smsc_other"))
    (_,), keys = keys_of(settings_of())
    assert keys.find("smsc_other") is None
