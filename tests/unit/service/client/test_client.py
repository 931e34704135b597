import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.store.scans import ScanFilter
from tests.batches import write_slides


@contextmanager
def losing_answers(url: str, lost: int) -> Iterator[str]:
    """A way to the service on which the first answers are lost after they were given."""
    host, port = url.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    left = [lost]

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            threading.Thread(target=pipe, args=(client, server), daemon=True).start()
            answer = server.recv(1 << 16)
            if left[0] > 0:
                left[0] -= 1
                client.shutdown(socket.SHUT_RDWR)
                return
            while answer:
                client.sendall(answer)
                answer = server.recv(1 << 16)

    def pipe(source: socket.socket, target: socket.socket) -> None:
        try:
            while block := source.recv(1 << 16):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        assert left == [0]


@pytest.mark.parametrize("named", [False, True])
def test_a_request_whose_answer_is_lost_is_sent_again_and_makes_one_scan(service, named):
    (path,) = write_slides(service.archive, ["a.svs"])
    words = ("--uri", path) if named else (path,)
    with losing_answers(service.url, 2) as url:
        result = service.run("submit", *words, "--force", server=url)
    assert result.exit_code == 0, result.output
    assert len(service.installation.scans.list(ScanFilter(), limit=10)) == 1


def test_a_batch_whose_answer_is_lost_is_found_again(service):
    with losing_answers(service.url, 1) as url:
        result = service.run("rescan", service.archive, "--no-wait", server=url)
    assert result.exit_code == 0, result.output
    assert len(service.installation.batches.list(state=None, limit=10)) == 1
