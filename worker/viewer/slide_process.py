"""The parent's end of a slide's process."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Final, Self

from pydantic import ValidationError

from service.contract.viewing import SlideReference, ViewingCode, ViewingProblem
from worker.viewer.wire import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    PREFIX,
    Answer,
    Open,
    Question,
    pack,
)

ENDING_S: Final = 1.0
"""How long a process that closed its pipes may take to end, s."""


class ViewingFailed(Exception):
    """No pixels, and why.

    Args:
        problem: what the api is told.
    """

    def __init__(self, problem: ViewingProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class ProcessLost(Exception):
    """A slide's process crashed, hung or talked nonsense; it is dead now."""


class SlideProcess:
    """One slide, open in a process of its own. Asked one question at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Self:
        """Start a process, for whatever slide; it loads its libraries meanwhile."""
        command = (sys.executable, "-m", "worker.viewer.child", str(os.getpid()))
        return cls(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE))

    async def open(self, slide: SlideReference, *, timeout_s: float) -> None:
        """Have a fresh process open its slide.

        Raises:
            ViewingFailed: slide_unreadable.
            ProcessLost: the slide could not be opened within `timeout_s`, or crashed its reader.
        """
        await self.ask(Open(slide=slide), timeout_s=timeout_s)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    async def ask(self, question: Question, *, timeout_s: float) -> bytes:
        """The body of the answer to a question.

        Raises:
            ViewingFailed: the slide has no such pixels.
            ProcessLost: no answer within `timeout_s`; the process was killed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                answer, body = await self._exchange(question)
        except TimeoutError:
            await self.kill()
            raise ProcessLost(f"the slide's reader was silent for {timeout_s:g} s") from None
        except (OSError, EOFError, ValueError) as err:
            if not isinstance(err, ValueError):
                await self._wait_for_end()
            await self.kill()
            raise ProcessLost(f"the slide's reader ended with {self._describe_end()}") from err
        except BaseException:
            await self.kill()  # its answer is still under way and would be taken for the next one's
            raise
        if answer.problem is not None:
            raise ViewingFailed(answer.problem)
        return body

    async def kill(self) -> None:
        """End the process, whatever it does, and reap it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

    async def _wait_for_end(self) -> None:
        """Learn how a process that closed its pipes ended.

        `kill` would look whether it still runs and thereby reap it, and the event loop's own look
        would find no process and say exit code 255.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING_S):
                await self._process.wait()

    async def _exchange(self, question: Question) -> tuple[Answer, bytes]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(pack(question))
        await stdin.drain()
        header, body = PREFIX.unpack(await stdout.readexactly(PREFIX.size))
        if header > MAX_HEADER_BYTES or body > MAX_BODY_BYTES:
            raise ValueError(f"an answer of {header} + {body} bytes")
        try:
            answer = Answer.model_validate_json(await stdout.readexactly(header))
        except ValidationError as err:
            raise ValueError("not an answer") from err
        return answer, await stdout.readexactly(body)

    def _describe_end(self) -> str:
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def decoder_failed(reason: str, retry_after_s: int) -> ViewingFailed:
    """The slide's process was lost; another try may do."""
    return ViewingFailed(
        ViewingProblem(
            code=ViewingCode.DECODER_FAILED,
            message=f"{reason}; another is started: try again in {retry_after_s} s",
            retry_after_s=retry_after_s,
        )
    )
