"""Slides in an object store that speaks S3."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.intake.errors import (
    ReferenceForbidden,
    ReferenceMissing,
    SlideTooLarge,
    StorageFull,
    UnsupportedUpload,
)
from service.intake.objects import fetch_to
from service.intake.references import resolve_reference
from service.layout import DataRoot
from service.settings import ServiceSettings
from tests.object_store import CREDENTIALS, running_store
from tests.slide_bytes import limits, slide_bytes

pytestmark = pytest.mark.integration

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")

SLIDE = slide_bytes(20_000_000)
PREFIXES = ("s3://lab/slides", "s3://other/")


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A client of the store, which has `lab/slides/a.svs` and some others."""
    with running_store() as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="lab")
        for key, content in {
            "slides/a.svs": SLIDE,
            "slides/größe 1.svs": SLIDE[:1000],
            "slides/text.svs": b"text",
            "slides2/a.svs": SLIDE[:1000],
        }.items():
            client.put_object(Bucket="lab", Key=key, Body=content)
        yield client


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    root = DataRoot(tmp_path / "data")
    for directory in (root.uploads, root.slides):
        directory.mkdir(parents=True)
    return root


def settings(**others: int) -> ServiceSettings:
    return ServiceSettings(s3_prefixes=PREFIXES, **others)  # type: ignore[arg-type]


def fetch(root: DataRoot, uri: str, **others: float) -> Any:
    return fetch_to(uri, PREFIXES, root, limits(**{"max_slide_bytes": 1 << 30, **others}))


@pytest.mark.parametrize(("key", "size"), [("a.svs", len(SLIDE)), ("größe 1.svs", 1000)])
def test_an_object_below_a_prefix_is_found(store: Any, key: str, size: int) -> None:
    found = resolve_reference(f"s3://lab/slides/{key}", settings())
    assert (found.uri, found.size_bytes, found.path) == (f"s3://lab/slides/{key}", size, None)
    assert abs(found.mtime_ns / 1e9 - time.time()) < 3600


@pytest.mark.parametrize("uri", ["s3://lab/slides2/a.svs", "s3://lab/slides", "s3://lab2/slides/a"])
def test_an_object_elsewhere_is_forbidden(store: Any, uri: str) -> None:
    with pytest.raises(ReferenceForbidden):
        resolve_reference(uri, settings())


@pytest.mark.parametrize("uri", ["s3://lab/slides/b.svs", "s3://other/a.svs"])
def test_an_object_that_is_not_there_is_missing(store: Any, uri: str) -> None:
    with pytest.raises(ReferenceMissing):
        resolve_reference(uri, settings())


def test_an_object_of_the_largest_size_is_taken_and_one_byte_more_is_not(store: Any) -> None:
    uri = "s3://lab/slides/a.svs"
    assert resolve_reference(uri, settings(max_slide_bytes=len(SLIDE))).size_bytes == len(SLIDE)
    with pytest.raises(SlideTooLarge):
        resolve_reference(uri, settings(max_slide_bytes=len(SLIDE) - 1))


def test_an_object_is_fetched_into_the_store_of_slides(store: Any, root: DataRoot) -> None:
    stored = fetch(root, "s3://lab/slides/a.svs")
    assert stored.sha256 == hashlib.sha256(SLIDE).hexdigest()
    assert stored.path.read_bytes() == SLIDE
    assert list(root.uploads.iterdir()) == []
    assert fetch(root, "s3://lab/slides/a.svs").already_stored


@pytest.mark.parametrize(
    ("uri", "others", "kind"),
    [
        ("s3://lab/slides/a.svs", {"max_slide_bytes": len(SLIDE) - 1}, SlideTooLarge),
        ("s3://lab/slides/a.svs", {"min_free_bytes": 1 << 60}, StorageFull),
        ("s3://lab/slides/text.svs", {}, UnsupportedUpload),
        ("s3://lab/slides/b.svs", {}, ReferenceMissing),
        ("s3://lab/slides2/a.svs", {}, ReferenceForbidden),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing_behind(
    store: Any, root: DataRoot, uri: str, others: dict[str, float], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        fetch(root, uri, **others)
    assert list(root.uploads.iterdir()) == []
    assert list(root.slides.iterdir()) == []


@pytest.mark.parametrize("missing", ["credentials", "store"])
def test_a_store_that_cannot_be_asked_is_unavailable_and_not_named(missing: str) -> None:
    """In a process of its own: s3fs remembers connections."""
    code = """
from service.intake.errors import ObjectStoreUnavailable
from service.intake.objects import describe_object
try:
    describe_object("s3://lab/slides/a.svs", ["s3://lab/"])
except ObjectStoreUnavailable as err:
    print(err.message)
"""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[3])}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}
    environment |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HOME": "/nonexistent"}
    if missing == "store":
        environment |= CREDENTIALS
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "gave no answer" in done.stdout
    assert "127.0.0.1" not in done.stdout
