"""Synthetic blood smears with known contents, for demonstration, tests and benchmarks."""

from worker.demo.pyramid import write_image_pyramid, write_pyramid
from worker.demo.slide import write_demo_slide
from worker.demo.stain import GIEMSA, MAY_GRUNWALD_GIEMSA, Stain
from worker.demo.truth import DemoTruth, PlantedCell, TruthRegion, Zone, load_truth, truth_path

__all__ = [
    "GIEMSA",
    "MAY_GRUNWALD_GIEMSA",
    "DemoTruth",
    "PlantedCell",
    "Stain",
    "TruthRegion",
    "Zone",
    "load_truth",
    "truth_path",
    "write_demo_slide",
    "write_image_pyramid",
    "write_pyramid",
]
