"""Headers of compressed tiles: checked before decoding, because decoders believe them.

Measured with imagecodecs 2026.3: a 20 kB JPEG tile whose header says 60,000 × 60,000 px takes 30 s
and 10 GB to decode, and a tile cut in half decodes without an error, its lower part grey.
"""

from dataclasses import dataclass
from typing import Final

from worker.slide.geometry import Size

# JPEG: ITU-T T.81, table B.1. Start-of-frame markers, less DHT, JPG and DAC.
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# JPEG 2000: ITU-T T.800, annex A.5.1. SOC, then SIZ.
_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_END: Final = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """A JPEG's frame header.

    Attributes:
        at: where its marker lies, bytes from the start.
        size: px.
        components: 3 for colour.
    """

    at: int
    size: Size
    components: int


def find_defect(data: bytes, tile: Size) -> str | None:
    """Why a JPEG or JPEG 2000 codestream cannot be the tile it stands for; None if it can.

    Args:
        data: as stored in the file.
        tile: largest size it may have; edge tiles may be smaller.
    """
    if _SOC_SIZ in data[:256]:
        size = _jpeg2000_size(data)
    else:
        frame = find_frame(data)
        if frame is not None and frame.components != 3:
            return f"it has {frame.components} colour components, not 3"
        size = None if frame is None else frame.size
    if size is None:
        return "it has no header"
    if size.width > tile.width or size.height > tile.height or not size.width or not size.height:
        return (
            f"its header says {size.width} × {size.height} px, its place in the file"
            f" {tile.width} × {tile.height} px"
        )
    if _END not in data[-16:]:  # writers may pad a tile by a few bytes
        return "it ends early"
    return None


def find_frame(data: bytes) -> JpegFrame | None:
    """The frame header of a JPEG; None if there is none."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _SOF:
            size = Size(_uint(data, at + 7, 2), _uint(data, at + 5, 2))
            return JpegFrame(at, size, data[at + 9])
        else:
            at += 2 + _uint(data, at + 2, 2)
    return None


def _jpeg2000_size(data: bytes) -> Size | None:
    siz = data.index(_SOC_SIZ) + len(_SOC_SIZ)
    if siz + 20 > len(data):
        return None
    right, bottom, left, top = (_uint(data, siz + 4 + 4 * i, 4) for i in range(4))
    return Size(max(0, right - left), max(0, bottom - top))


def _uint(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")
