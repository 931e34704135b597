"""The viewer as the api sees it: pixels of slides, over a socket.

ViewerError
├── ViewerUnavailable   503: no viewer answers, or it has too much to do
├── TileUnavailable     503: this slide's decoder hung or crashed; another try may do
├── ModelUnavailable    503: no saliency, for no model process answers
├── TileNotFound        404: the pyramid has no such level or tile
├── SlideGone           410: the file is not there any more, or is another, or may not be read
├── PixelsUnreadable    422: the slide, or this part of it, cannot be shown, however often asked
└── ViewingRefused      400: the request makes no sense to the viewer, e.g. a class without weights

Messages say value, limit and remedy, and never a path.
"""

from types import TracebackType
from typing import Final, Self

import httpx
from pydantic import ValidationError

from models.taxonomy import CellClass
from service.contract.record import Record
from service.contract.viewing import (
    DescriptorRequest,
    PatchRequest,
    SaliencyRequest,
    SlideReference,
    TileRequest,
    ViewingCode,
    ViewingProblem,
)
from service.layout import DataRoot
from service.settings import ServiceSettings

TIMEOUT_S: Final = 70.0
"""Longer than the viewer takes to give a request up: 10 s for a place, 45 s to open a slide on a
machine that is busy with scans, 10 s for the tile, s."""
CONNECT_TIMEOUT_S: Final = 2.0
MAX_CONNECTIONS: Final = 64
MAX_ANSWER_BYTES: Final = 4 << 20
"""A tile of 514 px has 0.8 MB as raw RGB."""
RETRY_AFTER_S: Final = 5


class ViewerError(Exception):
    """No pixels.

    Args:
        message: for people: value, limit, remedy.
        retry_after_s: when another try may do, s; None if none will.
    """

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ViewerUnavailable(ViewerError):
    """No viewer answers, or it has too much to do."""


class TileUnavailable(ViewerError):
    """The slide's decoder hung or crashed."""


class ModelUnavailable(ViewerError):
    """No model process answers."""


class TileNotFound(ViewerError):
    """The pyramid has no such level or tile."""


class SlideGone(ViewerError):
    """The slide's file cannot be looked at any more."""


class PixelsUnreadable(ViewerError):
    """The slide, or a part of it, cannot be decoded."""


class ViewingRefused(ViewerError):
    """The request makes no sense to the viewer."""


ERRORS: Final[dict[ViewingCode, type[ViewerError]]] = {
    ViewingCode.OUT_OF_RANGE: TileNotFound,
    ViewingCode.SLIDE_GONE: SlideGone,
    ViewingCode.SLIDE_REFUSED: SlideGone,
    ViewingCode.SLIDE_UNREADABLE: PixelsUnreadable,
    ViewingCode.PIXELS_UNREADABLE: PixelsUnreadable,
    ViewingCode.TOO_COSTLY: PixelsUnreadable,
    ViewingCode.INVALID: ViewingRefused,
    ViewingCode.BUSY: ViewerUnavailable,
    ViewingCode.DECODER_FAILED: TileUnavailable,
    ViewingCode.MODEL_UNAVAILABLE: ModelUnavailable,
    ViewingCode.INTERNAL: ViewerUnavailable,
}


class ViewerClient:
    """Asks one viewer; `close` it in the event loop that used it.

    Args:
        base_url: of the viewer; with a socket only its host name counts for nothing.
        transport: how it is reached; None: over TCP.
        timeout_s: longest an answer may take, s.
    """

    def __init__(
        self,
        base_url: str,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            trust_env=False,  # a proxy has no business here
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        )

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """The viewer of the settings: `viewer_url`, or this machine's."""
        if settings.viewer_url is not None:
            return cls(settings.viewer_url)
        path = DataRoot.of(settings).viewer_socket
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
        return cls("http://viewer", httpx.AsyncHTTPTransport(uds=str(path), limits=limits))

    async def fetch_dzi(self, slide: SlideReference) -> bytes:
        """The slide's Deep Zoom descriptor, XML.

        Raises:
            ViewerError: see the module.
        """
        return await self._fetch("/dzi", DescriptorRequest(slide=slide))

    async def fetch_tile(self, slide: SlideReference, level: int, column: int, row: int) -> bytes:
        """A tile of its pyramid, a JPEG.

        Args:
            level: 0 to `MAX_LEVEL`.
            column: from the left, from 0, below 2³¹.
            row: from the top, from 0, below 2³¹.

        Raises:
            ViewerError: see the module.
        """
        return await self._fetch(
            "/tile", TileRequest(slide=slide, level=level, column=column, row=row)
        )

    async def fetch_patch(
        self, slide: SlideReference, x_px: float, y_px: float, *, patch_um: float = 29.0
    ) -> bytes:
        """The square around a place of the level-0 frame, a JPEG.

        Raises:
            ViewerError: see the module.
        """
        request = PatchRequest(slide=slide, x_px=x_px, y_px=y_px, patch_um=patch_um)
        return await self._fetch("/patch", request)

    async def fetch_saliency(
        self,
        slide: SlideReference,
        x_px: float,
        y_px: float,
        *,
        patch_um: float = 29.0,
        model: str | None = None,
        target: CellClass | None = None,
    ) -> bytes:
        """What the classifier looked at in that square, a PNG.

        Args:
            model: name of the weights; None: the default.
            target: class whose loss is differentiated; None: the likeliest.

        Raises:
            ViewerError: see the module.
        """
        request = SaliencyRequest(
            slide=slide, x_px=x_px, y_px=y_px, patch_um=patch_um, model=model, target=target
        )
        return await self._fetch("/saliency", request)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _fetch(self, path: str, request: Record) -> bytes:
        body = bytearray()
        try:
            async with self._client.stream("POST", path, content=request.model_dump_json()) as sent:
                async for chunk in sent.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ViewerUnavailable(
                            f"the viewer's answer has more than {MAX_ANSWER_BYTES} bytes:"
                            " update it to the version of the api"
                        )
        except httpx.TimeoutException as err:
            raise ViewerUnavailable(
                "the viewer has not answered in time: try again", RETRY_AFTER_S
            ) from err
        except httpx.HTTPError as err:
            raise ViewerUnavailable(
                "no viewer answers: it may be starting; try again, and see its log",
                RETRY_AFTER_S,
            ) from err
        if sent.status_code == httpx.codes.OK:
            return bytes(body)
        raise _error_of(bytes(body))


def _error_of(body: bytes) -> ViewerError:
    try:
        problem = ViewingProblem.model_validate_json(body)
    except ValidationError:
        return ViewerUnavailable(
            "what answers at the viewer's address is no viewer of this version: check viewer_url"
        )
    return ERRORS[problem.code](problem.message, problem.retry_after_s)
