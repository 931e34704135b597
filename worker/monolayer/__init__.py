"""Which parts of a smear are a countable single layer of cells.

map_monolayer  slide → MonolayerMap: verdict and measures a tile, region, stain
read_stain     slide → Stain: its glass and red cells
"""

from worker.monolayer.mapping import MonolayerMap, map_monolayer, read_stain
from worker.monolayer.measures import Measures, Verdict
from worker.monolayer.stain import Stain

__all__ = ["Measures", "MonolayerMap", "Stain", "Verdict", "map_monolayer", "read_stain"]
