import pytest

from service.settings import ServiceSettings
from service.webhooks.policy import CallbackRefused, check_callback, resolve_callback

HOSTS = ("lis.example", "127.0.0.1", "::1", "10.0.0.1", "8.8.8.8", "localhost", "a" * 64 + ".x")


def settings(**others):
    return ServiceSettings(webhook_hosts=HOSTS, _env_file=None, **others)


@pytest.mark.parametrize(
    "url", ["https://lis.example/hook", "http://LIS.example:8080/", "http://[::1]:80/x"]
)
def test_a_listed_host_may_be_called(url):
    assert check_callback(settings(), url).hostname in HOSTS


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/",
        "http://lis.example.evil.example/",
        "http://evil.example/?lis.example",
        "http://user@lis.example/",
        "http://lis.example:secret@evil.example/",
        "ftp://lis.example/",
        "file:///etc/passwd",
        "http://lis.example:0/",
        "http://lis.example:65536/",
        "http://[::1/",
        "",
    ],
)
def test_anything_else_may_not(url):
    with pytest.raises(CallbackRefused):
        check_callback(settings(), url)


def test_by_default_nobody_may_be_called():
    with pytest.raises(CallbackRefused, match="SMEARSCAN_WEBHOOK_HOSTS"):
        check_callback(ServiceSettings(_env_file=None), "http://127.0.0.1/")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "localhost"])
def test_private_addresses_are_refused_unless_allowed(host):
    parts = check_callback(settings(), f"http://{host}/")
    with pytest.raises(CallbackRefused, match="SMEARSCAN_WEBHOOK_PRIVATE"):
        resolve_callback(settings(), parts)
    assert resolve_callback(settings(webhook_private=True), parts)


def test_a_public_address_may_be_called():
    parts = check_callback(settings(), "http://8.8.8.8/")
    assert resolve_callback(settings(), parts) == "8.8.8.8"


def test_a_name_that_can_be_none_is_refused():
    parts = check_callback(settings(), f"http://{'a' * 64}.x/")
    with pytest.raises(CallbackRefused, match="unknown"):
        resolve_callback(settings(), parts)
