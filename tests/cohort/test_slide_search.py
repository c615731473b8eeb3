import logging
import os
import shutil

import pytest

from monch_monai.cohort import Cohort, find_slides, fingerprint
from monch_monai.cohort.slide_file import companions
from monch_monai.errors import InputError
from monch_monai.slides import dicom_files
from tests.cohort.reading_back import nuclei_of, segment, segmenter
from tests.fakes.slides import Nucleus, colours, paint, write_slide

NUCLEI = [Nucleus(60, 60, 9, 1), Nucleus(150, 90, 9, 2)]


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "s.tif", paint(NUCLEI, (220, 200)))


@pytest.fixture
def folder(slide, tmp_path):
    """Makes a folder of copies of a slide under the paths given."""

    def make(*names):
        for name in names:
            path = tmp_path / "slides" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(slide, path)
        return tmp_path / "slides"

    return make


def found(folder, **settings):
    return [slide.relative_to(folder).as_posix() for slide in find_slides(folder, **settings)]


def test_hidden_files_are_no_slides(folder):
    source = folder("a.tif", "._a.tif", ".hidden.svs", "__MACOSX/._b.tif", ".Trashes/c.tif")
    assert found(source) == ["a.tif"]
    assert found(source, recursive=True) == ["a.tif"]


def test_subfolders_are_looked_into_or_named(folder, caplog):
    source = folder("a.tif", "x/b.tif", "x/deep/c.SVS", "like.svs/d.tif")
    assert found(source) == ["a.tif"]
    (line,) = caplog.messages
    assert line == f"not looked into: {source}/like.svs, {source}/x; --recursive true does"
    assert found(source, recursive=True) == ["a.tif", "like.svs/d.tif", "x/b.tif", "x/deep/c.SVS"]
    (source / "a.tif").unlink()
    with pytest.raises(InputError, match=r"holds no slide: .*; not looked into: .*like.svs, .*x; --recursive true"):
        find_slides(source)


def test_links_that_lead_in_circles_end(folder):
    source = folder("a.tif", "x/b.tif")
    (source / "x" / "back").symlink_to(source)
    (source / "again").symlink_to(source / "x")
    assert found(source, recursive=True) == ["a.tif", "again/b.tif"]


def test_results_are_no_slides(folder):
    source = folder("a.tif", "x/b.tif")
    for _ in range(2):  # the second time results lie there, with class maps as TIFF
        Cohort(source, source / "out", segmenter(source / "out"), recursive="true").run()
        assert found(source, recursive=True, output_dir=source / "out") == ["a.tif", "x/b.tif"]
        assert found(source, recursive=True) == ["a.tif", "x/b.tif"]
    assert nuclei_of(source / "out" / "x" / "b").num_rows == nuclei_of(source / "out" / "a").num_rows == 2
    table = (source / "out" / "cohort.csv").read_text(encoding="utf-8")
    assert [line.split(",")[0] for line in table.splitlines()] == ["slide", "a.tif", "x/b.tif"]


@pytest.mark.parametrize("write", ["pyramid", "geojson", "dicom,seg"])
def test_results_without_a_table_are_no_slides(folder, write):
    if "dicom" in write:
        pytest.importorskip("highdicom")
    source = folder("a.tif")
    Cohort(source, source, segmenter(source, write=write)).run()
    assert not (source / "a" / "nuclei.parquet").exists()
    assert found(source) == found(source, recursive=True) == ["a.tif"]


def test_slides_that_would_write_into_each_other_are_refused(folder):
    source = folder("x.svs", "x/b.tif")
    with pytest.raises(InputError, match=r"x.svs and .*x/b.tif would both write x: rename one"):
        find_slides(source, recursive=True)
    assert found(folder("y/same.tif", "z/same.tif", "x.svs")) == ["x.svs"]


def test_a_link_to_nothing_is_named(folder, tmp_path):
    source = folder("a.tif")
    (source / "lost.tif").symlink_to("nowhere.tif")
    with pytest.raises(InputError, match=r"1 of 2 slides have no result: lost.tif"):
        Cohort(source, tmp_path / "out", segmenter(tmp_path / "out")).run()


def test_names_that_cannot_be_written_cost_one_line_and_no_other_slide(folder, tmp_path, caplog):
    source, latin, long = folder("a.tif", "Größe 病理.tif"), os.fsdecode(b"Gr\xf6\xdfe.tif"), "T" * 251 + ".tif"
    for name in (latin, long):
        shutil.copy(source / "a.tif", source / name)
    with pytest.raises(InputError, match=r"^2 of 4 slides have no result: "):
        Cohort(source, tmp_path / "out", segmenter(tmp_path / "out")).run()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Größe 病理", "a", "cohort.csv"]
    table = (tmp_path / "out" / "cohort.csv").read_text(encoding="utf-8")
    assert r"the name Gr\udcf6\udcdfe.tif is not UTF-8, so results cannot state it: rename the slide" in table
    assert "cannot be written (File name too long): give the slide a shorter name" in table
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    assert "Traceback" not in caplog.text


def test_slides_of_one_size_with_the_same_margins_are_not_taken_for_one(tmp_path):
    margin = bytes(3 << 20)
    one, other = tmp_path / "one.tif", tmp_path / "other.tif"
    one.write_bytes(margin + bytes([1]) * (2 << 20) + margin)
    other.write_bytes(margin + bytes([2]) * (2 << 20) + margin)
    assert fingerprint(one) != fingerprint(other)
    other.write_bytes(one.read_bytes())
    assert fingerprint(one) == fingerprint(other)


class TestDicom:
    @pytest.fixture
    def series(self, tmp_path):
        pytest.importorskip("wsidicom", reason="the optional extra dicom is not installed")
        from tests.fakes.dicom import write_dicom

        def one(name, index):
            return write_dicom(tmp_path / name, paint([Nucleus(100, 100, 9, index)], (300, 260))) / "level_0.dcm"

        return one("one", 1), one("two", 2)

    def test_two_series_in_a_folder_are_two_slides(self, series, tmp_path):
        flat, out = tmp_path / "slides" / "flat", tmp_path / "out"
        flat.mkdir(parents=True)
        for file, name in zip(series, ("b.DCM", "a.dcm"), strict=True):
            shutil.copy(file, flat / name)
        (flat / "._a.dcm").write_bytes(b"of macOS")
        assert found(flat) == ["a.dcm", "b.DCM"]
        Cohort(flat.parent, out, segmenter(out)).run()
        classes = {name: nuclei_of(out / "flat" / name)["class_index"].to_pylist() for name in "ab"}
        assert classes == {"a": [2], "b": [1]}

    def test_a_series_beside_other_slides_is_one_too(self, series, folder, caplog):
        source = folder("s.tif", "x/y.txt")
        for name in ("a0.dcm", "a1.dcm"):
            shutil.copy(series[0], source / name)
        (source / "notes.dcm").write_text("annotations, say")
        assert found(source) == ["a0.dcm", "s.tif"]
        assert f"no whole-slide images, left out: {source}/notes.dcm" in caplog.text
        before = fingerprint(source / "a0.dcm")
        assert list(companions(source / "a0.dcm")) == [source / "a1.dcm"]
        shutil.copy(series[1], source / "b.dcm")
        assert fingerprint(source / "a0.dcm") == before

    def test_a_folder_of_one_series_is_a_slide(self, series, tmp_path):
        folder = series[0].parent
        before = fingerprint(folder)
        (folder / "._level_0.dcm").write_bytes(b"of macOS")
        (folder / "level_0.dcm").rename(folder / "LEVEL_0.DCM")
        assert find_slides(folder) == [folder]
        assert fingerprint(folder) == before
        assert segment(folder, tmp_path / "out").num_rows == 1


def test_a_folder_named_like_a_dicom_file_is_a_folder(tmp_path):
    (tmp_path / "scan.dcm").mkdir()
    (tmp_path / "scan.dcm" / "level_0.dcm").write_bytes(b"DICOM, say")
    assert dicom_files(tmp_path) == []
    assert dicom_files(tmp_path / "scan.dcm") == [tmp_path / "scan.dcm" / "level_0.dcm"]


class TestCompanions:
    def test_a_mended_file_in_miraxs_folder_makes_another_slide(self, tmp_path):
        (tmp_path / "m.mrxs").write_bytes(b"a picture")
        (tmp_path / "m").mkdir()
        data = tmp_path / "m" / "Data0000.dat"
        data.write_bytes(b"whole")
        seen = {fingerprint(tmp_path / "m.mrxs")}
        data.write_bytes(b"mended")
        seen.add(fingerprint(tmp_path / "m.mrxs"))
        (tmp_path / "m" / "Index.dat").write_bytes(b"found")
        seen.add(fingerprint(tmp_path / "m.mrxs"))
        (tmp_path / "m" / ".DS_Store").write_bytes(b"of macOS")
        seen.add(fingerprint(tmp_path / "m.mrxs"))
        assert len(seen) == 3

    @pytest.mark.parametrize("suffix", [".vms", ".VMU"])
    def test_files_that_hamamatsus_index_names_count(self, tmp_path, suffix):
        index = tmp_path / f"h{suffix}"
        index.write_bytes(
            b"[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=h 100%.jpg\nImageFile(1,0)=h(1,0).jpg\n"
            b"MapFile=h_map2.jpg\nOptimisationFile=\nAuthCode=\xe4\n"
        )
        for name in ("h 100%.jpg", "h(1,0).jpg", "h_map2.jpg", "other.jpg"):
            (tmp_path / name).write_bytes(b"one")
        assert sorted(p.name for p in companions(index)) == ["h 100%.jpg", "h(1,0).jpg", "h_map2.jpg"]
        before = fingerprint(index)
        (tmp_path / "other.jpg").write_bytes(b"two")
        assert fingerprint(index) == before
        (tmp_path / "h(1,0).jpg").write_bytes(b"two")
        assert fingerprint(index) != before

    def test_an_index_that_is_none_has_no_companions(self, tmp_path):
        (tmp_path / "h.vms").write_bytes(bytes(range(256)))
        assert list(companions(tmp_path / "h.vms")) == []

    def test_the_finished_slide_is_refused_when_a_companion_changed(self, slide, tmp_path, monkeypatch):
        """A TIFF in MIRAX's place, for its reader is the only thing that differs."""
        path = tmp_path / "m.mrxs"
        shutil.copy(slide, path)
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "Data0000.dat").write_bytes(b"whole")
        segment(path, tmp_path / "out")
        segment(path, tmp_path / "out", lambda tiles: colours(None))
        (tmp_path / "m" / "Data0000.dat").write_bytes(b"mended")
        with pytest.raises(InputError, match=r"was made with another slide: remove it"):
            segment(path, tmp_path / "out")
