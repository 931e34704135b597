"""Readers of other projects, each in a process and an environment of its own.

The environment is made once from `rivals/requirements.txt` in a folder that git ignores. So what a
rival needs never meets what smearscan needs, its imports are over before a clock starts, and its
rounds still stand between ours.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.readers import Read, corners
from benchmarks.slides import PATCH_PX, Centres

HERE: Final = Path(__file__).parent
ENVIRONMENT: Final = HERE / ".rivals" / "venv"
REQUIREMENTS: Final = HERE / "rivals" / "requirements.txt"
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def prepare_environment() -> Path:
    """The rivals' interpreter; installs them the first time, and again when the pins changed."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        print("installing the rivals once, some gigabytes …", flush=True)
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run(
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, ENVIRONMENT],
            check=True,
        )
        subprocess.run(
            [
                *(uv, "pip", "install", "--quiet", "--compile-bytecode"),
                *("--python", python, "-r", REQUIREMENTS),
            ],
            check=True,
        )
        stamp.write_text(wanted)
    return python


class Rival:
    """A running rival. Its `prepare` is a `readers.Reader` whose work is done over there."""

    def __init__(self, engine: str, command: list[str]) -> None:
        self._engine = engine
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | ONE_THREAD,
        )

    @contextmanager
    def prepare(self, path: Path, centres: Centres) -> Iterator[Read]:
        """Open the slide over there; the work reads all patches and sends none."""
        slide = str(path.resolve())
        self._tell("open", slide=slide, corners=corners(centres), patch_px=PATCH_PX)

        def read() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            self._tell("read")
            yield from ()

        yield read
        self._tell("close")

    @contextmanager
    def prepare_visible(self, path: Path, centres: Centres) -> Iterator[Read]:
        """The same, but the patches come over, through a file: to look at, not to time."""
        with tempfile.TemporaryDirectory() as folder, self.prepare(path, centres):

            def read() -> Iterator[tuple[int, NDArray[np.uint8]]]:
                there = Path(folder) / "patches.npy"
                self._tell("save", to=str(there))
                yield from enumerate(np.load(there))

            yield read

    def cpu_s(self) -> float:
        """CPU seconds of the rival's process so far, all its threads."""
        return time.clock_gettime((~self._child.pid << 3) | 2)  # as clock_getcpuclockid(3) makes it

    def close(self) -> None:
        """End the process."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait(timeout=30)
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _tell(self, what: str, **details: Any) -> None:
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": what, **details}) + "\n")
        stdin.flush()
        if json.loads(stdout.readline() or "{}").get("done") != what:
            raise RuntimeError(f"the rival {self._engine} ended when told to {what}")


@contextmanager
def running_rivals(engines: dict[str, str]) -> Iterator[dict[str, Rival]]:
    """Start rivals, by name in tables; end them all when done."""
    python = prepare_environment()
    serve = str(HERE / "rivals" / "serve.py")
    rivals = {name: Rival(engine, [str(python), serve, engine]) for name, engine in engines.items()}
    try:
        yield rivals
    finally:
        for rival in rivals.values():
            rival.close()
