import numpy as np
import pytest
import shapely
from skimage.color import hed2rgb

from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp
from monch_monai.segmentation import Features, Neighbourhood, feature_quantities
from monch_monai.slides import ImageSlide, grid_of
from tests.fakes.sources import in_pieces, nuclei_at, scattered

NAMES = [c.name for c in PANNUKE.nuclei]


def features_of(pixels, tables, mpp=0.25):
    slide = ImageSlide(pixels, mpp)
    featured = Features(slide, grid_of(slide), Neighbourhood(tables, PANNUKE, Mpp(mpp, mpp)))
    return [featured(table) for table in tables]


def glass(width=400, height=300):
    return np.full((height, width, 3), 240, np.uint8)


def boxes(*corners):
    return [shapely.box(*corner) for corner in corners]


def test_shapes_are_those_of_closed_forms():
    rectangle = nuclei_at([(50, 40)], [1], polygons=boxes((30, 35, 70, 45)))
    (row,) = features_of(glass(), [rectangle])[0].to_pylist()
    assert row["major_axis_um"] == pytest.approx(40 * 0.25 * 4 / np.sqrt(12), rel=1e-3)
    assert row["minor_axis_um"] == pytest.approx(10 * 0.25 * 4 / np.sqrt(12), rel=1e-2)
    assert row["eccentricity"] == pytest.approx(np.sqrt(1 - (10 / 40) ** 2), rel=1e-2)
    assert row["equivalent_diameter_um"] == pytest.approx(np.sqrt(4 * 400 / np.pi) * 0.25, rel=1e-4)
    assert row["perimeter_um"] == pytest.approx((2 * 39 + 2 * 9) * 0.25)  # through the centres of its pixels
    assert (row["solidity"], row["extent"]) == (pytest.approx(1), pytest.approx(1))
    assert abs(row["orientation_rad"]) == pytest.approx(np.pi / 2, abs=1e-4)


@pytest.mark.parametrize("mpp", [0.125, 0.5])
def test_shapes_are_in_micrometres_at_any_resolution(mpp):
    corners = np.array([30, 36, 70, 46]) * 0.25 / mpp
    table = nuclei_at([(50 * 0.25 / mpp, 41 * 0.25 / mpp)], [1], polygons=boxes(corners))
    (row,) = features_of(glass(900, 700), [table], mpp)[0].to_pylist()
    assert row["major_axis_um"] == pytest.approx(40 * 0.25 * 4 / np.sqrt(12), rel=0.01)
    assert row["equivalent_diameter_um"] == pytest.approx(np.sqrt(4 * 400 / np.pi) * 0.25, rel=0.01)


def test_haematoxylin_is_the_density_that_was_painted():
    amounts = np.full((60, 80, 3), 0.0)
    amounts[10:30, 10:40, 0] = 0.5 / 6
    amounts[20:30, 10:40, 0] = 0.9 / 6
    amounts[10:30, 10:40, 1] = 0.3 / 6  # eosin does not count
    pixels = (hed2rgb(amounts) * 255).round().astype(np.uint8)
    (row,) = features_of(pixels, [nuclei_at([(25, 20)], [2], polygons=boxes((10, 10, 40, 30)))])[0].to_pylist()
    assert row["haematoxylin_mean"] == pytest.approx(0.7, abs=0.02)
    assert row["haematoxylin_std"] == pytest.approx(0.2, abs=0.02)
    assert (row["haematoxylin_min"], row["haematoxylin_max"]) == (
        pytest.approx(0.5, abs=0.02),
        pytest.approx(0.9, abs=0.02),
    )


def test_outlines_that_overlap_are_measured_each_as_if_alone():
    corners = [(10, 10, 40, 30), (20, 15, 60, 35), (25, 12, 30, 80)]
    together = features_of(glass(), [nuclei_at([(25, 20), (40, 25), (27, 46)], [1, 1, 1], polygons=boxes(*corners))])[0]
    for number, corner in enumerate(corners):
        (alone,) = features_of(glass(), [nuclei_at([(25, 20)], [1], polygons=boxes(corner))])[0].to_pylist()
        row = together.to_pylist()[number]
        assert [row[name] for name in ("extent", "major_axis_um", "haematoxylin_mean")] == [
            alone[name] for name in ("extent", "major_axis_um", "haematoxylin_mean")
        ]


def test_an_outline_without_a_pixel_has_neighbours_and_no_shape():
    table = nuclei_at([(50.6, 50.6), (90, 50)], [1, 2], polygons=boxes((50.6, 50.6, 50.7, 50.7), (80, 40, 100, 60)))
    row = features_of(glass(), [table])[0].to_pylist()[0]
    assert row["extent"] is None
    assert row["haematoxylin_mean"] is None
    assert row["nearest_um"] == pytest.approx(np.hypot(39.4, 0.6) * 0.25, abs=1e-4)


def test_no_nuclei_have_the_same_columns():
    empty, one = features_of(glass(), [nuclei_at([], []), scattered(1, side=200)])
    assert empty.schema == one.schema
    assert [q.column for q in feature_quantities(PANNUKE)] == one.column_names[-len(feature_quantities(PANNUKE)) :]
    (row,) = one.to_pylist()
    assert row["nearest_um"] is None
    assert row["near_neoplastic"] == 0


def test_neighbours_of_pieces_are_those_of_the_whole_by_brute_force():
    whole, mpp = scattered(500, side=1500, seed=3), Mpp(0.25, 0.3)
    pieces = in_pieces(whole, 37)
    around = Neighbourhood(pieces, PANNUKE, mpp)
    found = [around.columns(piece) for piece in pieces]
    columns = {name: np.concatenate([piece[name] for piece in found]) for name in found[0]}
    places = np.stack([whole["x"].to_numpy() * mpp.x, whole["y"].to_numpy() * mpp.y], axis=1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    classes = whole["class_index"].to_numpy()
    assert np.allclose(columns["nearest_um"], distances.min(axis=1))
    for c in PANNUKE.nuclei:
        of_class = distances[:, classes == c.index]
        assert np.allclose(columns[f"nearest_{c.name}_um"], of_class.min(axis=1))
        assert np.array_equal(columns[f"near_{c.name}"], (of_class <= 50).sum(axis=1))


def test_nuclei_in_one_place_are_neighbours_and_not_themselves():
    around = Neighbourhood([nuclei_at([(10, 10), (10, 10), (500, 10)], [1, 1, 2])], PANNUKE, Mpp(0.25, 0.25))
    columns = around.columns(nuclei_at([(10, 10), (10, 10), (500, 10)], [1, 1, 2]))
    assert columns["nearest_neoplastic_um"].tolist() == [0, 0, 122.5]
    assert np.isnan(columns["nearest_inflammatory_um"][2])
    assert columns["near_neoplastic"].tolist() == [1, 1, 0]
    assert np.isnan(columns["nearest_dead_um"]).all()
