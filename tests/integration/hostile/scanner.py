"""Scans files one after another in a process of its own, and says what each cost.

A file that kills the process or keeps it busy for ever then fails its own test and no other. Run
as a module it reads paths from stdin and answers on stdout, a line of JSON each.
"""

import json
import os
import resource
import subprocess
import sys
import traceback
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

ROOT = Path(__file__).parents[3]
HANG_S = 60
"""No file here needs more than a few seconds; beyond this it is taken to run for ever."""
ADDRESS_SPACE = 3 << 30
"""Bytes a scan may map beyond what the loaded program has: it ends here, not the machine."""


class Scanner:
    """A process that scans; started when first needed, and anew after it was lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: Queue[str] = Queue()

    def scan(self, path: Path, *, max_tiles_failed_share: float) -> dict[str, Any]:
        """`report` or `failure` of a scan as JSON, or its `traceback`, and its `peak_mib`.

        Raises:
            AssertionError: it hung, or the process was lost.
        """
        process = self._process or self._start()
        request = {"path": str(path), "max_tiles_failed_share": max_tiles_failed_share}
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer: str | None
        try:
            answer = self._answers.get(timeout=HANG_S)
        except Empty:
            answer = None
        if not answer:
            self.close()
            raise AssertionError(f"no answer after {HANG_S} s" if answer is None else "it crashed")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.integration.hostile.scanner"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self._process, self._answers = process, Queue()
        Thread(target=_pass_on, args=(process, self._answers), daemon=True).start()
        assert self._answers.get(timeout=300) == "ready\n"
        return process


def _pass_on(process: subprocess.Popen[str], answers: "Queue[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put("")


def _serve() -> None:
    from models.detector import Detector
    from service.contract.failure import AnalysisError
    from service.contract.scan import ScanParameters
    from service.contract.settings import AnalysisSettings
    from tests.networks import ClassifierByDarkness, StandInPredictor
    from worker.pipeline import scan_slide
    from worker.results import write_results

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    predictor = StandInPredictor(Detector.load(), ClassifierByDarkness())
    _limit_memory()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        before = _forget_peak()
        settings = AnalysisSettings(max_tiles_failed_share=request["max_tiles_failed_share"])
        answer: dict[str, Any]
        try:
            results = scan_slide(
                Path(request["path"]),
                predictor,
                scan_id="hostile",
                parameters=ScanParameters(),
                settings=settings,
            )
            with TemporaryDirectory() as folder:
                write_results(Path(folder, "results"), results)
            answer = {"report": results.report.model_dump(mode="json")}
        except AnalysisError as err:
            answer = {"failure": err.failure.model_dump(mode="json")}
        except BaseException:  # noqa: BLE001 - the top of this process
            answer = {"traceback": traceback.format_exc()}
        answer["peak_mib"] = (_peak_bytes() - before) >> 20
        print(json.dumps(answer), file=answers, flush=True)


def _limit_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE, resource.RLIM_INFINITY))


def _forget_peak() -> int:
    """Resident bytes now; the peak is counted from here (Linux, proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10


if __name__ == "__main__":
    _serve()
