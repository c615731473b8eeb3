"""Identifiers in files: the same for the same content, and for no other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp
from monch_monai.handlers.image_files import ImageFiles
from monch_monai.slides import ImageSlide, grid_of
from monch_monai.writers import FORMATS
from tests.fakes.labels import some_classes
from tests.fakes.sources import nuclei_at, source_of

DICOM = ("dicom", "seg")
PLACES = [(50, 50), (90, 60), (200, 300)]


@pytest.fixture(autouse=True)
def same_date(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture(params=["dicom", "seg", "pyramid"])
def name(request):
    if FORMATS[request.param].needs:
        pytest.importorskip(FORMATS[request.param].needs)
    return request.param


def made(name, folder, source, nuclei=None, class_map=None):
    """Identifiers of a file, by what they are of; the file is named anew for each."""
    path = folder / f"{len(list(folder.iterdir()))}_{FORMATS[name].file}"
    if FORMATS[name].of_map:
        pixels = np.eye(512, dtype=np.uint8) if class_map is None else class_map
        FORMATS[name].load()(path, source, lambda row, column: pixels if (row, column) == (0, 0) else None)
    else:
        with FORMATS[name].load()(path, source) as file:
            file.add(nuclei_at(PLACES, [1, 2, 2], source.class_table) if nuclei is None else nuclei)
    return read(name, path)


def read(name, path):
    if name not in DICOM:
        root = tifffile.xml2dict(tifffile.TiffFile(path).ome_metadata)["OME"]
        return {"instance": root["UUID"]}
    import pydicom

    file = pydicom.dcmread(path)
    found = {"instance": file.SOPInstanceUID, "series": file.SeriesInstanceUID, "study": file.StudyInstanceUID}
    found["image"] = file.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    assert file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID
    if name == "dicom":
        found |= {group.AnnotationGroupLabel: group.AnnotationGroupUID for group in file.AnnotationGroupSequence}
    else:
        dimensions = {item.DimensionOrganizationUID for item in file.DimensionIndexSequence}
        (found["dimensions"],) = dimensions
        found["frame of reference"] = file.FrameOfReferenceUID
    return found


def of_instance(found):
    """Identifiers that no other file may have."""
    shared = ("series", "study", "image", "frame of reference")
    return {value for key, value in found.items() if key not in shared}


def test_what_changes_a_file_changes_every_identifier_of_it(name, tmp_path):
    source = source_of()
    features = replace(source, features=True)
    table = nuclei_at(PLACES, [1, 2, 2])
    for quantity in features.quantities[8:]:
        table = table.append_column(quantity.column, [[1.0, 2.0, 3.0]])
    other_map = np.eye(512, dtype=np.uint8)
    other_map[0, 0] = 2
    of_map = FORMATS[name].of_map
    files = {
        "as it is": made(name, tmp_path, source),
        "features": made(name, tmp_path, features, nuclei=table.cast(features.schema)),
        "resolution": made(name, tmp_path, source_of(mpp=0.5)),
        "its axes": made(name, tmp_path, replace(source, mpp=Mpp(0.25, 0.3))) if not of_map else {},
        "name": made(name, tmp_path, source_of(path=Path("other.svs"))),
        "contents of the slide": made(name, tmp_path, replace(source, digest="ef" * 32)),
        "weights": made(name, tmp_path, replace(source, about={**source.about, "weights_sha256": ["00"]})),
        "classes": made(name, tmp_path, source_of(some_classes(6))),
        "map": made(name, tmp_path, source, class_map=other_map) if of_map else {},
        "a point": {} if of_map else made(name, tmp_path, source, nuclei_at([(50, 50.01), *PLACES[1:]], [1, 2, 2])),
        "a class": {} if of_map else made(name, tmp_path, source, nuclei_at(PLACES, [1, 2, 1])),
    }
    every = [one for found in files.values() for one in of_instance(found)]
    assert len(every) == len(set(every))
    assert made(name, tmp_path, source) == files["as it is"]


@pytest.mark.parametrize("name", DICOM)
def test_another_moment_is_another_instance_of_the_same_series(name, tmp_path, monkeypatch):
    pytest.importorskip("highdicom")
    first = made(name, tmp_path, source_of())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    second = made(name, tmp_path, source_of())
    assert not of_instance(first) & of_instance(second)
    assert (first["series"], first["study"]) == (second["series"], second["study"])


def test_stand_ins_of_a_slide_agree_as_far_as_they_are_the_same(tmp_path):
    pytest.importorskip("highdicom")
    annotations, segmentation = (made(name, tmp_path, source_of()) for name in DICOM)
    assert (annotations["study"], annotations["image"]) == (segmentation["study"], segmentation["image"])
    assert annotations["series"] != segmentation["series"]
    finer, other = made("seg", tmp_path, source_of(mpp=0.125)), made("seg", tmp_path, source_of(path=Path("b.svs")))
    assert finer["study"] == segmentation["study"] != other["study"]  # the slide's
    for key in ("image", "frame of reference"):  # of which another resolution makes others
        assert len({one[key] for one in (segmentation, finer, other)}) == 3


def test_an_image_segmented_otherwise_has_other_identifiers(name, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    slide = ImageSlide(pixels, 0.25)
    found = []
    files = ImageFiles(tmp_path, PANNUKE, [name])
    for count in (3, 2, 3):  # as by another separation
        table, class_map = nuclei_at(PLACES[:count], [1, 2, 2][:count]), np.full((256, 256), count, np.uint8)
        files.write(Path("no such file.png"), slide, grid_of(slide), class_map, table)
        found.append(read(name, tmp_path / f"no such file_{FORMATS[name].file}"))
    assert found[0] == found[2]
    assert not of_instance(found[0]) & of_instance(found[1])
    dark = ImageSlide(pixels // 2, 0.25)
    files.write(Path("no such file.png"), dark, grid_of(dark), class_map, table)
    other = read(name, tmp_path / f"no such file_{FORMATS[name].file}")
    assert not set(other.values()) & set(found[0].values())
