"""The slide of an item, looked up shortly before its scan is asked for."""

from service.batches.places import unreadable
from service.contract.failure import AnalysisError, Failure, FailureCode
from service.intake.errors import ReferenceRefused, SlideTooLarge
from service.intake.references import resolve_reference
from service.settings import ServiceSettings
from service.store.creation import SlideSource


def find_slide(uri: str, settings: ServiceSettings) -> SlideSource | Failure:
    """What an item's URI names now, or why it can be no scan. Opens nothing.

    Args:
        uri: as for `resolve_reference`.
        settings: say where slides may lie.

    Raises:
        ObjectStoreUnavailable: the object store does not answer; another time it may.
    """
    try:
        found = resolve_reference(uri, settings)
    except SlideTooLarge as err:
        return AnalysisError(FailureCode.SLIDE_TOO_LARGE, err.message).failure
    except ReferenceRefused as err:
        return unreadable(err.message)
    if found.size_bytes == 0:
        return unreadable("the file is empty: copy the slide again")
    return SlideSource(found.size_bytes, uri=found.uri, version=str(found.mtime_ns))
