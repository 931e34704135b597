"""`python -m worker model`: the model process, made known to the installation.

What is served goes into SQL, where a request's model is looked up; how the process is goes into
Redis every few seconds under a key that dies with it, where `/readyz` and `/metrics` look.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from models.card import ClassifierCard, load_card
from models.catalogue import CARD_FILE, WEIGHTS_ROOT
from models.detector_card import DetectorCard
from models.errors import ModelError
from service.contract.health import ModelState
from service.health import MODEL_KEYS, MODEL_TTL_S
from service.installation import Installation
from service.logs import configure_logs
from service.settings import ServiceSettings
from service.store.models import ServedModel
from worker.model import process
from worker.model.client import fetch_stats

BEAT_S: Final = 5.0

_log = structlog.get_logger(__name__)


def main() -> int:
    """Serve the networks until SIGTERM or SIGINT; returns the exit code."""
    settings = ServiceSettings()
    configure_logs("model", settings.log_level)
    announcer = Announcer(Installation.open(settings))
    try:
        return process.main(announcer.start)
    finally:
        announcer.stop()


class Announcer:
    """Tells an installation what its model process serves and how it is."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = f"{socket.gethostname()}-{os.getpid()}"

    def start(self, _: DetectorCard, classifier: ClassifierCard) -> None:
        """Begin, once clients can connect."""
        served = [
            ServedModel(card.name, card.version, card.sha256, card.name == classifier.name)
            for card in {
                card.name: card for card in (*installed_classifiers(), classifier)
            }.values()
        ]
        self._thread = threading.Thread(target=self._run, args=(served,), daemon=True)
        self._thread.start()
        _log.info("serving", classifier=classifier.name, version=classifier.version)

    def stop(self) -> None:
        """Say that the process ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=BEAT_S)
        with suppress(RedisError):
            self._installation.redis.delete(MODEL_KEYS + self._name)
        self._installation.close()

    def _run(self, served: list[ServedModel]) -> None:
        announced = False
        while True:
            try:
                if not announced:
                    self._installation.models.announce(served)
                    announced = True
                self._beat()
            except (RedisError, SQLAlchemyError) as err:
                _log.warning("not announced", error=type(err).__name__)
            if self._stop.wait(BEAT_S):
                return

    def _beat(self) -> None:
        stats = fetch_stats(self._installation.layout.model_socket)
        if stats is None:
            return
        state = ModelState(
            process=self._name,
            uptime_s=stats.uptime_s,
            connections=stats.connections,
            refused=stats.refused,
            operations=stats.operations,
        )
        key = MODEL_KEYS + self._name
        self._installation.redis.set(key, state.model_dump_json(), ex=MODEL_TTL_S)


def installed_classifiers() -> Iterator[ClassifierCard]:
    """Cards of the classifiers that come with this version; other networks' are passed over."""
    for path in sorted(WEIGHTS_ROOT.glob(f"*/{CARD_FILE}")):
        try:
            yield load_card(path.parent)
        except ModelError:
            continue
