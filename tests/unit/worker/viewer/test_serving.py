import socket
from pathlib import Path

import pytest

from service.layout import DataRoot
from service.settings import ServiceSettings
from worker.viewer.serving import ViewerRunning, listen


def place(tmp_path: Path) -> tuple[ServiceSettings, DataRoot]:
    data = DataRoot(tmp_path)
    data.make()
    return ServiceSettings(data=tmp_path), data


def test_the_socket_is_the_service_users_alone(tmp_path):
    settings, data = place(tmp_path)
    with listen(settings, data):
        assert data.viewer_socket.stat().st_mode & 0o777 == 0o600


def test_a_second_viewer_of_a_data_directory_is_refused(tmp_path):
    settings, data = place(tmp_path)
    with listen(settings, data), pytest.raises(ViewerRunning, match="stop it first"):
        listen(settings, data)


def test_the_socket_of_a_killed_viewer_is_replaced(tmp_path):
    settings, data = place(tmp_path)
    listen(settings, data).close()
    assert data.viewer_socket.exists()
    with listen(settings, data), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(data.viewer_socket))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_viewer_for_an_api_elsewhere_listens_on_tcp(tmp_path, host):
    _, data = place(tmp_path)
    with listen(ServiceSettings(data=tmp_path, viewer_listen=f"{host}:0"), data) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        assert not data.viewer_socket.exists()


@pytest.mark.parametrize("address", ["9000", "host:", ":9000", "host:123456", "a b:1"])
def test_an_address_that_is_none_is_refused_at_the_start(tmp_path, address):
    with pytest.raises(ValueError, match="viewer_listen"):
        ServiceSettings(data=tmp_path, viewer_listen=address)
