"""A slide that lies in an object store, from its URI to its report."""

import hashlib

import pytest

from service.layout import DataRoot
from tests.integration.service.conftest import variant
from tests.object_store import running_store
from tests.running_service import RunningService

pytestmark = [pytest.mark.integration, pytest.mark.slow]

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def bucket():
    with running_store() as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="lab")
        yield client


@pytest.fixture(scope="module")
def service(tmp_path_factory, bucket):
    data = tmp_path_factory.mktemp("service") / "data"
    with RunningService(data, s3_prefixes='["s3://lab/slides/"]') as service:
        yield service


def post(service, uri):
    return service.client.post("/v1/scans", json={"slide_uri": uri})


def test_an_object_is_fetched_scanned_and_known_by_its_hash(service, bucket, demo_slide):
    bucket.put_object(Bucket="lab", Key="slides/a.tiff", Body=demo_slide)
    answer = post(service, "s3://lab/slides/a.tiff")
    assert answer.status_code == 202
    assert answer.json()["slide_sha256"] is None
    ended = service.await_end(answer.json()["scan_id"])
    assert ended["state"] == "succeeded"
    sha256 = hashlib.sha256(demo_slide).hexdigest()
    assert ended["slide_sha256"] == sha256
    report = service.client.get(f"/v1/scans/{ended['scan_id']}/report").json()
    assert report["slide"]["sha256"] == sha256
    assert DataRoot(service.data).slide_of(sha256).read_bytes() == demo_slide
    assert post(service, "s3://lab/slides/a.tiff").json()["scan_id"] == ended["scan_id"]


def test_an_object_with_other_bytes_under_the_same_name_is_another_slide(
    service, bucket, demo_slide
):
    bucket.put_object(Bucket="lab", Key="slides/b.tiff", Body=demo_slide)
    first = post(service, "s3://lab/slides/b.tiff").json()["scan_id"]
    bucket.put_object(Bucket="lab", Key="slides/b.tiff", Body=variant(demo_slide, 1))
    second = post(service, "s3://lab/slides/b.tiff").json()["scan_id"]
    assert first != second


@pytest.mark.parametrize(
    ("uri", "status", "code"),
    [
        ("s3://lab/slides/none.tiff", 422, "slide_uri_not_found"),
        ("s3://lab/other/a.tiff", 403, "slide_uri_forbidden"),
    ],
)
def test_what_cannot_be_fetched_is_refused_at_once(service, bucket, uri, status, code):
    answer = post(service, uri)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_scan_can_be_purged_with_the_copy_that_was_made(service, bucket, demo_slide):
    slide = variant(demo_slide, 2)
    bucket.put_object(Bucket="lab", Key="slides/c.tiff", Body=slide)
    ended = service.await_end(post(service, "s3://lab/slides/c.tiff").json()["scan_id"])
    copy = DataRoot(service.data).slide_of(ended["slide_sha256"])
    assert copy.exists()
    assert service.client.delete(f"/v1/scans/{ended['scan_id']}").status_code == 204
    assert not copy.exists()
    assert bucket.get_object(Bucket="lab", Key="slides/c.tiff")["Body"].read() == slide
