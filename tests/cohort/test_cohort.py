import csv
import logging
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monch_monai.cohort import Cohort, find_slides
from monch_monai.errors import InputError
from monch_monai.predict import classify
from tests.cohort.reading_back import segmenter
from tests.fakes.slides import Nucleus, colours, paint, write_slide

NUCLEI = {"first": [Nucleus(100, 100, 9, 1), Nucleus(200, 150, 9, 2)], "last": [Nucleus(150, 120, 12, 4)]}


@pytest.fixture
def folder(tmp_path):
    """Two good slides, a photograph called .svs, a slide cut short and one without resolution."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, nuclei in NUCLEI.items():
        write_slide(folder / f"{name}.tif", paint(nuclei, (520, 500)))
    Image.fromarray(paint([], (300, 300))).save(folder / "photo.jpg")
    (folder / "photo.jpg").rename(folder / "photo.svs")
    noise = np.random.default_rng(0).integers(100, 200, (900, 300, 3)).astype(np.uint8)
    cut = write_slide(folder / "cut.tif", noise)
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size // 2)
    write_slide(folder / "lost.tif", paint([], (300, 300)), mpp=None)
    (folder / "notes.txt").write_text("left alone")
    return folder


def test_broken_slides_stop_no_others_and_are_named_at_the_end(folder, tmp_path, caplog):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"^3 of 5 slides have no result: cut.tif, lost.tif, photo.svs; see above$"):
        Cohort(folder, out, segmenter(out)).run()
    assert not [path for path in map(os.path.realpath, Path("/proc/self/fd").iterdir()) if Path(path).parent == folder]
    assert sorted(path.name for path in out.iterdir()) == ["cohort.csv", "first", "last"]
    with (out / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["slide"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["cut.tif", "first.tif", "last.tif", "lost.tif", "photo.svs"]
    assert (rows["first.tif"]["neoplastic"], rows["first.tif"]["inflammatory"], rows["last.tif"]["dead"]) == (
        "1",
        "1",
        "1",
    )
    assert float(rows["first.tif"]["tumour_infiltration"]) == 1
    assert rows["last.tif"]["tumour_infiltration"] == ""
    for name, words in {
        "cut.tif": "cannot be read at", "lost.tif": "give --mpp", "photo.svs": "cannot be read as a slide",
    }.items():  # fmt: skip
        assert words in rows[name]["error"]
        assert sum(words in record.message and name in record.message for record in caplog.records) == 1
        assert "\n" not in rows[name]["error"]


def test_a_slide_that_may_not_be_read_stops_no_others(folder, tmp_path, monkeypatch):
    opened = Path.open

    def refused(path, *arguments, **settings):
        if path.name == "first.tif":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **settings)

    for name in ("cut.tif", "lost.tif", "photo.svs"):
        (folder / name).unlink()
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"^1 of 2 slides have no result: first.tif; see above$"):
        Cohort(folder, tmp_path / "out", segmenter(tmp_path / "out")).run()
    assert (tmp_path / "out" / "last").is_dir()
    assert "first.tif cannot be read (Permission denied)" in (tmp_path / "out" / "cohort.csv").read_text()


@pytest.mark.parametrize("good", [0, 2])
@pytest.mark.parametrize("nucleus_workers", [0, 1])
def test_nan_leaves_nothing_half_written_and_is_the_last_line(tmp_path, good, nucleus_workers):
    calls = []

    def spoilt(tiles):
        calls.append(len(tiles))
        if len(calls) > good:
            classify(torch.full((len(tiles), 6, *tiles.shape[1:3]), torch.nan))
        return colours(tiles)

    slide, out = write_slide(tmp_path / "s.tif", paint(NUCLEI["first"], (1500, 1200))), tmp_path / "out"
    cohort = Cohort(slide, out, segmenter(out, spoilt, tissue=False, nucleus_workers=nucleus_workers))
    with pytest.raises(InputError, match=r"^1 of 1 slides have no result: s\.tif; the network: .* NaN; use another"):
        cohort.run()
    assert [path.name for path in out.iterdir()] == ["cohort.csv"]
    (row,) = csv.DictReader((out / "cohort.csv").read_text(encoding="utf-8").splitlines())
    assert "logits are NaN" in row["error"]


def test_a_second_run_skips_what_is_done(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError):
        Cohort(folder, out, segmenter(out)).run()
    before = (out / "cohort.csv").read_bytes()

    def never(tiles):
        raise AssertionError

    with pytest.raises(InputError, match=r"3 of 5"):
        Cohort(folder, out, segmenter(out, never)).run()
    assert (out / "cohort.csv").read_bytes() == before


def test_a_failure_nobody_foresaw_is_that_slides_alone(folder, tmp_path, caplog):
    def odd(tiles):
        if (tiles == (160, 60, 60)).any():
            raise RuntimeError("odd")
        if (tiles == (60, 60, 60)).all(axis=-1).any():
            raise RuntimeError("odd")
        return colours(tiles)

    with pytest.raises(InputError, match=r"4 of 5 slides have no result: cut.tif, last.tif"):
        Cohort(folder, tmp_path / "out", segmenter(tmp_path / "out", odd)).run()
    assert "RuntimeError: odd" in (tmp_path / "out" / "cohort.csv").read_text(encoding="utf-8")
    assert "Traceback" in caplog.text


def test_a_killed_worker_costs_one_slide_and_no_more(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("one", "two"):
        write_slide(folder / f"{name}.tif", paint(NUCLEI["first"], (520, 500)))
    calls = []

    def kills_the_worker_once(tiles):
        if not calls:
            (worker,) = killing.pipeline.processes._processes
            os.kill(worker, signal.SIGKILL)
        calls.append(1)
        return colours(tiles)

    killing = segmenter(tmp_path / "out", kills_the_worker_once, region_size=2048, nucleus_workers=1)
    with pytest.raises(InputError, match=r"1 of 2 slides have no result: one.tif"):
        Cohort(folder, tmp_path / "out", killing).run()
    table = (tmp_path / "out" / "cohort.csv").read_text(encoding="utf-8")
    assert "was killed, perhaps for want of memory: run again to resume" in table
    Cohort(folder, tmp_path / "out", killing).run()


def test_a_dry_run_says_what_it_will_take_and_writes_nothing(folder, tmp_path, caplog):
    (folder / "cut.tif").unlink()
    write_slide(folder / "pale.tif", paint([], (600, 600), ground=(243, 243, 243)))
    cohort = Cohort(folder, tmp_path / "out", segmenter(tmp_path / "out"), dry_run="true")
    with caplog.at_level(logging.INFO), pytest.raises(InputError, match=r"2 of 5 slides have no result"):
        cohort.run()
    line = next(record.message for record in caplog.records if "first.tif" in record.message)
    for words in ("520x500 px at 0.25 µm/px", "worked on at 0.25", "0.02 mm² of tissue", "9 tiles", "MiB of results"):
        assert words in line
    assert "0 tiles" in next(record.message for record in caplog.records if "pale.tif: 600x600" in record.message)
    assert not (tmp_path / "out").exists()


def test_what_is_no_cohort_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"give --dataset_dir"):
        find_slides(None)
    with pytest.raises(InputError, match=r"does not exist"):
        find_slides(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no slide"):
        find_slides(tmp_path)
    for name in ("a.tif", "a.svs"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a.svs and a.tif would both write a: rename one"):
        find_slides(tmp_path)


@pytest.mark.parametrize(("settings", "words"), [
    ({"region_size": 700}, "region_size is 700; give a multiple of 512"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"nucleus_workers": -1}, "nucleus_workers is -1"),
    ({"tissue": "perhaps"}, "tissue is 'perhaps'; give true or false"),
    ({"mpp": -1}, "mpp is -1"),
    ({"separation_um": 0}, "separation_um is 0"),
    ({"nuclei": "no.geojson"}, "no.geojson does not exist"),
    ({"tissue_threshold": 2}, "tissue_threshold is 2"),
])  # fmt: skip
def test_settings_are_checked_before_anything_is_read(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        segmenter(tmp_path, **settings)


@pytest.mark.parametrize(("text", "words"), [
    ("{", "is no GeoJSON of outlines"),
    ('{"a": 1}', "is no GeoJSON of outlines"),
    ('[{"geometry": {"type": "Point", "coordinates": [1, 2]}}]', "holds a Point; expected polygons"),
])  # fmt: skip
def test_a_file_that_is_no_outlines_is_refused(tmp_path, text, words):
    (tmp_path / "given.geojson").write_text(text)
    with pytest.raises(InputError, match=words):
        segmenter(tmp_path, nuclei=tmp_path / "given.geojson")
