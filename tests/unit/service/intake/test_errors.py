from collections.abc import Iterator

import pytest

from service.contract.failure import FailureCode
from service.intake import errors
from service.intake.errors import IntakeError


def leaves(kind: type[IntakeError]) -> Iterator[type[IntakeError]]:
    for child in kind.__subclasses__():
        yield child
        yield from leaves(child)


NAMED = [kind for kind in leaves(IntakeError) if hasattr(kind, "code")]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in NAMED]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", NAMED)
def test_every_error_is_a_status_of_the_client_or_of_capacity(
    kind: type[IntakeError],
) -> None:
    assert 400 <= kind.status < 500 or kind.status in (503, 507)


def test_every_error_stands_in_the_tree_of_the_docstring() -> None:
    assert errors.__doc__ is not None
    for kind in leaves(IntakeError):
        assert f"─ {kind.__name__}" in errors.__doc__


def test_codes_that_a_scan_can_fail_with_too_are_spelt_alike() -> None:
    shared = {"unsupported_format", "slide_too_large", "storage_full"}
    assert shared <= {kind.code for kind in NAMED}
    assert shared <= set(FailureCode)
