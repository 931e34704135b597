import stat

import pytest

from service.layout import DataRoot
from service.settings import ServiceSettings
from service.webhooks.signature import load_secret, sign


def test_the_signature_is_an_hmac_over_time_and_body():
    """The digest is from `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`."""
    digest = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
    assert sign(b"key", b"{}", 1_700_000_000) == f"t=1700000000,v1={digest}"


@pytest.mark.parametrize(
    ("secret", "body", "unix_s"), [(b"other", b"{}", 1), (b"key", b"[]", 1), (b"key", b"{}", 2)]
)
def test_another_key_body_or_time_signs_otherwise(secret, body, unix_s):
    assert sign(secret, body, unix_s) != sign(b"key", b"{}", 1)


def test_an_installation_makes_its_key_once_for_itself_alone(tmp_path):
    settings = ServiceSettings(data=tmp_path / "d", _env_file=None)
    first = load_secret(settings)
    assert len(first) >= 32
    assert load_secret(settings) == first
    (path,) = DataRoot.of(settings).secrets.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = ServiceSettings(data=tmp_path / "e", _env_file=None)
    assert load_secret(other) != first


def test_a_configured_key_is_used_and_nothing_is_written(tmp_path):
    settings = ServiceSettings(data=tmp_path / "d", webhook_secret="ours", _env_file=None)
    assert load_secret(settings) == b"ours"
    assert not (tmp_path / "d").exists()
