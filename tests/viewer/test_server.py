"""The viewer's server: what it sends, and what it refuses."""

import http.client
import io
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from PIL import Image

from monch_monai.__main__ import Commands
from monch_monai.cohort import fingerprint
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.slides import open_slide
from monch_monai.viewer.pages import PAGE
from monch_monai.viewer.results import find_results
from tests.fakes.results import served, some_nuclei, write_image_result, write_slide_result
from tests.fakes.slides import paint, write_slide

REPOSITORY = Path(__file__).resolve().parents[2]


def request(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response, response.read()


def get_json(server, path):
    return json.loads(request(server, path)[1])


def key_of(server, name="one"):
    return next(result["key"] for result in get_json(server, "/results.json") if result["name"] == name)


def points_of(server, key):
    about = get_json(server, f"/results/{key}/nuclei.json")
    content = request(server, f"/results/{key}/nuclei.bin")[1]
    total = about["total"]
    places = np.frombuffer(content, "<i4", 2 * total).reshape(-1, 2)
    return places, np.frombuffer(content, "<u2", total, 8 * total), np.frombuffer(content, "u1", total, 10 * total)


def outlines_of(content):
    """Rows, probabilities, classes and rings of a tile, read by its description."""
    count, rings, points = np.frombuffer(content, "<u4", 3)
    sizes = {"rows": ("<u4", count), "nucleus": ("<u4", rings), "length": ("<u4", rings), "points": ("<i2", 2 * points)}
    sizes |= {"probs": ("<u2", count), "classes": ("u1", count)}
    at, read = 12, {}
    for name, (kind, length) in sizes.items():
        read[name] = np.frombuffer(content, kind, int(length), at)
        at += read[name].nbytes
    assert at == len(content)
    read["rings"] = np.split(read["points"].reshape(-1, 2) / 16, np.cumsum(read["length"])[:-1])
    return read


def test_the_page_and_its_files_are_served_with_a_policy_that_keeps_requests_here(server):
    for name in ["", *PAGE]:
        response, content = request(server, f"/{name}")
        assert response.status == 200
        assert content
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    page = (REPOSITORY / "monch_monai/viewer/page/index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^":,]+)"', page)) == set(PAGE) - {"index.html", "openseadragon/LICENSE.txt"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_other_hosts_are_refused(server, host):
    response, content = request(server, "/results.json", Host=host.format(port=server.server_port))
    assert response.status == 403
    assert b"one" not in content.split(b"under")[0]


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:1"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
])  # fmt: skip
def test_foreign_origins_are_refused(server, headers):
    headers = {name: value.format(port=server.server_port) for name, value in headers.items()}
    assert request(server, "/results.json", **headers)[0].status == 403


def test_its_own_origin_and_the_name_localhost_are_served(server):
    host = f"localhost:{server.server_port}"
    own = {"Host": host, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
    assert request(server, "/results.json", **own)[0].status == 200


@pytest.mark.parametrize("path", [
    "/../run.json", "/page/../../__init__.py", "/%2e%2e/%2e%2e/run.json", "//etc/passwd", "/results/../run.json",
    "/openseadragon/../index.html", "/results/{key}/picture/0/..%2f..%2frun.json", "/results/{key}/run.json",
    "/results/{key}/picture/99/0_0.jpg", "/results/{key}/picture/0/1_0.jpg", "/results/{key}/outlines/60/0_0.bin",
    "/results/0123456789abcdef/about.json", "/results/{key}/nuclei/300.json", "/openseadragon/README.md", "/data.js",
])  # fmt: skip
def test_addresses_that_are_none_lead_nowhere(server, path):
    response, content = request(server, path.format(key=key_of(server)))
    assert (response.status, content) == (404, b"no such page")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading_is_served(server, method):
    assert request(server, "/results.json", method)[0].status == 501


def test_openseadragon_is_the_published_one():
    folder = REPOSITORY / "monch_monai/viewer/page/openseadragon"
    stated = re.findall(r"\| `(.+)` \| `([0-9a-f]{64})` \|", (folder / "README.md").read_text(encoding="utf-8"))
    assert dict(stated) == {name: sha256(folder / name) for name in ("openseadragon.min.js", "LICENSE.txt")}


def test_only_this_machine_is_served(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_tiles_have_the_pixels_of_the_reader(server, slides):
    key = key_of(server)
    about = get_json(server, f"/results/{key}/about.json")
    assert (about["size"], about["mpp"], about["levels"], about["tile"]) == ([2000, 2000], [0.25, 0.25], 3, 512)
    slide = open_slide(slides[0] / "slides" / "one.tif")
    whole = slide.read(0, slide.box)
    for level, x, y in ((2, 1, 2), (2, 3, 3), (1, 0, 1), (0, 0, 0)):
        read = Image.open(io.BytesIO(request(server, f"/results/{key}/picture/{level}/{x}_{y}.jpg")[1]))
        side = 512 << (2 - level)
        part = Image.fromarray(whole[y * side : (y + 1) * side, x * side : (x + 1) * side])
        expected = np.asarray(part.resize(read.size, Image.Resampling.BOX), float)
        assert abs(np.asarray(read, float) - expected).mean() < 6, (level, x, y)
    slide.close()


def test_counts_are_those_of_the_table(server, slides):
    table = pq.read_table(slides[0] / "out" / "one" / "nuclei.parquet")
    places, probs, classes = points_of(server, key_of(server))
    sent = sorted(zip(*places.T.tolist(), probs.tolist(), classes.tolist(), strict=True))
    kept = [(round(x * 1000), round(y * 1000), round(p * 1e4)) for x, y, p in zip(
        *(table[name].to_pylist() for name in ("x", "y", "mean_prob")), strict=True)]  # fmt: skip
    assert sent == sorted((*k, c) for k, c in zip(kept, table["class_index"].to_pylist(), strict=True))


def test_tiles_of_outlines_hold_each_nucleus_that_meets_them(server, slides):
    key, table = key_of(server), pq.read_table(slides[0] / "out" / "one" / "nuclei.parquet")
    about, shapes = get_json(server, f"/results/{key}/nuclei.json"), shapely.from_wkb(table["geometry"].to_pylist())
    assert about["dotsFrom"] == 2
    for level, x, y in ((0, 1, 2), (0, 3, 3), (1, 0, 1)):
        side = 512 << level
        tile = outlines_of(request(server, f"/results/{key}/outlines/{level}/{x}_{y}.bin")[1])
        square = shapely.box(x * side, y * side, (x + 1) * side, (y + 1) * side)
        boxes = shapely.box(*shapely.bounds(shapes).T)
        assert len(tile["rows"]) == (shapely.intersection(boxes, square).__array__() != shapely.Polygon()).sum()
        for i in range(0, len(tile["rows"]), 7):
            numbers = get_json(server, f"/results/{key}/nuclei/{tile['rows'][i]}.json")
            drawn = shapely.Polygon(tile["rings"][i] * 2**level + [x * side, y * side])
            (shape,) = [s for s, u, v in zip(shapes, table["x"].to_pylist(), table["y"].to_pylist(), strict=True)
                        if (u, v) == (numbers["x"], numbers["y"])]  # fmt: skip
            assert shapely.hausdorff_distance(drawn, shape) < 1.2 * 2**level
            assert round(numbers["mean_prob"] * 1e4) == tile["probs"][i]


def test_far_away_each_class_of_a_cell_is_a_dot_of_its_most_probable_nucleus(server):
    key = key_of(server)
    places, probs, classes = points_of(server, key)
    content = request(server, f"/results/{key}/outlines/2/0_0.bin")[1]
    (count,) = np.frombuffer(content, "<u4", 1)
    p, (columns, lines, of) = (
        np.frombuffer(content, "<u2", count, 4),
        np.frombuffer(content, "u1", offset=4 + 2 * count).reshape(3, -1),
    )
    expected = {}
    for (x, y), prob, c in zip(places.tolist(), probs.tolist(), classes.tolist(), strict=True):
        cell = x // 8000, y // 8000, c
        expected[cell] = max(prob, expected.get(cell, 0))
    assert (
        dict(zip(zip(columns.tolist(), lines.tolist(), of.tolist(), strict=True), p.tolist(), strict=True)) == expected
    )


def test_the_tissue_outline_surrounds_the_tissue(server):
    lines = get_json(server, f"/results/{key_of(server)}/tissue.json")
    area = sum(shapely.Polygon(line).area for line in lines)
    assert 0.9 * 2000**2 < area < 1.1 * 2000**2


def test_images_are_shown_from_geojson_too(tmp_path):
    nuclei = write_image_result(tmp_path)
    with served(tmp_path / "out") as server:
        key = key_of(server, "field")
        _, _, classes = points_of(server, key)
        assert sorted(classes.tolist()) == sorted(n.index for n in nuclei)
        assert get_json(server, f"/results/{key}/about.json")["size"] == [400, 400]


def test_the_picture_of_a_slide_that_went_missing_is_an_error_of_its_address_alone(tmp_path):
    write_slide_result(tmp_path, "one", 400, 20)
    write_slide_result(tmp_path, "gone", 400, 20)
    with served(tmp_path / "out") as server:
        key = key_of(server, "gone")
        (tmp_path / "slides" / "gone.tif").unlink()
        response, content = request(server, f"/results/{key}/about.json")
        assert response.status == 500
        assert b"gone.tif" in content
        assert b"--slides" in content
        assert request(server, f"/results/{key_of(server)}/about.json")[0].status == 200


def test_a_slide_that_was_replaced_after_inference_is_refused_in_one_line(tmp_path):
    write_slide_result(tmp_path, "one", 400, 20)
    write_slide_result(tmp_path, "same", 400, 20)
    for name in ("one", "same"):
        file = tmp_path / "out" / name / "summary.json"
        summary = json.loads(file.read_text(encoding="utf-8"))
        summary["settings"]["slide"] = [f"{name}.tif", fingerprint(tmp_path / "slides" / f"{name}.tif")]
        file.write_text(json.dumps(summary), encoding="utf-8")
    write_slide(tmp_path / "slides" / "one.tif", paint(some_nuclei(400, 20, seed=9), (400, 400)), 0.25)
    with served(tmp_path / "out") as server:
        response, content = request(server, f"/results/{key_of(server)}/about.json")
        assert response.status == 500
        assert b"one.tif is another file than the one whose nuclei one has: segment it again" in content
        assert b"\n" not in content
        assert request(server, f"/results/{key_of(server, 'same')}/about.json")[0].status == 200
    with pytest.raises(InputError, match=r"one\.tif is another file"):
        Commands().view(tmp_path / "out", export=tmp_path / "page", result="one")
    assert not (tmp_path / "page").exists()
    with pytest.raises(InputError, match=r"one\.tif is another file"):
        Commands().view(tmp_path / "out" / "one", port=0)


def test_an_image_that_was_replaced_after_inference_is_refused_in_one_line(tmp_path):
    write_image_result(tmp_path)
    file = tmp_path / "out" / "field_nuclei.geojson"
    written = json.loads(file.read_text(encoding="utf-8"))
    written["monch"]["image_sha256"] = sha256(tmp_path / "images" / "field.png")
    file.write_text(json.dumps(written), encoding="utf-8")
    (result,) = find_results(tmp_path / "out")
    result.open().close()
    Image.fromarray(paint(some_nuclei(400, 9, seed=9), (400, 400))).save(tmp_path / "images" / "field.png")
    with pytest.raises(InputError, match=r"field\.png is another file than the one whose nuclei field has"):
        Commands().view(tmp_path / "out", port=0)
    (tmp_path / "images" / "field.png").unlink()
    (tmp_path / "images" / "field.png").mkdir()
    with pytest.raises(
        InputError, match=r"field\.png cannot be read \(Is a directory\): give the folder of the picture"
    ):
        Commands().view(tmp_path / "out", port=0)


def lose_slides(folder):
    (folder / "slides" / "one.tif").unlink()


def lose_tables(folder):
    (folder / "out" / "one" / "nuclei.parquet").unlink()


def damage_table(folder):
    (folder / "out" / "one" / "nuclei.parquet").write_bytes(b"PAR1 is not all of it")


def lose_record(folder):
    (folder / "out" / "run.json").unlink()


def damage_record(folder):
    (folder / "out" / "run.json").write_text("[", encoding="utf-8")


@pytest.mark.parametrize(("fault", "expected"), [
    (lose_slides, r"one\.tif does not exist: .* --slides"), (lose_tables, "holds no result with a file of nuclei"),
    (damage_table, r"nuclei\.parquet is no table of nuclei"), (lose_record, "give --slides"),
    (damage_record, r"run\.json cannot be read"),
])  # fmt: skip
def test_faults_of_the_folder_are_one_line(tmp_path, fault, expected):
    write_slide_result(tmp_path, "one", 300, 10)
    fault(tmp_path)
    with pytest.raises(InputError, match=expected) as error:
        Commands().view(tmp_path / "out", port=0)
    assert "\n" not in str(error.value)


def test_a_busy_port_is_one_line(slides):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is busy: give another --port"):
            Commands().view(slides[0] / "out", port=port)


def test_the_command_does_without_monai_and_pytorch_and_ends_in_one_line_where_there_is_no_folder(tmp_path):
    write_slide_result(tmp_path, "one", 300, 10)
    script = """if True:
        import pathlib, sys
        from monch_monai.__main__ import main
        from monch_monai.viewer.pages import Pages
        from monch_monai.viewer.results import find_results
        pages = Pages(find_results(pathlib.Path(sys.argv.pop())))
        (key,) = pages.results
        for name in ("about.json", "nuclei.json", "tissue.json", "picture/0/0_0.jpg", "outlines/0/0_0.bin"):
            assert pages.get(f"/results/{key}/{name}"), name
        print({"monai", "torch", "ignite"} & set(sys.modules), flush=True)
        main()
    """
    command = [sys.executable, "-c", script, "view", str(tmp_path / "none"), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "set()\n")
    assert done.stderr.splitlines() == [
        f"ERROR: {tmp_path / 'none'} is no folder: give the --output_dir of inference.json or inference_wsi.json"
    ]
