"""The model process: load what the settings name, serve it until a signal.

`python -m worker model` runs it and makes it known to the installation; `python -m
worker.model.process` runs it alone, with neither database nor queue.
"""

import signal
import sys
from threading import Event
from types import FrameType

from models.errors import ModelError
from service.contract.failure import FailureCode
from service.layout import DataRoot
from service.settings import ServiceSettings
from worker.model.networks import Networks
from worker.model.server import AddressTaken, EngineFailed, OnReady, serve


def main(on_ready: OnReady = lambda detector, classifier: None) -> int:
    """Load what the settings name and serve it until SIGTERM or SIGINT.

    Args:
        on_ready: told the cards of detector and default classifier once clients can connect.

    Returns:
        Exit code: 0 after a signal; 1 with a line on stderr when the networks cannot be served.
    """
    stop = Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    settings = ServiceSettings()
    data = DataRoot.of(settings)
    try:
        data.make()
        networks = Networks.load(classifier=settings.model, device=settings.device)
        serve(data.model_socket, networks, stop=stop, on_ready=on_ready)
    except (ModelError, AddressTaken, EngineFailed, OSError) as err:
        reason = " ".join(str(err).split())  # pydantic's reasons are several lines
        print(f"{FailureCode.MODEL_UNAVAILABLE}: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
