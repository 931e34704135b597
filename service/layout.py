"""Where things lie in the data directory. Nothing else knows these names."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class DataRoot:
    """A data directory.

    Attributes:
        path: absolute.
    """

    path: Path

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """Of an installation: one path, however it was spelled, so that all processes agree."""
        return cls(settings.data.resolve())

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "smearscan.db"

    @property
    def slides(self) -> Path:
        """Stored slides by content: `slides/ab/abcdef…` (SHA-256 of the bytes, hex)."""
        return self.path / "slides"

    @property
    def uploads(self) -> Path:
        """Slides that are still arriving. On the same file system as `slides`."""
        return self.path / "uploads"

    @property
    def results(self) -> Path:
        """Results by scan: `results/<scan_id>/<attempt>/report.json …`."""
        return self.path / "results"

    @property
    def lock(self) -> Path:
        """Held by the one service that owns the directory."""
        return self.path / "service.lock"

    @property
    def secrets(self) -> Path:
        """Readable by the service's user alone."""
        return self.path / "secrets"

    @property
    def redis_socket(self) -> Path:
        """Unix socket of the embedded Valkey."""
        return self.run / "redis.sock"

    @property
    def model_socket(self) -> Path:
        """Unix socket of this machine's model process."""
        return self.run / "model.sock"

    @property
    def viewer_socket(self) -> Path:
        """Unix socket of this machine's viewer."""
        return self.run / "viewer.sock"

    @property
    def metrics(self) -> Path:
        """Directory where this machine's api processes count together."""
        return self.run / "metrics"

    @property
    def run(self) -> Path:
        """Directory of this machine's sockets, outside the data directory: that may be shared by
        several machines, and its path may be longer than a socket's can be (unix(7): 107 bytes)."""
        name = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"smearscan-{os.getuid()}-{name}"

    def slide_of(self, sha256: str) -> Path:
        """Where the stored slide with this SHA-256 lies."""
        return self.slides / sha256[:2] / sha256

    def result_of(self, scan_id: str, attempt: int) -> Path:
        """Where the results of a scan's attempt lie."""
        return self.results / scan_id / str(attempt)

    def make(self) -> None:
        """Make the directories that are missing; only the service's user may enter them.

        Raises:
            PermissionError: somebody else made the directory of sockets first.
        """
        for directory in (
            self.path,
            self.slides,
            self.uploads,
            self.results,
            self.secrets,
            self.run,
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.run.stat().st_uid != os.getuid():
            raise PermissionError("the directory of sockets belongs to another user: remove it")
