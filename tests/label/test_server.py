"""A real server on 127.0.0.1, over a folder of real-format images."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import Outline
from monch_monai.label.labels import draw
from tests.bundle.conftest import REPOSITORY
from tests.fakes.tiny import contents
from tests.label.clients import agreement, as_dsa, as_json, as_qupath, as_set, inside
from tests.label.conftest import FIELDS, SLIDE
from tests.label.server import Server

pytestmark = pytest.mark.label


def picture(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def qupath(answer) -> list:
    assert answer.status_code == 200, answer.text
    return as_qupath(answer.text)


def test_info(server: Server) -> None:
    info = server.get("/info/").json()
    assert info["labels"] == {"neoplastic": 1, "inflammatory": 2, "connective": 3, "dead": 4, "epithelial": 5}
    assert info["models"]["monch"]["labels"] == info["labels"]
    assert info["models"]["monch"]["dimension"] == 2
    assert info["models"]["monch"]["pathology"] is True
    assert list(info["trainers"]) == ["monch"]
    assert list(info["strategies"]) == ["uncertainty", "random"]
    assert info["datastore"]["total"] == 6


@pytest.mark.parametrize("name", FIELDS)
def test_a_mask_is_that_of_inference_json(server: Server, inference: Path, name: str) -> None:
    answer = server.infer(name)
    mask = picture(answer)
    assert answer.headers["content-type"] == "image/png"
    assert mask.shape == FIELDS[name][1::-1]
    assert mask.any()
    np.testing.assert_array_equal(mask, np.asarray(Image.open(inference / f"{name}_classes.png")))


def test_nuclei_are_those_of_inference_json_and_lie_where_they_are(
    server: Server, inference: Path, known: dict
) -> None:
    found = qupath(server.outlines("field_a", min_poly_area=30, tile_size=[1024, 1024]))
    features = json.loads((inference / "field_a_nuclei.geojson").read_text(encoding="utf-8"))["features"]
    written = [
        (f["properties"]["classification"]["name"], shapely.Polygon(f["geometry"]["coordinates"][0])) for f in features
    ]
    assert as_set(found) == as_set(written)
    recall, precision = agreement(found, known["field_a"].instances, (0, 0, *FIELDS["field_a"][:2]))
    assert min(recall, precision) > 0.7


def test_instances_as_a_mask(server: Server, inference: Path) -> None:
    answer = server.infer("field_a", mask="instances")
    instances = tifffile.imread(io.BytesIO(answer.content))
    written = tifffile.imread(inference / "field_a_instances.tif")
    pairs = np.unique(np.stack([instances.ravel(), written.ravel()]), axis=1)
    assert instances.max() == written.max() == pairs.shape[1] - 1  # the same nuclei, whatever their numbers


def test_a_part_of_a_picture_is_that_part_of_the_whole(server: Server) -> None:
    whole, part = server.infer("field_b"), server.infer("field_b", location=[40, 30], size=[100, 120])
    np.testing.assert_array_equal(picture(part), picture(whole)[30:150, 40:140])
    all_of_it = qupath(server.outlines("field_b"))
    some = qupath(server.outlines("field_b", location=[40, 30], size=[100, 120]))
    assert as_set(some) < as_set(all_of_it)
    assert as_set(inside(all_of_it, 40, 30, 100, 120)) <= as_set(some)


def test_an_uploaded_patch_is_segmented_in_its_own_coordinates(server: Server, studies: Path) -> None:
    """QuPath's way for images that the server does not have."""
    files = {"file": ("patch123.png", (studies / "field_b.png").read_bytes())}
    wsi = {"level": 0, "location": [0, 0], "size": [0, 0], "tile_size": [1024, 1024], "min_poly_area": 30}
    answer = server.request(
        "POST", "/infer/wsi_v2/monch", params={"output": "asap"}, files=files, data={"wsi": json.dumps(wsi)}
    )
    assert as_set(qupath(answer)) == as_set(qupath(server.outlines("field_b")))


def test_regions_of_a_slide_share_its_nuclei_out(server: Server, known: dict) -> None:
    """Side by side, they report each nucleus once and whole, though the edge cuts some; as does the whole slide."""
    left, right = (qupath(server.outlines("slide.v1", location=[x, 0], size=[768, 1152])) for x in (0, 768))
    whole = as_dsa(server.outlines("slide.v1", output="dsa", location=[-1, -1], size=[-1, -1]).text)
    assert not as_set(left) & as_set(right)
    assert as_set(left) | as_set(right) == as_set(whole)
    assert any(polygon.bounds[0] < 768 < polygon.bounds[2] for _, polygon in whole)
    recall, precision = agreement(whole, known["slide.v1"].instances, (0, 0, *SLIDE[:2]))
    assert min(recall, precision) > 0.8
    polygons = [polygon for _, polygon in whole]
    pairs = shapely.STRtree(polygons).query(polygons, predicate="overlaps")
    assert not pairs.size


def test_tiles_of_dsa_are_one_answer(server: Server) -> None:
    tiles = [{"location": [x, 256], "size": [256, 256]} for x in (256, 512)]
    body = {"location": [-1, -1], "size": [-1, -1], "min_poly_area": 80.0, "params": {"wsi_tiles": tiles}}
    found = as_dsa(server.outlines("slide.v1", output="dsa", **body).text)
    region = as_json(server.outlines("slide.v1", output="json", location=[256, 256], size=[512, 256]).json())
    assert len(found) > 5
    assert as_set(found) == as_set(region)


def test_a_mask_of_a_region_of_a_slide_shows_its_nuclei(server: Server) -> None:
    mask = picture(server.infer("slide.v1", location=[300, 200], size=[400, 300]))
    found = qupath(server.outlines("slide.v1", location=[300, 200], size=[400, 300]))
    expected, _ = draw([Outline(name, polygon) for name, polygon in found], Level0Box(300, 200, 400, 300), PANNUKE)
    np.testing.assert_array_equal(mask, expected)


def test_twenty_requests_at_once_get_their_own_answers(server: Server, inference: Path) -> None:
    def ask(i: int) -> tuple[float, str, np.ndarray]:
        name, start = list(FIELDS)[i % len(FIELDS)], time.perf_counter()
        answer = picture(server.infer(name))
        return time.perf_counter() - start, name, answer

    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(ask, range(20)))
    for _, name, mask in answers:
        np.testing.assert_array_equal(mask, np.asarray(Image.open(inference / f"{name}_classes.png")))
    seconds = sorted(answer[0] for answer in answers)
    print(f"20 requests at once: median {seconds[10]:.1f} s, longest {seconds[-1]:.1f} s")


def test_batches_save_what_can_be_segmented(server: Server, studies: Path) -> None:
    """Asked for with the endpoint's own defaults, which name a GPU."""
    answer = server.post("/batch/infer/monch", images="all", run_sync=True)
    assert answer.status_code == 200, answer.text
    assert "cannot be read" in answer.json()["broken"]["error"]
    saved = server.datastore()["objects"]
    assert all("original" in saved[name]["labels"] for name in [*FIELDS, "slide.v1"])
    np.testing.assert_array_equal(
        np.asarray(Image.open(studies / "labels" / "original" / "field_a.png")), picture(server.infer("field_a"))
    )
    assert len(as_qupath((studies / "labels" / "original" / "slide.v1.xml").read_text(encoding="utf-8"))) > 100


def test_the_least_sure_image_is_proposed(server: Server) -> None:
    server.post("/activelearning/uncertainty", {"candidates": 100, "image": "slide.v1"})  # all its parts, at once
    proposals = [server.post("/activelearning/uncertainty", {"candidates": 100}).json() for _ in range(3)]
    assert [0 <= p["uncertainty"] <= 1 for p in proposals] == [True] * 3
    assert proposals[0]["uncertainty"] >= proposals[1]["uncertainty"] >= proposals[2]["uncertainty"]
    assert len({(p["id"], tuple(p["bbox"])) for p in proposals}) == 3
    assert Path(proposals[0]["path"]).is_file()


@pytest.mark.parametrize("strategy", ["uncertainty", "random"])
@pytest.mark.parametrize(("image", "width", "height"), [("slide.v1", *SLIDE[:2]), ("field_c", *FIELDS["field_c"][:2])])
def test_a_region_is_proposed(server: Server, strategy: str, image: str, width: int, height: int) -> None:
    """As QuPath asks for the next patch; an image smaller than a patch is proposed whole."""
    body = {"image": image, "patch_size": [500, 400], "image_size": [width, height]}
    proposal = server.post(f"/activelearning/{strategy}", body).json()
    x, y, w, h = proposal["bbox"]
    assert proposal["id"] == image
    assert (w, h) == (min(500, width), min(400, height))
    assert 0 <= x <= width - w
    assert 0 <= y <= height - h


def test_json_of_qupath_states_no_content_type(server: Server) -> None:
    """Annotate and next sample; a training is started so below."""
    region = {"level": 0, "location": [40, 30], "size": [100, 120], "tile_size": [1024, 1024], "min_poly_area": 30}
    body = {**region, "params": {"foreground": [], "background": [], "max_workers": 1}}
    status, text = server.qupath("/infer/wsi/monch?output=asap&image=field_b", body)
    assert status == 200, text
    assert as_set(as_qupath(text)) == as_set(qupath(server.outlines("field_b", location=[40, 30], size=[100, 120])))
    asked = {"image": "", "patch_size": [1024, 1024], "image_size": [400, 304]}
    status, text = server.qupath("/activelearning/random", asked)
    assert (status, len(json.loads(text)["bbox"])) == (200, 4)
    status, text = server.qupath("/train/other", None)  # no settings, no body
    assert (status, json.loads(text)["detail"]) == (404, "there is no model 'other'; there is monch")


def test_a_page_of_another_site_cannot_send_json(server: Server) -> None:
    """FastAPI's protection of servers on one's own machine stays: browsers add an Origin."""
    status, _ = server.qupath("/activelearning/random", {"image": ""}, Origin="http://elsewhere.example")
    assert status == 422


def test_the_resolution_is_stated_and_a_request_gives_it(server: Server) -> None:
    assumed = "0.25 um/px, assumed, since the file states none"
    answer = server.outlines("field_a")
    assert answer.headers["x-monch-resolution"] == assumed
    assert f'Description="nuclei by class, segmented at {assumed}"' in answer.text
    assert f"field_a.png is segmented at {assumed}" in server.log.read_text()
    at_20x = server.outlines("field_a", output="json", params={"mpp": 0.5}).json()
    assert (at_20x["mpp"], at_20x["mpp_source"]) == (0.5, "given with the request")
    assert as_set(as_json(at_20x)) != as_set(qupath(answer))
    mask = server.infer("field_a", mpp=0.5)
    assert mask.headers["x-monch-resolution"] == "0.5 um/px, given with the request"
    assert (picture(mask) != picture(server.infer("field_a"))).any()
    slide = server.outlines("slide.v1", output="json", location=[0, 0], size=[64, 64]).json()
    assert (slide["mpp"], slide["mpp_source"]) == (0.25, "stated by the file")


def test_an_uploaded_patch_takes_the_resolution_of_its_request(server: Server, studies: Path) -> None:
    files = {"file": ("patch123.png", (studies / "field_b.png").read_bytes())}
    for params, stated in (({}, 0.25), ({"mpp": 0.5}, 0.5)):
        wsi = {"location": [0, 0], "size": [0, 0], "params": params}
        data = {"wsi": json.dumps(wsi)}
        answer = server.request("POST", "/infer/wsi_v2/monch?output=json", files=files, data=data).json()
        assert answer["mpp"] == stated
        assert ("assumed" in answer["mpp_source"]) is not bool(params)


def test_the_page_of_the_server(server: Server) -> None:
    assert "swagger-ui" in server.get("/").text
    paths = server.get("/openapi.json").json()["paths"]
    assert {"/infer/wsi_v2/{model}", "/train/{model}", "/activelearning/{strategy}"} <= set(paths)


REFUSED = {
    "an unknown model": (404, "no model 'other'", lambda s: s.infer("field_a", model="other")),
    "an unknown model, with an upload": (
        404,
        "no model 'other'",
        lambda s: s.request(
            "POST", "/infer/wsi_v2/other?output=asap", files={"file": ("a.png", png(np.zeros((64, 64, 3))))}
        ),
    ),
    "an upload that is no image": (
        400,
        "the uploaded image cannot be read",
        lambda s: s.request("POST", "/infer/wsi_v2/monch?output=asap", files={"file": ("a.png", b"no picture")}),
    ),
    "an unknown model, of slides": (404, "no model", lambda s: s.post("/infer/wsi/other", {}, image="slide.v1")),
    "an unknown model, to train": (404, "no model 'other'", lambda s: s.post("/train/other", {})),
    "an unknown model, of batches": (404, "no model 'other'", lambda s: s.post("/batch/infer/other", {})),
    "an unknown strategy": (404, "no strategy 'other'", lambda s: s.post("/activelearning/other", {})),
    "parts of no size": (
        400,
        "patch_size is [0, 9]",
        lambda s: s.post("/activelearning/random", {"image": "field_a", "patch_size": [0, 9]}),
    ),
    "an unknown version": (400, "no version '9'", lambda s: s.infer("field_a", version="9")),
    "an unknown device": (400, "device 'tpu'", lambda s: s.infer("field_a", device="tpu")),
    "an unknown mask": (400, "mask is 'all'", lambda s: s.infer("field_a", mask="all")),
    "an unknown image": (404, "no image 'nowhere'", lambda s: s.infer("nowhere")),
    "an unknown image, in outlines": (404, "no image 'nowhere'", lambda s: s.outlines("nowhere")),
    "an unknown image, next": (404, "no image", lambda s: s.post("/activelearning/random", {"image": "nowhere"})),
    "an unknown image's info": (
        404,
        "no image 'nowhere'",
        lambda s: s.request("PUT", "/datastore/image/info", params={"image": "nowhere"}, data={"info": "{}"}),
    ),
    "a way out of the folder": (404, "no image", lambda s: s.infer("../../etc/passwd")),
    "a way out, in outlines": (404, "no image", lambda s: s.outlines("../studies0/field_a")),
    "a file's path": (404, "no image", lambda s: s.infer("/etc/hostname")),
    "a download": (404, "NOT Found", lambda s: s.get("/datastore/image", image="../secret")),
    "a file's path among the settings": (
        404,
        "no image",
        lambda s: s.request("POST", "/infer/monch?image=field_a", data={"params": '{"image": "/etc/hostname"}'}),
    ),
    "an image's new name that leads out": (
        400,
        "plain name",
        lambda s: s.request(
            "PUT", "/datastore/image", params={"image": "../out"}, files={"file": ("a.png", png(np.zeros((64, 64, 3))))}
        ),
    ),
    "an image that is none": (
        400,
        "cannot be read",
        lambda s: s.request(
            "PUT", "/datastore/image", params={"image": "new"}, files={"file": ("a.png", b"no picture")}
        ),
    ),
    "a program as an image": (
        400,
        "unknown kind",
        lambda s: s.request("PUT", "/datastore/image", params={"image": "new"}, files={"file": ("a.exe", b"MZ")}),
    ),
    "a region outside a slide": (
        400,
        "outside the image of 1536x1152",
        lambda s: s.outlines("slide.v1", location=[2000, 0], size=[256, 256]),
    ),
    "a region outside a picture": (
        400,
        "outside the image of 400x304",
        lambda s: s.infer("field_a", location=[-300, 0], size=[256, 256]),
    ),
    "a region that is none": (400, "location is ", lambda s: s.infer("field_a", location=["a"], size=[256, 256])),
    "another level": (400, "level is 1", lambda s: s.outlines("slide.v1", level=1, size=[256, 256])),
    "a corrupt image": (400, "broken.png cannot be read", lambda s: s.infer("broken")),
    "a corrupt image, in outlines": (400, "broken.png cannot be read", lambda s: s.outlines("broken")),
    "a label of the wrong size": (
        400,
        "label is 304x400 px; expected 400x304",
        lambda s: s.save_label("field_a", "a.png", png(np.ones((400, 304)))),
    ),
    "a label in black and white": (
        400,
        "holds only 0, 255",
        lambda s: s.save_label("field_a", "a.png", png(np.eye(304, 400) * 255)),
    ),
    "a label of unknown values": (
        400,
        "holds 9",
        lambda s: s.save_label("field_a", "a.png", png(np.full((304, 400), 9))),
    ),
    "outlines beyond the image": (400, "reach over", lambda s: s.save_label("field_a", "a.xml", asap(390, 0, 30, 30))),
    "outlines of no class": (
        400,
        "class 'Tumor'",
        lambda s: s.save_label("field_a", "a.xml", asap(0, 0, 9, 9, "Tumor")),
    ),
    "outlines that are none": (400, "cannot be read", lambda s: s.save_label("field_a", "a.xml", b"<a>")),
    "a label of no image": (404, "no image", lambda s: s.save_label("nowhere", "a.png", png(np.ones((4, 4))))),
    "a label's part outside": (
        400,
        "does not lie within",
        lambda s: s.save_label("field_a", "a.png", png(np.ones((40, 40))), location=[390, 0], size=[40, 40]),
    ),
    "a resolution that is none": (400, "mpp is 'high'", lambda s: s.infer("field_a", mpp="high")),
    "a resolution that the file contradicts": (
        400,
        "mpp of slide.v1.tif is 0.25 (stated by the file) and 0.5",
        lambda s: s.outlines("slide.v1", size=[64, 64], params={"mpp": 0.5}),
    ),
    "a label's resolution that the file contradicts": (
        400,
        "mpp of slide.v1.tif",
        lambda s: s.save_label("slide.v1", "a.xml", asap(0, 0, 30, 30), mpp=0.5),
    ),
    "a resolution that is noted with a slide that has another": (
        400,
        "mpp of slide.v1.tif",
        lambda s: s.request("PUT", "/datastore/image/info?image=slide.v1", data={"info": '{"mpp": 1}'}),
    ),
    "another image of the same name": (
        400,
        "there is another image field_d already, field_d.jpg",
        lambda s: s.request(
            "PUT", "/datastore/image?image=field_d", files={"file": ("a.png", png(np.zeros((64, 64, 3))))}
        ),
    ),
    "an open line": (
        400,
        "class 'neoplastic' is an open line (Polyline)",
        lambda s: s.save_label("field_a", "a.xml", asap(0, 0, 30, 30).replace(b"Rectangle", b"Polyline")),
    ),
    "a tag that leads out": (
        400,
        "tag is '../../out'",
        lambda s: s.save_label("field_a", "a.png", png(np.ones((304, 400))), tag="../../out"),
    ),
}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return file.getvalue()


def asap(x: int, y: int, w: int, h: int, name: str = "neoplastic") -> bytes:
    """One rectangle, as QuPath's extension writes it."""
    corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    points = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(corners))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ASAP_Annotations><Annotations Name="" Description="" X="0" Y="0" W="0"'
        f' H="0"><Annotation Name="{name}" Type="Rectangle" PartOfGroup="{name}" Color="#ff0000"><Coordinates>{points}'
        "</Coordinates></Annotation></Annotations><AnnotationGroups/></ASAP_Annotations>"
    ).encode()


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_everything_as_it_was(server: Server, studies: Path, case: str) -> None:
    status, words, ask = REFUSED[case]
    before, files = server.datastore(), contents(studies)
    answer = ask(server)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert (server.datastore(), contents(studies)) == (before, files)
    assert not list((server.log.parent / "uploads").iterdir())
    assert server.process.poll() is None


@pytest.fixture(scope="module")
def labelled(server: Server, known: dict) -> None:
    """Corrections in every form that clients send: a mask, QuPath's XML, GeoJSON; DSA's JSON of a slide's region."""
    mask = png(known["field_a"].classes)
    xml = server.outlines("field_b", output="asap").content
    region = server.outlines("slide.v1", output="dsa", location=[256, 256], size=[512, 400]).content
    features = [
        {"geometry": {"type": "Polygon", "coordinates": [[[x, 9], [x + 9, 9], [x + 9, 20], [x, 9]]]}, "properties": p}
        for x, p in ((20, {"classification": {"name": "dead"}}), (60, {"classification": {"name": "Ignore*"}}))
    ]
    saved = [
        server.save_label("field_a", "field_a.png", mask),
        server.save_label("field_b", "field_b123.xml", xml),
        server.save_label("field_c", "field_c.geojson", json.dumps({"features": features}).encode()),
        server.save_label("slide.v1", "slide.json", region, location=[256, 256], size=[512, 400]),
    ]
    assert [answer.status_code for answer in saved] == [200] * 4, [answer.text for answer in saved]


@pytest.mark.usefixtures("labelled")
def test_labels_are_kept_and_given_back(server: Server, known: dict) -> None:
    assert server.get("/info/").json()["datastore"]["label_tags"]["final"] == 4
    label = server.get("/datastore/label", label="field_a", tag="final")
    np.testing.assert_array_equal(picture(label), known["field_a"].classes)
    assert server.post("/activelearning/random", {}).json()["id"] == "field_d"  # all others are labelled or broken


@pytest.mark.usefixtures("labelled")
def test_training_makes_a_version_and_touches_nothing_else(
    server: Server, small_bundle: Path, app_dir: Path, known: dict
) -> None:
    package = {p: b for p, b in contents(REPOSITORY / "monch_monai").items() if "__pycache__" not in p}
    bundle, earlier = contents(small_bundle), picture(server.infer("field_d"))
    settings = {"max_epochs": 1, "batch_size": 2, "learning_rate": 0.002, "val_split": 0.25}
    assert server.qupath("/train/monch", settings)[0] == 200
    wait_until(lambda: server.get("/train/", check_if_running=True).status_code == 200)
    second = server.post("/train/monch", settings)
    assert (second.status_code, second.json()["detail"]) == (429, "++++++++++ Train Task is Already Running")
    assert server.infer("field_c").status_code == 200  # the server answers meanwhile
    wait_until(lambda: server.get("/train/").json()["status"] not in ("SUBMITTED", "RUNNING"))
    task = server.get("/train/").json()
    assert task["status"] == "DONE", task["details"]
    stats = server.get("/info/").json()["train_stats"]["monch"]
    assert stats["newest"] == 1
    assert stats["versions"]["1"]["epochs"] == 1
    answer = server.outlines("field_d", output="json").json()
    assert answer["version"] == 1
    later = picture(server.infer("field_d"))
    assert (later != earlier).any()
    np.testing.assert_array_equal(picture(server.infer("field_d", version="0")), earlier)
    manifest = json.loads((app_dir / "model/monch/versions/1/tiles/manifest.json").read_text(encoding="utf-8"))
    assert {name: fold["tiles"] for name, fold in manifest["folds"].items()} == {"train": 12, "validation": 1}
    assert contents(small_bundle) == bundle
    assert {p: b for p, b in contents(REPOSITORY / "monch_monai").items() if "__pycache__" not in p} == package


def wait_until(condition) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)
