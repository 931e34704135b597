"""A slide process: scans one slide with the networks of a model process and prints its cells.

Run as a module: slide, socket.
"""

import json
import sys
from pathlib import Path

from service.contract.scan import RegionChoice, ScanParameters
from service.contract.settings import AnalysisSettings
from worker.model.client import RemotePredictor
from worker.pipeline import scan_slide
from worker.predictor import Predictor
from worker.results import Results
from worker.stages import OnProgress, ignore_progress


def scan(path: Path, predictor: Predictor, on_progress: OnProgress = ignore_progress) -> Results:
    """Scan all of a slide."""
    return scan_slide(
        path,
        predictor,
        scan_id="test",
        parameters=ScanParameters(region=RegionChoice.ALL),
        settings=AnalysisSettings(),
        on_progress=on_progress,
    )


if __name__ == "__main__":
    with RemotePredictor(Path(sys.argv[2])) as remote:
        results = scan(Path(sys.argv[1]), remote)
    assert "torch" not in sys.modules
    print(json.dumps([cell.model_dump(mode="json") for cell in results.cells]))
