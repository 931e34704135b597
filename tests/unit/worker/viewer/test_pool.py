"""The pool with its real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from service.contract.viewing import SlideReference, ViewingCode
from tests.slide_files import paint_smear, write_pyramid
from worker.viewer.permission import SlideRoots
from worker.viewer.pool import MAX_LOSSES, PoolLimits, SlideKey, SlidePool
from worker.viewer.slide_process import ViewingFailed
from worker.viewer.wire import Describe, Tile

PIXELS = paint_smear(700, 600)
TOP = Tile(level=10, column=0, row=0)
PATIENT = 60.0
"""For machines under load, s: no test waits for it."""


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    return [write_pyramid(folder / f"{name}.tiff", PIXELS) for name in "abc"]


def key_of(path: Path, **known: object) -> SlideKey:
    fields = {"path": str(path), "sha256": "0" * 64, "um_per_px": 0.1, **known}
    slide = SlideReference.model_validate(fields)
    return SlideKey.of(*SlideRoots([path.parent]).resolve(slide))


@asynccontextmanager
async def pool_of(**limits: float) -> AsyncIterator[SlidePool]:
    patient = {"answer_s": PATIENT, "open_s": PATIENT, "place_s": PATIENT}
    pool = SlidePool(PoolLimits(**{**patient, **limits}))
    try:
        yield pool
    finally:
        await pool.close()


async def failure(answer: Awaitable[bytes]) -> ViewingFailed:
    with pytest.raises(ViewingFailed) as caught:
        await answer
    return caught.value


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT):
        while not condition():
            await asyncio.sleep(0.02)


def test_a_slide_is_opened_once_and_answers_many(slides):
    async def run() -> None:
        async with pool_of() as pool:
            key = key_of(slides[0])
            assert b'Width="700"' in await pool.ask(key, Describe())
            before = pool.pids
            tiles = await asyncio.gather(*(pool.ask(key, TOP) for _ in range(10)))
            assert len(set(tiles)) == 1
            assert tiles[0].startswith(b"\xff\xd8")
            assert pool.pids == before

    asyncio.run(run())


def test_the_slide_looked_at_longest_ago_gives_its_place_up(slides):
    async def run() -> None:
        async with pool_of(processes=2) as pool:
            a, b, c = map(key_of, slides)
            await pool.ask(a, TOP)
            (pid_a,) = pool.pids
            await pool.ask(b, TOP)
            pid_b = pool.pids[1]
            await pool.ask(a, TOP)
            await pool.ask(c, TOP)
            assert pool.pids[0] == pid_a
            assert len(pool.pids) == 2
            assert is_running(pid_a)
            assert not is_running(pid_b)

    asyncio.run(run())


def test_a_hung_decoder_is_killed_and_the_next_request_is_answered(slides):
    async def run() -> None:
        async with pool_of(answer_s=1.0) as pool:
            key = key_of(slides[0])
            tile = await pool.ask(key, TOP)
            (hung,) = pool.pids
            os.kill(hung, signal.SIGSTOP)
            err = await failure(pool.ask(key, TOP))
            assert err.problem.code is ViewingCode.DECODER_FAILED
            assert "silent for 1 s" in err.problem.message
            assert err.problem.retry_after_s
            assert not is_running(hung)
            assert await pool.ask(key, TOP) == tile
            assert pool.pids != [hung]

    asyncio.run(run())


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_killed_during_a_request_is_named_and_replaced(slides, signum):
    async def run() -> None:
        async with pool_of() as pool:
            key = key_of(slides[0])
            tile = await pool.ask(key, TOP)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGSTOP)  # so that the request is under way when it dies
            asked = asyncio.create_task(pool.ask(key, TOP))
            await asyncio.sleep(0.2)
            os.kill(pid, signum)
            os.kill(pid, signal.SIGCONT)
            err = await failure(asked)
            assert err.problem.code is ViewingCode.DECODER_FAILED
            assert f"signal {signum.value}" in err.problem.message
            assert await pool.ask(key, TOP) == tile

    asyncio.run(run())


def test_a_process_that_died_while_nobody_asked_costs_no_request(slides):
    async def run() -> None:
        async with pool_of() as pool:
            key = key_of(slides[0])
            tile = await pool.ask(key, TOP)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGKILL)
            await until(lambda: not Path(f"/proc/{pid}").exists())  # and reaped
            assert await pool.ask(key, TOP) == tile

    asyncio.run(run())


def test_one_slides_hang_does_not_hold_up_another(slides):
    async def run() -> None:
        async with pool_of() as pool:
            a, b = key_of(slides[0]), key_of(slides[1])
            await pool.ask(a, TOP)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGSTOP)
            asked = asyncio.create_task(pool.ask(a, TOP))
            assert await pool.ask(b, TOP)
            assert not asked.done()
            os.kill(pid, signal.SIGCONT)
            assert await asked

    asyncio.run(run())


def test_a_slide_that_keeps_crashing_its_reader_rests(slides):
    async def run() -> None:
        async with pool_of() as pool:
            key = key_of(slides[0])
            lost = 0
            for _ in range(20 * MAX_LOSSES):
                asked = asyncio.create_task(pool.ask(key, TOP))
                while not asked.done():
                    for pid in pool.pids:
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(0)
                if asked.exception() is None:
                    lost = 0  # it answered before the signal came: the row begins anew
                    continue
                assert (await failure(asked)).problem.code is ViewingCode.DECODER_FAILED
                lost += 1
                if lost == MAX_LOSSES:
                    break
            err = await failure(pool.ask(key, TOP))
            assert f"{MAX_LOSSES} times in a row" in err.problem.message
            assert (err.problem.retry_after_s or 0) > 10
            assert pool.pids == []
            assert await pool.ask(key_of(slides[1]), TOP)

    asyncio.run(run())


@pytest.mark.parametrize(("asked", "turned_away"), [(4, 0), (5, 1)])
def test_questions_beyond_the_queue_are_turned_away_with_a_time_to_come_back(
    slides, asked, turned_away
):
    async def run() -> None:
        async with pool_of(waiting=4) as pool:
            key = key_of(slides[0])
            answers = await asyncio.gather(
                *(pool.ask(key, TOP) for _ in range(asked)), return_exceptions=True
            )
            refused = [answer for answer in answers if isinstance(answer, ViewingFailed)]
            assert len(refused) == turned_away
            for err in refused:
                assert err.problem.code is ViewingCode.BUSY
                assert err.problem.retry_after_s
            assert pool.questions == 0

    asyncio.run(run())


def test_when_all_places_are_in_use_a_further_slide_waits_and_is_then_turned_away(slides):
    async def run() -> None:
        async with pool_of(processes=1, place_s=0.5) as pool:
            a, b = key_of(slides[0]), key_of(slides[1])
            await pool.ask(a, TOP)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGSTOP)
            asked = asyncio.create_task(pool.ask(a, TOP))
            await asyncio.sleep(0)
            err = await failure(pool.ask(b, TOP))
            assert err.problem.code is ViewingCode.BUSY
            os.kill(pid, signal.SIGCONT)
            assert await asked
            assert await pool.ask(b, TOP)

    asyncio.run(run())


def test_a_file_that_is_no_slide_says_why_and_holds_no_place(tmp_path):
    (tmp_path / "letter.tiff").write_bytes(b"Dear colleague, " * 1000)

    async def run() -> None:
        async with pool_of() as pool:
            err = await failure(pool.ask(key_of(tmp_path / "letter.tiff"), TOP))
            assert err.problem.code is ViewingCode.SLIDE_UNREADABLE
            assert "not a slide" in err.problem.message
            assert str(tmp_path) not in err.problem.message
            assert pool.pids == []

    asyncio.run(run())


def test_a_file_that_was_replaced_is_opened_anew(tmp_path):
    path = write_pyramid(tmp_path / "s.tiff", PIXELS)

    async def run() -> None:
        async with pool_of() as pool:
            before = await pool.ask(key_of(path), TOP)
            write_pyramid(tmp_path / "new", paint_smear(700, 600, seed=1)).rename(path)
            assert await pool.ask(key_of(path), TOP) != before

    asyncio.run(run())


def test_a_cancelled_question_does_not_leave_its_answer_to_the_next(slides):
    async def run() -> None:
        async with pool_of() as pool:
            key = key_of(slides[0])
            tile = await pool.ask(key, TOP)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGSTOP)
            asked = asyncio.create_task(pool.ask(key, Describe()))
            await asyncio.sleep(0.1)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert not is_running(pid)
            assert await pool.ask(key, TOP) == tile

    asyncio.run(run())


def test_no_process_outlives_the_pool(slides):
    async def run() -> list[int]:
        async with pool_of() as pool:
            await asyncio.gather(*(pool.ask(key_of(path), TOP) for path in slides))
            return pool.pids

    pids = asyncio.run(run())
    assert len(pids) == 3
    assert not any(map(is_running, pids))
