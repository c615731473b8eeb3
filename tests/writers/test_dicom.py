import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

highdicom = pytest.importorskip("highdicom")

import pydicom  # noqa: E402
from wsidicom import WsiDicom  # noqa: E402

from monch_monai.class_table import PANNUKE  # noqa: E402
from monch_monai.errors import InputError  # noqa: E402
from monch_monai.segmentation import basic_quantities  # noqa: E402
from monch_monai.writers import TILE  # noqa: E402
from monch_monai.writers.dicom_file import Bulk, write_dicom  # noqa: E402
from monch_monai.writers.dicom_segmentation import write_segmentation  # noqa: E402
from monch_monai.writers.dicom_source import UNKNOWN  # noqa: E402
from tests.fakes.dicom import write_dicom as write_slide  # noqa: E402
from tests.fakes.labels import some_classes  # noqa: E402
from tests.fakes.sources import in_pieces, nuclei_at, scattered, source_of  # noqa: E402
from tests.writers.conformity import missing_elements  # noqa: E402
from tests.writers.reading import written  # noqa: E402

SIZE = (1300, 1100)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A folder of one DICOM whole-slide image, and a file of another kind."""
    return write_slide(tmp_path_factory.mktemp("dicom") / "slide", np.full((SIZE[1], SIZE[0], 3), 240, np.uint8))


@pytest.fixture(params=["DICOM", "of no DICOM"])
def source(request, slide):
    return source_of(path=slide if request.param == "DICOM" else Path("größe.svs"), size=SIZE)


def squares_of(class_map):
    def square(row, column):
        found = class_map[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        return found if found.any() else None

    return square


def painted(size=SIZE):
    class_map = np.zeros((size[1], size[0]), np.uint8)
    for c in range(1, 6):
        class_map[90 * c : 90 * c + 40, 200 * c : 200 * c + 60] = c
    class_map[-30:, -50:] = 3
    return class_map


def test_files_have_what_the_standard_asks(source, tmp_path):
    annotations = pydicom.dcmread(written("dicom", tmp_path, source, [scattered(20, side=1000)]))
    assert missing_elements(annotations) == []
    write_segmentation(tmp_path / "seg.dcm", source, squares_of(painted()))
    assert missing_elements(pydicom.dcmread(tmp_path / "seg.dcm")) == []


def test_both_files_refer_to_the_series_of_the_slide(slide, tmp_path):
    source, image = (
        source_of(path=slide, size=SIZE),
        pydicom.dcmread(next(slide.glob("*.dcm")), stop_before_pixels=True),
    )
    annotations = pydicom.dcmread(written("dicom", tmp_path, source, [scattered(20, side=1000)]))
    write_segmentation(tmp_path / "seg.dcm", source, squares_of(painted()))
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    for made in (annotations, segmentation):
        assert made.StudyInstanceUID == image.StudyInstanceUID
        assert made.PatientID == image.PatientID
        assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID
        assert made.SeriesInstanceUID != image.SeriesInstanceUID
        assert made.get("SeriesDescription") != UNKNOWN
    assert annotations.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert segmentation.FrameOfReferenceUID == image.FrameOfReferenceUID
    for file in [*slide.glob("*.dcm")]:  # as some scanners and Windows write it
        file.rename(file.with_suffix(".DCM"))
    of_capitals = pydicom.dcmread(written("dicom", tmp_path, source, [scattered(2)]))
    assert (of_capitals.StudyInstanceUID, of_capitals.PatientID) == (image.StudyInstanceUID, image.PatientID)
    for file in [*slide.glob("*.DCM")]:
        file.rename(file.with_suffix(".dcm"))
    of_file = replace(source, path=next(slide.glob("*.dcm")))
    assert (
        pydicom.dcmread(written("dicom", tmp_path, of_file, [scattered(2)])).StudyInstanceUID == image.StudyInstanceUID
    )


def test_of_a_slide_of_no_dicom_files_state_what_is_not_known(tmp_path):
    made = []
    for name, digest in (("a", "11"), ("a", "11"), ("b", "22")):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        source = replace(source_of(path=Path(f"{name}.svs"), size=SIZE), digest=digest)
        made.append(pydicom.dcmread(written("dicom", folder, source, [scattered(5)])))
        write_segmentation(folder / "seg.dcm", source, squares_of(painted()))
        segmentation = pydicom.dcmread(folder / "seg.dcm")
        assert segmentation.StudyInstanceUID == made[-1].StudyInstanceUID
        assert segmentation.ContentDescription == made[-1].ContentDescription == UNKNOWN
        stated = made[-1].AnnotationGroupSequence[0].AnnotationGroupDescription
        assert f"The source is {name}.svs, which is no DICOM: its patient, study, specimen" in stated
        assert "placeholders" in stated
    assert made[0].StudyInstanceUID == made[1].StudyInstanceUID != made[2].StudyInstanceUID
    assert made[0].PatientID == ""


def test_groups_are_coded_and_measured(tmp_path):
    table, source = scattered(50), source_of()
    file = highdicom.ann.annread(written("dicom", tmp_path, source, in_pieces(table, 8)))
    groups = file.get_annotation_groups()
    assert [group.label for group in groups] == [c.name for c in PANNUKE.nuclei]
    kinds = {}
    for group in groups:
        kind = group.AnnotationPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("84640000", "SCT")
        (cell,) = kind.AnnotationPropertyTypeModifierCodeSequence
        kinds[group.label] = (cell.CodeValue, cell.CodingSchemeDesignator)
        rows = table.filter(np.equal(table["class_index"].to_numpy(), PANNUKE.names.index(group.label)))
        names, values, units = group.get_measurements()
        assert [name.meaning for name in names] == [q.meaning for q in basic_quantities(PANNUKE)]
        assert [unit.value for unit in units] == ["um2", *["1"] * 7]
        assert np.allclose(values[:, 0], rows["area_um2"].to_numpy())
        assert np.allclose(values[:, 3:], np.stack(rows["probs"].to_pylist()))
    assert kinds == {
        "neoplastic": ("252987004", "SCT"), "inflammatory": ("INFLAMMATORY", "99MONCH"),
        "connective": ("CONNECTIVE", "99MONCH"), "dead": ("DEAD", "99MONCH"), "epithelial": ("4212006", "SCT"),
    }  # fmt: skip
    assert file.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99MONCH"


def test_classes_without_a_nucleus_have_no_group(tmp_path):
    file = highdicom.ann.annread(written("dicom", tmp_path, source_of(), [nuclei_at([(9, 9)], [4])]))
    (group,) = file.get_annotation_groups()
    assert (group.label, group.number) == ("dead", 1)


def test_a_measurement_leaves_out_nuclei_without_a_value(slide, tmp_path):
    source = replace(source_of(path=slide, size=SIZE), features=True)
    table = nuclei_at([(10, 10), (50, 50), (90, 90), (130, 130)], [1, 1, 1, 4])
    for quantity in source.quantities[8:]:
        table = table.append_column(quantity.column, [[1.5, None, 2.5, None]])
    path = written("dicom", tmp_path, source, in_pieces(table.cast(source.schema), 2))
    some, none = highdicom.ann.annread(path).get_annotation_groups()
    names, values, units = some.get_measurements()
    assert len(names) == len(source.quantities)
    assert np.array_equal(values[:, 8:], np.tile([[1.5], [np.nan], [2.5]], len(names) - 8), equal_nan=True)
    assert {unit.value for unit in units} == {"um2", "um", "rad", "1"}
    assert len(none.get_measurements()[0]) == 8  # a measurement of no value is none
    assert missing_elements(pydicom.dcmread(path)) == []
    with WsiDicom.open([*slide.glob("*.dcm"), path]) as opened:
        assert [len(group) for group in opened.annotations[0].groups] == [3, 1]


def test_wsidicom_opens_the_annotations_beside_their_slide(slide, tmp_path):
    table = scattered(30, side=1000)
    path = written("dicom", tmp_path, source_of(path=slide, size=SIZE), [table])
    with WsiDicom.open([*slide.glob("*.dcm"), path]) as opened:
        (annotations,) = opened.annotations
        found = {group.label: group for group in annotations.groups}
        assert {name: len(group) for name, group in found.items()} == {c.name: 6 for c in PANNUKE.nuclei}
        first = found["neoplastic"].annotations[0].geometry
    assert (
        np.abs(
            np.array([(p.x, p.y) for p in first.points]).mean(0) - [table["x"][0].as_py(), table["y"][0].as_py()]
        ).max()
        < 0.1
    )


@pytest.mark.parametrize("size", [SIZE, (300, 200), (1024, 512)])
def test_a_segmentation_is_the_class_map(tmp_path, size):
    class_map = painted()[: size[1], : size[0]]
    write_segmentation(tmp_path / "seg.dcm", source_of(size=size), squares_of(class_map))
    made = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert np.array_equal(made.get_total_pixel_matrix(combine_segments=True), class_map)
    tiles = {(c, y // TILE, x // TILE) for c in range(1, 6) for y, x in np.argwhere(class_map == c)}
    assert made.NumberOfFrames == len(tiles)
    assert made.DimensionOrganizationType == "TILED_SPARSE"
    places = [
        tuple(item.FrameContentSequence[0].DimensionIndexValues) for item in made.PerFrameFunctionalGroupsSequence
    ]
    assert len(set(places)) == len(places)
    assert [s.SegmentLabel for s in made.SegmentSequence] == [c.name for c in PANNUKE.nuclei]


def test_a_segmentation_is_at_the_working_resolution_in_the_place_of_the_slide(slide, tmp_path):
    source = source_of(path=slide, size=SIZE, mpp=0.5)
    box = source.grid.box
    assert (box.width, box.height) == (2600, 2200)
    class_map = painted((box.width, box.height))
    write_segmentation(tmp_path / "seg.dcm", source, squares_of(class_map))
    made = highdicom.seg.segread(tmp_path / "seg.dcm")
    spacing = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert list(spacing) == [0.00025, 0.00025]
    assert np.array_equal(made.get_total_pixel_matrix(combine_segments=True), class_map)
    place = made.PerFrameFunctionalGroupsSequence[-1].PlanePositionSlideSequence[0]
    row, column = place.RowPositionInTotalImagePixelMatrix - 1, place.ColumnPositionInTotalImagePixelMatrix - 1
    assert (float(place.XOffsetInSlideCoordinateSystem), float(place.YOffsetInSlideCoordinateSystem)) == (
        pytest.approx(-row * 0.00025), pytest.approx(-column * 0.00025),
    )  # fmt: skip


def test_a_class_map_of_background_is_one_empty_frame(tmp_path):
    write_segmentation(tmp_path / "seg.dcm", source_of(size=SIZE), lambda row, column: None)
    made = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert (made.NumberOfFrames, made.get_total_pixel_matrix(combine_segments=True).any()) == (1, False)


def test_a_segmentation_has_the_classes_and_the_provenance_of_any_table(tmp_path):
    table = some_classes(9)
    source = source_of(table, size=(600, 600))
    class_map = np.tile(np.arange(9, dtype=np.uint8).repeat(20), (600, 4))[:, :600]
    write_segmentation(tmp_path / "seg.dcm", source, squares_of(class_map))
    made = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert np.array_equal(made.get_total_pixel_matrix(combine_segments=True), class_map)
    stated = json.loads(made.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters)
    assert stated["classes"] == table.names
    assert stated["weights_sha256"] == source.about["weights_sha256"]


def test_more_than_dicom_holds_is_refused(tmp_path):
    dataset = pydicom.Dataset()
    bulk = Bulk("OB", 2**32, iter(()))
    with pytest.raises(InputError, match=r"PixelData of big\.dcm would be of 4\.0 GiB, and DICOM holds 4: leave that"):
        write_dicom(tmp_path / "big.dcm", dataset, {(id(dataset), "PixelData"): bulk})
    assert list(tmp_path.iterdir()) == []
