"""The folder of images and labels, without a server."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.label.conftest import write_slide
from tests.label.test_annotations import asap

pytestmark = pytest.mark.label


def png(path: Path, value: int, size: tuple[int, int] = (64, 48)) -> Path:
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)
    return path


def mask(path: Path, value: int) -> Path:
    classes = np.zeros((48, 64), np.uint8)
    classes[10:20, 10:20] = value
    Image.fromarray(classes).save(path)
    return path


def outlines(path: Path) -> Path:
    path.write_text(asap(("dead", [(5, 5), (15, 5), (15, 15), (5, 15)])))
    return path


@pytest.fixture
def open_studies(tmp_path: Path) -> Callable:
    from monch_monai.label.studies import Studies

    (tmp_path / "studies").mkdir()
    png(tmp_path / "studies" / "one.png", 200)
    return lambda **settings: Studies(str(tmp_path / "studies"), **settings)


def refused(call: Callable, words: str) -> None:
    from fastapi import HTTPException

    with pytest.raises(HTTPException, match=words) as error:
        call()
    assert error.value.status_code == 400


def test_a_label_records_its_scale_which_is_the_images_from_then_on(open_studies, tmp_path):
    studies = open_studies()
    studies.save_label("one", str(mask(tmp_path / "a.png", 1)), "final", {})
    info = studies.get_label_info("one", "final")
    assert (info["mpp"], info["mpp_source"]) == (0.25, "assumed, since the file states none")
    assert studies.labelled("one")[-1] is True
    studies.save_label("one", str(mask(tmp_path / "b.png", 1)), "final", {"mpp": 0.5})
    assert studies.get_label_info("one", "final")["mpp"] == 0.5
    again = open_studies()
    assert again.scale("one") == (0.5, "noted with the image")
    assert (again.labelled("one").mpp, again.labelled("one").assumed) == (0.5, False)
    refused(
        lambda: again.save_label("one", str(mask(tmp_path / "c.png", 1)), "final", {"mpp": 0.25}),
        r"mpp of one.png is 0.25 \(given with the request\) and 0.5 µm/px \(noted with the image\)",
    )
    again.update_image_info("one", {"mpp": None})
    assert again.scale("one").assumed
    refused(lambda: again.update_image_info("one", {"mpp": "0.5"}), "mpp is '0.5'")


def test_a_label_keeps_the_scale_of_the_server_that_stored_it(open_studies, tmp_path, caplog):
    open_studies(mpp=0.5).save_label("one", str(mask(tmp_path / "a.png", 1)), "final", {})
    for later in (None, 0.4):
        labelled = open_studies(mpp=later).labelled("one")
        assert (labelled.mpp, labelled.assumed) == (0.5, False)
    png(tmp_path / "studies" / "two.png", 100)
    studies = open_studies()
    studies.save_label("two", str(mask(tmp_path / "a.png", 1)), "final", {})
    assert open_studies(mpp=0.5).labelled("two").mpp == 0.5
    assert "the label of two was stored at 0.25 um/px, assumed" in caplog.text


def test_a_patch_of_a_slide_has_the_slides_scale_and_side(open_studies, tmp_path):
    """SubmitLabel.java: name of the slide, -patch-, and where it was cut from."""
    pixels = np.full((600, 700, 3), 200, np.uint8)
    write_slide(tmp_path / "studies" / "s.v1.tif", pixels, mpp=0.5)
    studies = open_studies()
    patch = str(png(tmp_path / "patch1.png", 200))
    for name, scale in (("s.v1-patch-100_20_64_48", 0.5), ("s.v1-patch-1_2_60_40", 0.25), ("t-patch-1_2_64_48", 0.25)):
        assert studies.add_image(name, patch, {}) == name
        assert studies.scale(name).mpp == scale
        assert studies.scale(name).assumed is (scale == 0.25)
        studies.save_label(name, str(mask(tmp_path / "a.png", 1)), "final", {})
    sides = {name: studies.labelled(name).slide for name in studies.get_labeled_images()}
    assert sides == {
        n: n.split("-")[0] for n in ("s.v1-patch-100_20_64_48", "s.v1-patch-1_2_60_40", "t-patch-1_2_64_48")
    }
    refused(lambda: studies.add_image("s.v1-patch-0_0_64_48", patch, {"mpp": 0.25}), "of the slide it was cut from")
    assert "s.v1-patch-0_0_64_48" not in studies.list_images()
    studies.add_image("any name", str(png(tmp_path / "patch1.png", 200)), {"mpp": 0.4, "slide": "s.v1"})
    assert studies.scale("any name").mpp == 0.4


def test_an_image_that_is_sent_again_keeps_its_labels(open_studies, tmp_path):
    studies = open_studies()
    studies.add_image("new", str(png(tmp_path / "a.png", 90)), {})
    studies.save_label("new", str(outlines(tmp_path / "a.xml")), "final", {"location": [0, 0], "size": [32, 32]})
    studies.add_image("new", str(png(tmp_path / "a.png", 90)), {})
    assert studies.get_label_info("new", "final")["size"] == [32, 32]
    refused(
        lambda: studies.add_image("new", str(png(tmp_path / "a.png", 91)), {}), "another image new already, new.png"
    )
    studies.remove_label("new", "final")
    studies.add_image("new", str(png(tmp_path / "a.png", 91)), {})
    assert np.asarray(Image.open(studies.known("new")))[0, 0, 0] == 91


def state(studies) -> dict:
    """Bytes and record of every image and label."""
    found = {}
    for image, record in studies.json()["objects"].items():
        found[image] = studies.known(image).read_bytes()
        for tag, label in record["labels"].items():
            kept = {k: v for k, v in label["info"].items() if k in ("number", "location", "size", "mpp", "name")}
            found[image, tag] = (Path(studies.get_label_uri(image, tag)).read_bytes(), json.dumps(kept, sort_keys=True))
    return found


def killed_at(event: int, open_studies: Callable, work: Callable[..., object], folder: Path) -> bool:
    """Does `work` in a process that ends, as by a signal, at its n-th touch of a file; whether it came so far."""
    child = os.fork()
    if not child:
        seen = 0

        def count(name: str, _: tuple) -> None:
            nonlocal seen
            if name in ("open", "os.rename", "os.remove", "shutil.copyfile", "fcntl.flock"):
                seen += 1
                if seen == event:
                    os._exit(9)

        try:
            studies = open_studies()
            sys.addaudithook(count)
            work(studies, folder)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def add_image(studies, folder: Path) -> None:
    studies.add_image("two", str(png(folder / "two.png", 77)), {"mpp": 0.5})


def replace_label(studies, folder: Path) -> None:
    about = {"number": 2, "location": [0, 0], "size": [32, 32]}
    studies.save_label("one", str(outlines(folder / "b.xml")), "final", about)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("work", [add_image, replace_label])
def test_killed_at_any_moment_a_change_is_stored_whole_or_not_at_all(open_studies, tmp_path, work):
    open_studies().save_label("one", str(mask(tmp_path / "a.png", 3)), "final", {"number": 1})
    before = state(open_studies())
    outcomes, event, killed = set(), 0, True
    while killed:
        event += 1
        killed = killed_at(event, open_studies, work, tmp_path)
        after = state(open_studies())
        assert not list((tmp_path / "studies").rglob("*.pending"))
        old = after == before
        outcomes.add(old)
        if old:
            continue
        if work is add_image:
            assert set(after) == {*before, "two"}
            assert open_studies().scale("two") == (0.5, "noted with the image")
            Image.open(open_studies().known("two")).verify()
            open_studies().remove_image("two")
        else:
            content, info = after["one", "final"]
            assert content == (tmp_path / "b.xml").read_bytes()
            assert {"number": 2, "size": [32, 32]}.items() <= json.loads(info).items()
            assert [p.name for p in (tmp_path / "studies" / "labels" / "final").iterdir()] == ["one.xml"]
            open_studies().save_label("one", str(mask(tmp_path / "a.png", 3)), "final", {"number": 1})
        assert state(open_studies()) == before
    assert event > 5
    assert outcomes == {True, False}
