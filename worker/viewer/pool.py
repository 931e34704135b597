"""A bounded number of slides in view, each in its process.

A slide waits for one of `processes` places; the slide looked at longest ago gives its place up, if
nobody waits for it. At most `waiting` questions are in the house, the rest are turned away: a
viewer asks again, and a queue that only grows answers nobody.

Once prepared it keeps a process more ready for the next slide: to load the libraries takes 2 s of a
CPU, to open a slide half a second.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from service.contract.viewing import SlideReference, ViewingCode, ViewingProblem
from worker.viewer.slide_process import (
    ProcessLost,
    SlideProcess,
    ViewingFailed,
    decoder_failed,
)
from worker.viewer.wire import Question

log = structlog.get_logger()

RETRY_S: Final = 2
"""When a lost process is worth another try, s."""
REST_S: Final = 60
"""When a slide that lost `MAX_LOSSES` processes in a row is, s."""
MAX_LOSSES: Final = 3
MAX_REMEMBERED: Final = 1024
"""Slides whose losses are remembered."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the viewer takes.

    Attributes:
        processes: slides open at the same time; each takes 100 to 400 MB.
        waiting: questions being answered or waiting, of all slides.
        answer_s: longest a tile may take, s; then its process is killed.
        open_s: longest opening may take, s, with the start of its process.
        place_s: longest a slide waits for a place, s.
    """

    processes: int = 4
    waiting: int = 64
    answer_s: float = 10.0
    open_s: float = 45.0
    place_s: float = 10.0


@dataclass(frozen=True, slots=True)
class SlideKey:
    """A slide as it lies on the disk now: a file that changed is another slide."""

    slide: SlideReference
    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, slide: SlideReference, status: os.stat_result) -> "SlideKey":
        """From the file's status."""
        return cls(slide, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(slots=True, eq=False)
class _Place:
    """A slide in view.

    Attributes:
        users: questions that are answered or wait for this slide.
        turn: held by the one being answered.
    """

    users: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: SlideProcess | None = None


@dataclass(frozen=True, slots=True)
class _Losses:
    count: int
    rests_until: float


class SlidePool:
    """Answers questions about slides. Lives in one event loop; `close` it there."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._places: OrderedDict[SlideKey, _Place] = OrderedDict()
        self._losses: OrderedDict[SlideKey, _Losses] = OrderedDict()
        self._spare: SlideProcess | None = None
        self._sparing = asyncio.Lock()
        self._questions = 0
        self._freed = asyncio.Condition()

    @property
    def pids(self) -> list[int]:
        """Of the living processes, the one used longest ago first."""
        places = self._places.values()
        return [place.process.pid for place in places if place.process is not None]

    @property
    def questions(self) -> int:
        """How many are answered or wait."""
        return self._questions

    async def ask(self, key: SlideKey, question: Question) -> bytes:
        """The answer's body.

        Raises:
            ViewingFailed: out_of_range, slide_unreadable, pixels_unreadable, too_costly; busy;
                decoder_failed, when the slide's process hung or crashed.
        """
        if self._questions >= self._limits.waiting:
            raise _busy(f"{self._questions} requests for pixels wait, as many as are allowed")
        self._questions += 1
        try:
            async with self._place(key) as place, place.turn:
                self._check_rest(key)
                return await self._ask_place(place, key, question)
        finally:
            self._questions -= 1

    async def prepare(self) -> None:
        """Start the process that will take the next slide."""
        async with self._sparing:
            if self._spare is None:
                self._spare = await SlideProcess.start()

    async def close(self) -> None:
        """Kill all processes."""
        if self._spare is not None:
            await self._spare.kill()
            self._spare = None
        while self._places:
            _, place = self._places.popitem()
            if place.process is not None:
                await place.process.kill()

    async def _ask_place(self, place: _Place, key: SlideKey, question: Question) -> bytes:
        try:
            if place.process is not None and not place.process.is_alive:
                await place.process.kill()  # ended while nobody asked: not this question's fault
                place.process = None
            if place.process is None:
                place.process = await self._open(key.slide)
            body = await place.process.ask(question, timeout_s=self._limits.answer_s)
        except ProcessLost as err:
            place.process = None
            wait_s = self._note_loss(key)
            log.warning("slide's process lost", sha256=key.slide.sha256, reason=str(err))
            raise decoder_failed(str(err), wait_s) from err
        except asyncio.CancelledError:
            place.process = None  # `ask` killed it
            raise
        self._losses.pop(key, None)
        return body

    async def _open(self, slide: SlideReference) -> SlideProcess:
        started = time.monotonic()
        spare, self._spare = self._spare, None
        if spare is None or not spare.is_alive:
            process = await SlideProcess.start()
        else:
            process = spare
        try:
            if spare is not None:
                await self.prepare()
            await process.open(slide, timeout_s=self._limits.open_s)
        except BaseException:
            await process.kill()
            raise
        seconds = round(time.monotonic() - started, 3)
        log.info("slide opened", sha256=slide.sha256, seconds=seconds)
        return process

    @asynccontextmanager
    async def _place(self, key: SlideKey) -> AsyncIterator[_Place]:
        """A place for the slide, kept while it is used."""
        place = await self._enter(key)
        try:
            yield place
        finally:
            place.users -= 1
            if place.process is None and not place.users:
                self._places.pop(key, None)
            async with self._freed:
                self._freed.notify_all()

    async def _enter(self, key: SlideKey) -> _Place:
        try:
            async with asyncio.timeout(self._limits.place_s), self._freed:
                await self._freed.wait_for(lambda: key in self._places or self._has_room())
                place = self._places.get(key) or _Place()
                place.users += 1
                closing = [] if key in self._places else self._take_room()
                self._places[key] = place
                self._places.move_to_end(key)
        except TimeoutError:
            raise _busy(
                f"{len(self._places)} slides are being looked at, as many as are allowed"
            ) from None
        for process in closing:
            await process.kill()
        return place

    def _has_room(self) -> bool:
        idle = any(not place.users for place in self._places.values())
        return len(self._places) < self._limits.processes or idle

    def _take_room(self) -> list[SlideProcess]:
        """Give up the slide used longest ago if there is no room; processes to be killed."""
        if len(self._places) < self._limits.processes:
            return []
        oldest = next(key for key, place in self._places.items() if not place.users)
        process = self._places.pop(oldest).process
        return [] if process is None else [process]

    def _note_loss(self, key: SlideKey) -> int:
        """Remember that a slide cost a process; s until it may be tried again."""
        before = self._losses.pop(key, None)
        count = (before.count if before else 0) + 1
        wait_s = REST_S if count >= MAX_LOSSES else RETRY_S
        rests_until = time.monotonic() + REST_S if count >= MAX_LOSSES else 0.0
        self._losses[key] = _Losses(count, rests_until)
        while len(self._losses) > MAX_REMEMBERED:
            self._losses.popitem(last=False)
        return wait_s

    def _check_rest(self, key: SlideKey) -> None:
        losses = self._losses.get(key)
        left_s = losses.rests_until - time.monotonic() if losses else 0.0
        if losses and left_s > 0:
            raise ViewingFailed(
                ViewingProblem(
                    code=ViewingCode.DECODER_FAILED,
                    message=f"this slide crashed or hung its reader {losses.count} times in a row:"
                    f" it is tried again in {left_s:.0f} s; export it again if that does not help",
                    retry_after_s=max(1, round(left_s)),
                )
            )


def _busy(reason: str) -> ViewingFailed:
    return ViewingFailed(
        ViewingProblem(
            code=ViewingCode.BUSY,
            message=f"{reason}: try again in {RETRY_S} s",
            retry_after_s=RETRY_S,
        )
    )
