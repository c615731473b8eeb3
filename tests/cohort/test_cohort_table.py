import csv
import errno
import json
import os
import shutil

import pytest

from monch_monai.class_table import PANNUKE
from monch_monai.cohort import Cohort, cohort_table
from monch_monai.errors import InputError
from tests.cohort.reading_back import segmenter
from tests.fakes.labels import some_classes
from tests.fakes.slides import Nucleus, colours, paint, write_slide

NUCLEI = {"a": [Nucleus(60, 60, 9, 1)], "b": [Nucleus(60, 60, 9, 1), Nucleus(150, 90, 9, 2)], "c": []}


@pytest.fixture
def slides(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, nuclei in NUCLEI.items():
        write_slide(folder / f"{name}.tif", paint(nuclei, (220, 200)))
    return folder


def rows(out):
    with (out / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


def test_slides_of_several_commands_make_one_table(slides, tmp_path, caplog):
    out = tmp_path / "out"
    for name in NUCLEI:
        Cohort(slides / f"{name}.tif", out, segmenter(out)).run()
    assert {name: row["neoplastic"] for name, row in rows(out).items()} == {"a.tif": "1", "b.tif": "1", "c.tif": "0"}
    assert [line.split(" in ")[0] for line in caplog.messages if "no nucleus" in line] == ["c.tif: no nucleus"]
    b, c = rows(out)["b.tif"], rows(out)["c.tif"]
    assert (b["nuclei_total"], b["neoplastic share"], b["dead share"]) == ("2", "0.5", "0.0")
    assert float(b["per_mm2_total"]) == pytest.approx(2 / float(b["tissue_mm2"]), rel=1e-3)
    assert (c["nuclei_total"], c["neoplastic share"]) == ("0", "")
    one_by_one = (out / "cohort.csv").read_bytes()
    Cohort(slides, tmp_path / "at_once", segmenter(tmp_path / "at_once")).run()
    assert (tmp_path / "at_once" / "cohort.csv").read_bytes() == one_by_one


def test_a_slide_that_failed_is_named_until_it_succeeds(slides, tmp_path):
    out = tmp_path / "out"
    good = (slides / "a.tif").read_bytes()
    (slides / "a.tif").write_text("no slide")
    with pytest.raises(InputError, match=r"1 of 1 slides have no result: a.tif"):
        Cohort(slides / "a.tif", out, segmenter(out)).run()
    Cohort(slides / "b.tif", out, segmenter(out)).run()
    assert list(rows(out)) == ["a.tif", "b.tif"]
    assert "cannot be read as a slide" in rows(out)["a.tif"]["error"]
    (slides / "a.tif").write_bytes(good)
    Cohort(slides / "a.tif", out, segmenter(out)).run()
    assert rows(out)["a.tif"]["error"] == ""


def test_slides_of_other_classes_have_columns_and_a_warning(slides, tmp_path, caplog):
    out, others = tmp_path / "out", some_classes(2)

    def other(tiles):
        found = colours(tiles)
        return found.of_classes(found.class_map.clip(0, 1), found.probs[:, :1])

    other.class_table = others
    Cohort(slides / "a.tif", out, segmenter(out)).run()
    assert "other settings" not in caplog.text
    Cohort(slides / "b.tif", out, segmenter(out, other)).run()
    assert "cohort.csv holds slides segmented with other settings, such as a.tif" in caplog.text
    table = rows(out)
    assert (table["a.tif"]["neoplastic"], table["a.tif"]["class 1"]) == ("1", "")
    assert (table["b.tif"]["neoplastic"], table["b.tif"]["class 1"]) == ("", "2")
    assert list(table["a.tif"])[-1] == "error"


def test_a_table_that_people_or_programs_changed_stops_nothing(slides, tmp_path, caplog):
    out = tmp_path / "out"
    Cohort(slides / "a.tif", out, segmenter(out)).run()
    for text in (b"", b"\xff\xfe\0", b"slide;error\na.tif;b\n", b'slide,error\n"x.tif,\n', b"error\nlost\n"):
        (out / "cohort.csv").write_bytes(text)
        (out / "odd").mkdir(exist_ok=True)
        (out / "odd" / "summary.json").write_text(json.dumps({"slide": "odd.tif"}))
        Cohort(slides / "b.tif", out, segmenter(out)).run()
        assert {"a.tif", "b.tif"} <= set(rows(out))
        assert "odd.tif" not in rows(out)
    assert "is no slide's summary (it lacks per_mm2): left out of cohort.csv" in caplog.text


def test_a_full_disk_ends_the_batch_in_one_line_and_the_next_command_goes_on(slides, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(cohort_table, "write_rows", full)
        with pytest.raises(InputError, match=r"cohort.csv cannot be written \(No space left on device\): make room"):
            Cohort(slides, out, segmenter(out)).run()
    assert [path.name for path in out.iterdir()] == ["a"]

    Cohort(slides, out, segmenter(out)).run()
    assert list(rows(out)) == ["a.tif", "b.tif", "c.tif"]


def test_a_long_cohort_is_not_summed_up_after_each_slide(slides, tmp_path, monkeypatch):
    out, written = tmp_path / "out", []
    table = cohort_table.CohortTable(out, PANNUKE)
    out.mkdir()
    monkeypatch.setattr(cohort_table, "write_rows", lambda path, made, _: written.append(len(made)))
    for whole in (False, False, False, True):
        table.write({}, whole)
    assert len(written) == 2
    assert written == [0, 0]
    shutil.rmtree(out)
