"""From a request to a batch: what it names is looked at before anything is promised."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from service.batches.manifest import ManifestInvalid, read_manifest
from service.batches.patterns import Pattern
from service.batches.places import SlidePlaces, SourceRefused
from service.contract.batch import Batch, BatchRequest, BatchSources
from service.installation import Installation
from service.store.batch_items import NewItem
from service.store.batches import NewBatch


def ask(
    installation: Installation, request: BatchRequest, *, submitted_by: str
) -> tuple[Batch, bool]:
    """A new batch, or the unfinished one that does the same for whomever; and whether it is new.

    It begins by itself. A manifest that was sent becomes the batch's slides at once; everything
    else is listed by the reconciler.

    Raises:
        SourceRefused: a source lies outside the slide roots, or is not there.
        ManifestInvalid: the text that was sent is no manifest.
        UnknownModel: the named classifier is not served here.
    """
    settings = installation.settings
    _check_places(SlidePlaces.of(settings), request)
    wanted = NewBatch(
        name=request.name,
        sources=BatchSources(
            roots=request.roots,
            globs=request.globs,
            manifest_uri=request.manifest_uri,
            manifest_sha256=_hash(request.manifest),
        ),
        parameters=request.parameters,
        force=request.force,
        model_sha256=installation.models.sha256_of(request.parameters.model or settings.model),
        submitted_by=submitted_by,
        items=_read_items(request.manifest),
        is_listed=not (request.roots or request.globs or request.manifest_uri),
    )
    return installation.batches.create(wanted)


def _check_places(places: SlidePlaces, request: BatchRequest) -> None:
    for number, root in enumerate(request.roots):
        with _naming(f"roots.{number}"):
            places.locate_directory(root)
    for number, glob in enumerate(request.globs):
        with _naming(f"globs.{number}, before its wildcards"):
            places.locate_directory(Pattern.parse(glob).base)
    if request.manifest_uri is not None:
        with _naming("manifest_uri"):
            places.locate_file(request.manifest_uri)


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Have a refusal say which source it is about."""
    try:
        yield
    except (SourceRefused, ManifestInvalid) as err:
        raise type(err)(f"{source}: {err}.") from err


def _read_items(manifest: str | None) -> tuple[NewItem, ...]:
    if manifest is None:
        return ()
    with _naming("manifest"):
        return tuple(read_manifest(io.StringIO(manifest, newline="")))


def _hash(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
