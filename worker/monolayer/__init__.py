"""Which parts of a smear are a countable single layer of cells.

map_monolayer       slide → MonolayerMap: verdict and measures a tile, region, glass colour
estimate_background slide → colour of its glass
"""

from worker.monolayer.mapping import MonolayerMap, estimate_background, map_monolayer
from worker.monolayer.measures import Measures, Verdict

__all__ = ["Measures", "MonolayerMap", "Verdict", "estimate_background", "map_monolayer"]
