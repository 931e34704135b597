"""Decoded tiles, shared by the threads that read a slide."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.contract.failure import RegionUnreadable

Pixels = NDArray[np.uint8]


class TileKey(NamedTuple):
    """Which tile of a slide."""

    level: int
    column: int
    row: int


class TileCache:
    """Tiles by key, at most `max_bytes` of them, each decoded by one thread at a time.

    Of a tile only upper rows may be kept. Whoever needs more gets it loaded anew.

    When there are more, those used longest ago go. Tiles in the hands of a thread are held beside
    the bound.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tiles: OrderedDict[TileKey, Pixels] = OrderedDict()
        self._loading: dict[TileKey, Future[Pixels]] = {}
        self._lock = Lock()

    def fetch(
        self, needs: Mapping[TileKey, int], load: Callable[[TileKey, int], Pixels]
    ) -> Iterator[tuple[TileKey, Pixels | RegionUnreadable]]:
        """Tiles from memory or from `load`, one after the other: each is used while it is warm.

        A tile that another thread is loading is waited for, once all others are through.

        Args:
            needs: of each tile, how many rows from its top at least.
            load: gives as many rows of a tile, or more. A `RegionUnreadable` that it raises stands
                in the tile's place, for everyone who waits for it, and is not kept.

        Yields:
            Every key once, in no order to rely on.
        """
        awaited: dict[TileKey, Future[Pixels]] = {}
        for key, rows in needs.items():
            found = self._find(key, rows)
            if isinstance(found, Future):
                awaited[key] = found
            elif found is None:
                yield key, _attempt(partial(self._load, key, rows, load))
            else:
                yield key, found
        for key, future in awaited.items():
            tile, rows = _attempt(future.result), needs[key]
            if isinstance(tile, RegionUnreadable) or len(tile) >= rows:
                yield key, tile
            else:
                yield from self.fetch({key: rows}, load)

    def discard(self, keys: Iterable[TileKey]) -> None:
        """Forget tiles that are of no more use, so that new ones are decoded into warm memory."""
        with self._lock:
            for key in keys:
                tile = self._tiles.pop(key, None)
                self._bytes -= 0 if tile is None else tile.nbytes

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _find(self, key: TileKey, rows: int) -> Pixels | Future[Pixels] | None:
        """The tile, or who loads it; None if that is now the caller."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None and len(tile) >= rows:
                self._tiles.move_to_end(key)
                return tile
            if key in self._loading:
                return self._loading[key]
            self._loading[key] = Future()
            return None

    def _load(self, key: TileKey, rows: int, load: Callable[[TileKey, int], Pixels]) -> Pixels:
        try:
            tile = load(key, rows)
            assert len(tile) >= rows, f"{rows} rows of {key} were asked for, {len(tile)} came"
        except BaseException as err:
            with self._lock:
                loading = self._loading.pop(key)
            loading.set_exception(err)
            raise
        with self._lock:
            shorter = self._tiles.pop(key, None)
            self._bytes += tile.nbytes - (0 if shorter is None else shorter.nbytes)
            self._tiles[key] = tile
            while self._bytes > self._max_bytes and self._tiles:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes
            loading = self._loading.pop(key)
        loading.set_result(tile)
        return tile


def _attempt(read: Callable[[], Pixels]) -> Pixels | RegionUnreadable:
    try:
        return read()
    except RegionUnreadable as err:
        return err
