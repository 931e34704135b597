"""A slide as a part of a multipart form, from the connection into the store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from service.intake.errors import SlideTooLarge
from service.intake.form import SlideForm, read_boundary
from service.intake.intake import Intake, read_length
from service.intake.partial import Partial
from service.intake.storage import StoredSlide


@dataclass(frozen=True, slots=True)
class Received:
    """A slide that has arrived.

    Attributes:
        slide: where it is stored.
        metadata: the form's part of that name, None without one.
        filename: the slide's name on the client's side, for people only; it may name a patient.
    """

    slide: StoredSlide
    metadata: bytes | None
    filename: str | None


async def receive_slide(
    request: Request,
    intake: Intake,
    *,
    check_metadata: Callable[[bytes], object] | None = None,
) -> Received:
    """Store the slide of a form; on any error nothing of it is left.

    Args:
        request: whose body has not been read.
        intake: of this process.
        check_metadata: called once with the part `metadata`, if there is one, before the slide is
            kept: early, if the part comes first. In a thread. What it raises ends the upload.

    Raises:
        IntakeError: any but those of resumable uploads and references.
    """
    limits = intake.limits
    boundary = read_boundary(request.headers.get("content-type", ""))
    length = read_length(request)
    if length is not None and length > limits.max_form_bytes:
        raise SlideTooLarge(length, limits.max_slide_bytes)
    with intake.take_place():
        partial = Partial(intake.root, limits)
        form = SlideForm(
            boundary,
            partial,
            max_form_bytes=limits.max_form_bytes,
            max_metadata_bytes=limits.max_metadata_bytes,
            check_metadata=check_metadata,
        )
        try:
            await intake.run(partial.open, length or 0)
            async for chunks in intake.blocks(request):
                await intake.run(form.feed, chunks)
            stored = await intake.run(form.finish)
        finally:
            await asyncio.shield(intake.run(partial.discard))
    return Received(stored, form.metadata, form.filename)
