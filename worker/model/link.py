"""A connection to the model process that outlives it. Loads no torch."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import PatchShapeError
from service.contract.failure import AnalysisError, FailureCode
from worker.model.connection import Busy, Connection, Refused, expect_cards
from worker.model.wire import (
    PROTOCOL,
    Cards,
    ConnectionLost,
    Hello,
    InvalidMessage,
    Request,
    Result,
)

PATIENCE_S: Final = 60.0
"""The supervisor starts a dead process again within seconds; loading takes a few more."""

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 0.5
"""Between two tries to connect; doubled from the first to the longest."""

MAX_SENDS: Final = 8
"""A request that ends so many model processes is not sent to a ninth."""

Done = TypeVar("Done")


class Link:
    """A connection that is made anew whenever it breaks.

    Requests hold no state on the other side, so one that got no reply is simply sent again.

    Args:
        address: of the process's Unix socket.
        classifier: name of weights; None takes what is served by default.
        patience_s: how long to go on without a reply or a sign of life, s.
        check: called between waits; what it raises ends them.

    Raises:
        AnalysisError: model_unavailable: there is no such classifier, or nobody answers.
    """

    def __init__(
        self, address: Path, classifier: str | None, patience_s: float, check: Callable[[], None]
    ) -> None:
        self._address = address
        self._name = classifier
        self._patience_s = patience_s
        self._check = check
        self._connection: Connection | None = None
        self._cards: Cards | None = None
        self._insist(lambda connection: None)

    @property
    def cards(self) -> Cards:
        """Of both networks; the same for as long as the link is used."""
        assert self._cards is not None
        return self._cards

    def request(self, request: Request, pixels: NDArray[np.uint8]) -> tuple[Result, bytes]:
        """Have something computed.

        Raises:
            AnalysisError: model_unavailable: no reply for `patience_s`, or the process that was
                started anew serves other weights.
            PatchShapeError: the process does not take these pixels.
        """
        sends = 0

        def send(connection: Connection) -> tuple[Result, bytes]:
            nonlocal sends
            sends += 1
            if sends > MAX_SENDS:
                raise _unavailable(f"it was lost {MAX_SENDS} times with the same request")
            reply, body = connection.exchange(request, pixels)
            assert isinstance(reply, Result), reply
            return reply, body

        return self._insist(send)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _insist(self, act: Callable[[Connection], Done]) -> Done:
        """Do something with a connection, with new ones until it succeeds."""
        alive_at = time.monotonic()
        wait_s = FIRST_WAIT_S
        while True:
            self._check()
            try:
                return act(self._connect())
            except (ConnectionLost, Busy) as err:
                if self._connection is not None:
                    alive_at = max(alive_at, self._connection.worked_at)
                self.close()
                if time.monotonic() + wait_s > alive_at + self._patience_s:
                    raise _unavailable(f"no answer for {self._patience_s:g} s ({err})") from err
            except InvalidMessage as err:
                self.close()
                raise _unavailable(f"it does not speak our protocol ({err})") from err
            except Refused as err:
                self.close()
                if err.code == "invalid":
                    raise PatchShapeError(err.message) from err
                raise AnalysisError(FailureCode.MODEL_UNAVAILABLE, err.message) from err
            except BaseException:
                self.close()  # a reply may be on its way that nobody will read
                raise
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _connect(self) -> Connection:
        """The open connection, or a new one to a process that serves the same weights."""
        if self._connection is not None:
            return self._connection
        self._connection = Connection(self._address, silence_s=self._patience_s, check=self._check)
        reply, _ = self._connection.exchange(Hello(protocol=PROTOCOL, classifier=self._name))
        cards = expect_cards(reply)
        self._cards = self._cards or cards
        for before, now in (
            (self._cards.detector, cards.detector),
            (self._cards.classifier, cards.classifier),
        ):
            if before.sha256 != now.sha256:
                raise _unavailable(
                    f"it was started anew with other weights ({before.name} {before.version} became"
                    f" {now.name} {now.version}); one report is never made with two"
                )
        return self._connection


def _unavailable(why: str) -> AnalysisError:
    return AnalysisError(
        FailureCode.MODEL_UNAVAILABLE, f"the model process cannot be used: {why}; try again"
    )
