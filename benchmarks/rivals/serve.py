"""One rival reader as a process that does a step when it is told to.

Run with the rivals' interpreter: serve.py ENGINE. A line of JSON comes in, a line of JSON goes out:
{"do": "open", "slide": PATH, "corners": [[x, y], …], "patch_px": 400}, then {"do": "read"} or
{"do": "save", "to": PATH} (reads, and writes all patches as .npy), then {"do": "close"}.
Imports nothing of smearscan; what an engine prints goes to stderr.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

CACHE_BYTES = 128 << 20  # decoded tiles: as many as smearscan keeps


def open_tiatoolbox(slide: str, corners: list[list[int]], patch_px: int) -> Callable[[], Any]:
    """PointsPatchExtractor at level 0; takes centres, puts corners (px - 1) // 2 before.

    Its reader is named, because left to itself TIAToolbox takes a plain pyramid TIFF for a picture
    and decodes all of it when it opens it: a minute for 2 mm², 11 GB for 20 mm².
    """
    from tiatoolbox.tools.patchextraction import get_patch_extractor
    from tiatoolbox.wsicore.wsireader import OpenSlideWSIReader

    back = (patch_px - 1) // 2
    extractor = get_patch_extractor(
        "point",
        input_img=OpenSlideWSIReader(slide),
        locations_list=np.array(corners) + back,
        patch_size=(patch_px, patch_px),
        resolution=0,
        units="level",
    )
    return lambda: iter(extractor)


def open_fastslide(slide: str, corners: list[list[int]], patch_px: int) -> Callable[[], Any]:
    """FastSlide.read_region at level 0, with a cache of tiles."""
    import fastslide

    handle = fastslide.FastSlide.from_file_path(slide, cache=CACHE_BYTES)

    def read() -> Iterator[Any]:
        for x, y in corners:
            yield np.asarray(handle.read_region((x, y), 0, (patch_px, patch_px)).numpy())

    return read


ENGINES = {"tiatoolbox": open_tiatoolbox, "fastslide": open_fastslide}


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine = ENGINES[sys.argv[1]]
    if sys.argv[1] == "tiatoolbox":
        import cv2

        cv2.setNumThreads(1)
    read: Callable[[], Any] | None = None
    for line in sys.stdin:
        told = json.loads(line)
        if told["do"] == "open":
            read = engine(told["slide"], told["corners"], told["patch_px"])
        elif told["do"] == "close":
            read = None
        elif read is not None and told["do"] == "read":
            for _ in read():
                pass
        elif read is not None and told["do"] == "save":
            np.save(told["to"], np.stack([np.asarray(patch)[..., :3] for patch in read()]))
        print(json.dumps({"done": told["do"]}), file=answers, flush=True)


if __name__ == "__main__":
    main()
