import json
import socket
import threading
from pathlib import Path

import click
import pytest

from service.client.rescanning import MANIFEST_SENT_BYTES, sort_sources
from service.contract.batch import BatchState
from tests.batches import write_slides


def batches_of(service):
    return service.installation.batches.list(state=None, limit=10)


def test_rescan_watches_a_batch_to_its_end(service):
    write_slides(service.archive, ["a.svs", "b.svs"])
    with service.working():
        result = service.run("rescan", service.archive)
    assert result.exit_code == 0, result.output
    assert "done: 2 succeeded, 0 skipped, 0 failed" in result.stdout
    with service.working():
        again = service.run("rescan", service.archive)
    assert "done: 0 succeeded, 2 skipped, 0 failed" in again.stdout
    assert again.exit_code == 0


def test_failed_slides_are_named_and_the_exit_code_says_so(service):
    write_slides(service.archive, ["a.svs", "bad.svs"])
    with service.working(fail=["bad.svs"]):
        result = service.run("rescan", service.archive)
    assert result.exit_code == 3
    assert f"unsupported_format: {service.archive}/bad.svs: the file is text" in result.stderr
    assert "summary.csv" in result.stdout


def test_the_same_command_goes_on_with_the_unfinished_batch(service):
    write_slides(service.archive, ["a.svs"])
    first = service.run("rescan", service.archive, "--no-wait")
    second = service.run("rescan", service.archive, "--no-wait", "--name", "another name")
    (batch,) = batches_of(service)
    assert f"batch {batch.batch_id}" in first.stderr
    assert f"going on with batch {batch.batch_id}" in second.stderr
    service.run("rescan", service.archive, "--no-wait", "--um-per-px", "0.25")
    service.run("rescan", service.archive, "--no-wait", "--force")
    assert len(batches_of(service)) == 3


def test_json_is_the_batch_and_nothing_else(service):
    write_slides(service.archive, ["a.svs"])
    with service.working():
        result = service.run("rescan", service.archive, "--json", "--region", "all")
    batch = json.loads(result.stdout)
    assert (batch["state"], batch["counts"]["succeeded"]) == ("done", 1)
    assert batch["parameters"]["region"] == "all"
    assert result.stderr == ""


def test_batches_are_paused_resumed_cancelled_and_listed(service):
    service.run("rescan", service.archive, "--no-wait", "--name", "night")
    (batch,) = batches_of(service)
    for change, state in (("pause", "paused"), ("resume", "listing"), ("cancel", "cancelled")):
        result = service.run("batches", change, batch.batch_id)
        assert (result.exit_code, state in result.stdout) == (0, True)
    listed = service.run("batches", "list").stdout
    assert f"{batch.batch_id}  cancelled" in listed
    assert "night" in listed
    refused = service.run("batches", "resume", batch.batch_id)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("conflict: ")


def test_a_batch_that_was_cancelled_by_somebody_is_no_success(service):
    service.run("rescan", service.archive, "--no-wait")
    (batch,) = batches_of(service)
    write_slides(service.archive, ["a.svs"])
    service.installation.batches.pause(batch.batch_id)
    timer = threading.Timer(0.5, service.installation.batches.cancel, [batch.batch_id])
    timer.start()
    with service.working():
        result = service.run("rescan", service.archive)
    timer.join()
    assert "It is paused" in result.stderr
    assert result.exit_code == 1
    assert service.installation.batches.get(batch.batch_id).state is BatchState.CANCELLED


@pytest.mark.parametrize("command", ["rescan", "submit"])
def test_a_service_that_is_not_there_has_its_own_exit_code(service, command, monkeypatch):
    monkeypatch.setenv("SMEARSCAN_PATIENCE_S", "0.6")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (slide,) = write_slides(service.archive, ["a.svs"])
    result = service.run(command, slide, server=f"http://127.0.0.1:{port}")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1].startswith("unreachable: ")


@pytest.mark.parametrize("command", ["rescan", "submit"])
def test_a_key_that_opens_nothing_is_refused(service, command):
    (slide,) = write_slides(service.archive, ["a.svs"])
    result = service.run(command, slide, key="wrong")
    assert (result.exit_code, result.stderr.splitlines()[-1].split(":")[0]) == (
        1,
        "unauthenticated",
    )


def test_a_place_outside_the_slide_roots_is_refused(service, tmp_path):
    result = service.run("rescan", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("slide_uri_forbidden: roots.0: ")


def test_sources_are_sorted_by_what_they_look_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.csv").write_text("\ufeffslide_uri\n/a.svs\n")
    assert sort_sources(["/archive", "b", "/a/**/*.svs", "here.csv"]) == {
        "roots": ("/archive", str(tmp_path / "b")),
        "globs": ("/a/**/*.svs",),
        "manifest": "slide_uri\n/a.svs\n",
    }


@pytest.mark.parametrize(
    ("size", "field"),
    [(MANIFEST_SENT_BYTES, "manifest"), (MANIFEST_SENT_BYTES + 1, "manifest_uri")],
)
def test_a_large_manifest_is_left_for_the_service_to_read(tmp_path, size, field):
    path = tmp_path / "m.csv"
    path.write_bytes(b"x" * size)
    assert field in sort_sources([str(path)])


def test_a_manifest_that_is_not_here_is_the_services_to_read(tmp_path):
    path = str(tmp_path / "there.csv")
    assert sort_sources([path])["manifest_uri"] == path


def test_two_manifests_are_wrong_usage(service):
    assert service.run("rescan", "a.csv", "b.csv").exit_code == 2
    with pytest.raises(click.UsageError):
        sort_sources(["a.csv", "b.csv"])
