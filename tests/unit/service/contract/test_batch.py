import pytest
from pydantic import BaseModel, ValidationError

from service.contract import batch as contract
from service.contract.batch import MAX_SOURCES, BatchCounts, BatchRequest, BatchState, ItemState

RECORDS = [
    kind
    for kind in vars(contract).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__.endswith("batch")
]


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_has_a_description(record):
    assert all(field.description for field in record.model_fields.values())


@pytest.mark.parametrize("source", ["roots", "globs", "manifest", "manifest_uri"])
def test_one_source_is_enough(source):
    text = "/archive" if "manifest" in source else ("/archive",)
    assert BatchRequest(name="x", **{source: text})
    with pytest.raises(ValidationError, match="at least one"):
        BatchRequest(name="x")


@pytest.mark.parametrize(("n", "accepted"), [(MAX_SOURCES, True), (MAX_SOURCES + 1, False)])
def test_sources_are_limited(n, accepted):
    roots = tuple(f"/{k}" for k in range(n))
    if accepted:
        assert BatchRequest(name="x", roots=roots)
    else:
        with pytest.raises(ValidationError):
            BatchRequest(name="x", roots=roots)


def test_counts_add_up():
    counts = BatchCounts(**{state.value: 10**number for number, state in enumerate(ItemState)})
    assert counts.total == 111_111
    assert counts.ended == sum(getattr(counts, s) for s in ItemState if s.is_terminal)


def test_two_states_of_a_batch_are_ends():
    assert [state for state in BatchState if state.is_terminal] == ["cancelled", "done"]
