"""Pixels from a slide through a viewer's process and the api's routes."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from service.layout import DataRoot
from service.patches import PATCHES_FILE
from service.routes.viewing import CellPlace, ViewedScan
from service.settings import ServiceSettings
from service.viewer_client import ViewerClient
from tests.integration.viewing.viewers import RunningViewer, app_of, run_viewer, slide_of
from tests.slide_files import locate_tile, overwrite, paint_smear, write_pyramid
from worker.demo import write_demo_slide
from worker.patch_store import PATCH_QUALITY, PatchStore
from worker.patches import patch_region
from worker.slide.geometry import Region
from worker.slide.jpeg import encode_jpeg
from worker.slide.opening import open_slide

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("roots") / "slides"
    root.mkdir()
    write_demo_slide(root / "demo.tiff", mm2=0.03, seed=3, leukocytes=4)
    return root


@pytest.fixture(scope="module")
def viewer(root, tmp_path_factory) -> Iterator[RunningViewer]:
    with run_viewer(tmp_path_factory.mktemp("data"), [root]) as running:
        yield running


@asynccontextmanager
async def api_of(
    viewer: RunningViewer | ServiceSettings,
    *paths: Path,
    cells: dict[int, CellPlace] | None = None,
    **scan: object,
) -> AsyncIterator[httpx.AsyncClient]:
    """An api whose scans s0, s1, … are of these slides."""
    scans = {f"s{i}": replace(ViewedScan(slide_of(path)), **scan) for i, path in enumerate(paths)}
    settings = viewer if isinstance(viewer, ServiceSettings) else viewer.settings
    async with ViewerClient.of(settings) as client:
        app = app_of(client, scans, cells or {})
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as api:
            yield api


async def read_dzi(api: httpx.AsyncClient, scan: str = "s0") -> tuple[int, int]:
    answer = await api.get(f"/v1/scans/{scan}/slide.dzi")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/xml")
    width, height = re.findall(r'(?:Width|Height)="(\d+)"', answer.text)
    return int(width), int(height)


def decode(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(jpeg)))


@pytest.mark.parametrize("below", [0, 2])
def test_a_level_stitched_from_its_tiles_is_the_slide(viewer, root, below):
    async def run() -> np.ndarray:
        async with api_of(viewer, root / "demo.tiff") as api:
            width, height = await read_dzi(api)
            level = (max(width, height) - 1).bit_length() - below
            width, height = (-(-side // 2**below) for side in (width, height))
            stitched = np.zeros((height, width, 3), np.uint8)
            for row in range(-(-height // 512)):
                for column in range(-(-width // 512)):
                    url = f"/v1/scans/s0/slide_files/{level}/{column}_{row}.jpeg"
                    answer = await api.get(url)
                    assert answer.headers["content-type"] == "image/jpeg"
                    tile = decode(answer.content)
                    x, y = max(0, column * 512 - 1), max(0, row * 512 - 1)
                    stitched[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
                beyond = f"/v1/scans/s0/slide_files/{level}/{column + 1}_{row}.jpeg"
                assert (await api.get(beyond)).status_code == 404
            return stitched

    stitched = asyncio.run(run())
    with open_slide(root / "demo.tiff") as slide:
        size, um = slide.info.size, slide.info.um_per_px
        overview = slide.read(Region(0, 0, size.width, size.height), um * 2**below)
    assert stitched.shape == overview.shape
    assert np.abs(stitched.astype(int) - overview).mean() < 2


@pytest.mark.parametrize(
    ("tile", "status"),
    [
        ("{last}/0_0", 200),
        ("{beyond}/0_0", 404),
        ("0/0_0", 200),
        ("0/1_0", 404),
        ("0/0_1", 404),
        ("22/0_0", 422),
        ("-1/0_0", 422),
        ("0/-1_0", 422),
        ("0/2147483648_0", 422),
        ("0/0_x", 422),
        ("0/" + "9" * 5000 + "_0", 422),
    ],
)
def test_tiles_out_of_range_are_typed(viewer, root, tile, status):
    async def run() -> httpx.Response:
        async with api_of(viewer, root / "demo.tiff") as api:
            last = (max(await read_dzi(api)) - 1).bit_length()
            named = tile.format(last=last, beyond=last + 1)
            return await api.get(f"/v1/scans/s0/slide_files/{named}.jpeg")

    assert asyncio.run(run()).status_code == status


def test_a_client_that_has_a_tile_is_told_so(viewer, root):
    async def run() -> None:
        async with api_of(viewer, root / "demo.tiff", root / "demo.tiff") as api:
            url = "/v1/scans/s0/slide_files/8/0_0.jpeg"
            first = await api.get(url)
            etag = first.headers["etag"]
            assert first.headers["cache-control"].startswith("private")
            for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
                again = await api.get(url, headers={"If-None-Match": known})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == etag
            assert (await api.get(url, headers={"If-None-Match": '"other"'})).status_code == 200
            other = await api.get("/v1/scans/s0/slide_files/7/0_0.jpeg")
            assert other.headers["etag"] != etag

    asyncio.run(run())


def test_an_unknown_scan_is_the_stores_business(viewer, root):
    async def run() -> None:
        async with api_of(viewer, root / "demo.tiff") as api:
            assert (await api.get("/v1/scans/s9/slide.dzi")).status_code == 404
            assert (await api.get("/v1/scans/s0/cells/5/patch.jpg")).status_code == 404

    asyncio.run(run())


def test_slides_that_may_not_be_read_say_nothing_of_where_they_are(viewer, root, tmp_path):
    (root / "out.tiff").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe.tiff")
    paths = [
        root / "removed.tiff",
        root / "out.tiff",
        root / "pipe.tiff",
        root,
        root / ".." / "slides" / "demo.tiff",
        Path("/etc/passwd"),
        DataRoot(viewer.settings.data.resolve()).secrets / "key",
    ]

    async def run() -> None:
        async with api_of(viewer, *paths) as api:
            for i in range(len(paths)):
                answer = await api.get(f"/v1/scans/s{i}/slide.dzi")
                assert answer.status_code == 410, paths[i]
                assert "/" not in answer.json()["detail"]
                assert "passwd" not in answer.text

    asyncio.run(run())


def test_a_stored_slide_is_shown_without_any_root(tmp_path):
    data = DataRoot(tmp_path)
    data.make()
    stored = data.slide_of("0" * 64)
    stored.parent.mkdir()
    write_pyramid(stored, paint_smear(600, 500))

    async def run(viewer: RunningViewer) -> None:
        async with ViewerClient.of(viewer.settings) as client:
            slide = slide_of(stored, um_per_px=0.2)
            assert b'Width="600"' in await client.fetch_dzi(slide)

    with run_viewer(tmp_path, []) as viewer:
        asyncio.run(run(viewer))


def test_a_damaged_slide_shows_what_can_be_read(viewer, root):
    path = write_pyramid(
        root / "damaged.tiff",
        paint_smear(1024, 768),
        first={"resolution": (50_000, 50_000), "resolutionunit": "CENTIMETER"},
    )
    offset, size = locate_tile(path, 0)
    overwrite(path, offset, b"\0" * size)
    (root / "garbage.tiff").write_bytes(b"II*\0" + b"garbage" * 1000)

    async def run() -> None:
        cells = {1: CellPlace(128, 128), 2: CellPlace(700, 500)}
        async with api_of(viewer, path, root / "garbage.tiff", cells=cells) as api:
            tile = decode((await api.get("/v1/scans/s0/slide_files/10/0_0.jpeg")).content)
            assert np.abs(tile[20:200, 20:200].astype(int) - 200).max() < 4
            assert tile[300:, 300:].std() > 20
            assert (await api.get("/v1/scans/s0/cells/1/patch.jpg")).status_code == 422
            assert (await api.get("/v1/scans/s0/cells/2/patch.jpg")).status_code == 200
            garbage = await api.get("/v1/scans/s1/slide.dzi")
            assert garbage.status_code == 422
            assert "/" not in garbage.json()["detail"].replace("TIFF/", "")

    asyncio.run(run())


def test_a_kept_patch_needs_no_viewer_and_any_other_is_cut_again(viewer, root, tmp_path):
    with PatchStore(tmp_path / "partial") as store:
        store.keep([0], np.full((1, 400, 400, 3), 77, np.uint8))
        store.number(np.array([0]))
        store.place(tmp_path / PATCHES_FILE)
    cells = {1: CellPlace(500, 500), 2: CellPlace(700, 500), 101: CellPlace(700, 500)}

    async def run() -> None:
        known = {"cells": cells, "result_dir": tmp_path}
        async with api_of(viewer, root / "demo.tiff", root / "removed.tiff", **known) as api:
            kept = await api.get("/v1/scans/s1/cells/1/patch.jpg")
            assert kept.headers["content-type"] == "image/jpeg"
            assert np.abs(decode(kept.content).astype(int) - 77).max() <= 1
            cut = await api.get("/v1/scans/s0/cells/2/patch.jpg")
            with open_slide(root / "demo.tiff") as slide:
                region = patch_region((700, 500), 400, 29.0, slide.info.um_per_px)
                seen = slide.read(region, 29.0 / 400)
            assert cut.content == encode_jpeg(seen, PATCH_QUALITY)
            doubtful = await api.get("/v1/scans/s0/doubtful-objects/1/patch.jpg")
            assert doubtful.content == cut.content, "never what is kept of the cell of that number"
            assert (await api.get("/v1/scans/s0/doubtful-objects/2/patch.jpg")).status_code == 404
            assert (await api.get("/v1/scans/s1/cells/2/patch.jpg")).status_code == 410

    asyncio.run(run())


def test_without_a_model_process_there_is_no_saliency_and_it_says_so(viewer, root):
    async def run() -> None:
        cells = {1: CellPlace(500, 500)}
        async with api_of(viewer, root / "demo.tiff", cells=cells) as api:
            answer = await api.get("/v1/scans/s0/cells/1/saliency.png")
            assert answer.status_code == 503
            assert (await api.get("/v1/scans/s0/slide_files/8/0_0.jpeg")).status_code == 200

    asyncio.run(run())


def test_without_a_viewer_the_api_says_so(tmp_path, root):
    async def run() -> None:
        async with api_of(ServiceSettings(data=tmp_path), root / "demo.tiff") as api:
            answer = await api.get("/v1/scans/s0/slide.dzi")
            assert answer.status_code == 503
            assert "no viewer answers" in answer.json()["detail"]

    asyncio.run(run())


def test_children_killed_during_requests_cost_those_requests_only(viewer, root):
    async def run() -> None:
        async with api_of(viewer, root / "demo.tiff") as api:
            url = "/v1/scans/s0/slide_files/8/0_0.jpeg"
            tile = (await api.get(url)).content
            stopped = viewer.children  # the slide's, and the spare one that may take its place
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            asked = [asyncio.create_task(api.get(url)) for _ in range(3)]
            await asyncio.sleep(0.3)
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
            assert set(statuses) == {200, 503}
            assert statuses.count(503) <= len(stopped)
            assert (await api.get(url)).content == tile

    asyncio.run(run())


def test_a_decoder_that_hangs_is_killed_in_time(viewer, root):
    async def run() -> None:
        async with api_of(viewer, root / "demo.tiff") as api:
            url = "/v1/scans/s0/slide_files/8/0_0.jpeg"
            assert (await api.get(url)).status_code == 200
            stopped = viewer.children
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            answer = await api.get(url)
            assert answer.status_code == 503
            assert "silent for 10 s" in answer.json()["detail"]
            for pid in stopped:  # others may be fresh ones of the pool
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue
            assert (await api.get(url)).status_code == 200

    asyncio.run(run())


def test_two_hundred_requests_leave_no_file_open(viewer, root):
    async def run() -> None:
        async with api_of(viewer, root / "demo.tiff", root / "removed.tiff") as api:
            last = (max(await read_dzi(api)) - 1).bit_length()

            async def ask(i: int) -> int:
                scan, level = ("s1" if i % 10 == 0 else "s0"), last - i % 4
                url = f"/v1/scans/{scan}/slide_files/{level}/{i % 3}_0.jpeg"
                return (await api.get(url)).status_code

            at_once = 20  # so many connections may be open, or not, whenever we look
            await asyncio.gather(*map(ask, range(at_once)))
            before = viewer.descriptors
            statuses: set[int] = set()
            for start in range(0, 200, at_once):
                statuses.update(await asyncio.gather(*map(ask, range(start, start + at_once))))
            assert statuses <= {200, 404, 410}
            assert viewer.descriptors < before + at_once
            assert len(viewer.children) <= 5

    asyncio.run(run())


def test_no_process_of_a_slide_outlives_a_killed_viewer(root, tmp_path):
    async def open_demo(viewer: RunningViewer) -> list[int]:
        async with ViewerClient.of(viewer.settings) as client:
            await client.fetch_dzi(slide_of(root / "demo.tiff"))
        return viewer.children

    with run_viewer(tmp_path, [root]) as viewer:
        children = asyncio.run(open_demo(viewer))
        assert children
        viewer.process.kill()
        viewer.process.wait()
        for pid in children:
            for _ in range(200):
                try:
                    if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                        break
                except FileNotFoundError:
                    break
                asyncio.run(asyncio.sleep(0.05))
            else:
                pytest.fail("a slide's process lives on")
        with run_viewer(tmp_path, [root]) as again:  # the socket it left is replaced
            assert asyncio.run(open_demo(again))


def test_the_viewer_ends_cleanly_when_told_to(tmp_path, root):
    with run_viewer(tmp_path, [root]) as viewer:
        viewer.process.terminate()
        assert viewer.process.wait(60) == 0


def test_the_interface_says_what_it_answers(root):
    async def schema() -> dict:
        async with ViewerClient("http://viewer") as client:
            return app_of(client, {}, {}).openapi()

    paths = asyncio.run(schema())["paths"]
    media = {
        "/v1/scans/{scan_id}/slide.dzi": "application/xml",
        "/v1/scans/{scan_id}/slide_files/{level}/{column}_{row}.jpeg": "image/jpeg",
        "/v1/scans/{scan_id}/cells/{cell_id}/patch.jpg": "image/jpeg",
        "/v1/scans/{scan_id}/cells/{cell_id}/saliency.png": "image/png",
        "/v1/scans/{scan_id}/doubtful-objects/{number}/patch.jpg": "image/jpeg",
    }
    assert set(paths) == set(media)
    for path, kind in media.items():
        answers = paths[path]["get"]["responses"]
        assert list(answers["200"]["content"]) == [kind]
        assert {"304", "400", "404", "410", "422", "503"} <= set(answers)
