import resource
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shapely

spatialdata = pytest.importorskip("spatialdata")
zarr = pytest.importorskip("zarr")

from monch_monai.class_table import PANNUKE, ClassTable, NucleusClass  # noqa: E402
from monch_monai.geometry import Mpp  # noqa: E402
from tests.fakes.sources import in_pieces, nuclei_at, scattered, source_of  # noqa: E402
from tests.writers.reading import content, written  # noqa: E402

SENTENCES = ("One.", "Two.", "Three.")
ALIKE = ClassTable(
    "alike",
    (
        NucleusClass(0, "background", (0, 0, 0), SENTENCES),
        *(
            NucleusClass(i, name, (i, 0, 0), tuple(f"{name} {s}" for s in SENTENCES))
            for i, name in enumerate(("T cell (CD3+)", "T cell [CD3-]", "कोशिका " * 5 + "कोश", "𠀀" * 40), start=1)
        ),
    ),
)  # fmt: skip
"""Names that are the same by letters alone, with marks that are no letters, and of as many bytes as a name can have."""

TWO_PARTS = shapely.MultiPolygon([shapely.box(40, 40, 50, 50), shapely.box(52, 52, 60, 60)])


def store(folder, source, tables):
    return spatialdata.read_zarr(written("spatialdata", folder, source, tables))


def test_the_table_annotates_the_shapes_and_both_hold_the_numbers(tmp_path):
    nuclei = scattered(120)
    made = store(tmp_path, source_of(), in_pieces(nuclei, 50))
    shapes, table = spatialdata.match_element_to_table(made, "nuclei", "table")
    assert list(shapes) == ["nuclei"]
    assert list(shapes["nuclei"].index) == list(table.obs["nucleus_id"]) == list(range(1, 121))
    assert set(table.obs["region"]) == {"nuclei"}
    for rows in (shapes["nuclei"], table.obs):
        assert list(rows["class_name"].cat.categories) == [c.name for c in PANNUKE.nuclei]
        assert np.array_equal(rows["class_name"].cat.codes + 1, nuclei["class_index"].to_numpy())
        for column in ("area_um2", "circularity", "mean_prob"):
            assert np.array_equal(rows[column], nuclei[column].to_numpy())
        found = rows[[f"prob_{c.name}" for c in PANNUKE.nuclei]]
        assert np.array_equal(found, np.stack(nuclei["probs"].to_pylist()))
    assert np.array_equal(table.obsm["spatial"], np.stack([nuclei["x"].to_numpy(), nuclei["y"].to_numpy()], axis=1))
    assert list(table.uns["class_table"]["name"]) == [c.name for c in PANNUKE.nuclei]


def test_rows_written_in_pieces_are_the_store_of_all_at_once(tmp_path, monkeypatch):
    nuclei = scattered(120)
    nuclei = pa.concat_tables([nuclei, nuclei_at([(50, 50)], [3], polygons=[TWO_PARTS])])
    made, bytes_of = {}, {}
    for rows, given in ((200, [nuclei]), (70, in_pieces(nuclei, 7)), (70, in_pieces(nuclei, 90))):
        monkeypatch.setattr("monch_monai.writers.spatialdata_store.ROWS", rows)
        folder = tmp_path / f"{rows}_{len(given)}"
        folder.mkdir()
        made[folder.name] = store(folder, source_of(), given)
        bytes_of[folder.name] = content(folder / "nuclei.zarr")
        assert [path.name for path in folder.iterdir()] == ["nuclei.zarr"]
    assert bytes_of["70_18"] == bytes_of["70_2"]  # whatever the regions
    whole = made.pop("200_1")
    assert len(whole["nuclei"]) == 121
    for one in made.values():
        assert one["nuclei"].equals(whole["nuclei"])
        assert one["table"].obs.equals(whole["table"].obs)
        assert np.array_equal(one["table"].obsm["spatial"], whole["table"].obsm["spatial"])
        assert one["table"].shape == (121, 0)
        spatialdata.SpatialData(shapes={"nuclei": one["nuclei"]}, tables={"table": one["table"]})  # which checks all
    assert zarr.open_group(tmp_path / "70_2" / "nuclei.zarr", use_consolidated=True)[
        "tables/table/obs/_index"
    ].shape == (121,)


def test_pixels_of_level_0_become_micrometres_by_the_resolution_of_each_axis(tmp_path):
    made = store(tmp_path, replace(source_of(), mpp=Mpp(0.25, 0.5)), [nuclei_at([(100, 60), (300, 80)], [1, 2])])
    assert set(made.coordinate_systems) == {"global", "um"}
    pixels = spatialdata.transform(made["nuclei"], to_coordinate_system="global")
    um = spatialdata.transform(made["nuclei"], to_coordinate_system="um")
    assert np.allclose(np.stack([pixels.centroid.x, pixels.centroid.y], axis=1), [(100, 60), (300, 80)])
    assert np.allclose(np.stack([um.centroid.x, um.centroid.y], axis=1), [(25, 30), (75, 40)])
    assert np.allclose(um.area, pixels.area / 8)


def test_names_that_spatialdata_does_not_take_become_others_without_losing_a_column(tmp_path):
    source = replace(source_of(ALIKE), features=True)
    nuclei = scattered(8, ALIKE)
    for number, quantity in enumerate(source.quantities[3 + len(ALIKE.nuclei) :]):
        nuclei = nuclei.append_column(quantity.column, [np.full(8, number + 0.5)])
    made = store(tmp_path, source, [nuclei.cast(source.schema)])
    probs = np.stack(nuclei["probs"].to_pylist())
    for rows in (made["nuclei"], made["table"].obs):
        assert list(rows["class_name"][:4]) == [c.name for c in ALIKE.nuclei]
        assert np.array_equal(rows[["prob_T_cell__CD3__", "prob_T_cell__CD3-_"]], probs[:, :2])
        columns = rows.columns[1 : 1 + len(source.quantities)]
        assert list(rows[columns].iloc[0, 7:]) == [number + 0.5 for number in range(len(columns) - 7)]


def test_keys_differ_in_any_case():
    from monch_monai.writers.spatialdata_store import keys

    found = keys(["prob_B (a)", "prob_b (A)", "prob_b [a]", "prob_B__a__2", "near_ü"])
    assert list(found.values()) == ["prob_B__a_", "prob_b__A__2", "prob_b__a__3", "prob_B__a__2_2", "near_ü"]


def test_an_earlier_store_is_replaced_when_the_new_one_is_whole_and_else_stays(tmp_path, monkeypatch):
    path = written("spatialdata", tmp_path, source_of(), [scattered(5)])
    earlier, write = content(path), spatialdata.SpatialData.write
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fail(self, *args, **kwargs):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        write(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(spatialdata.SpatialData, "write", fail)
        try:
            with pytest.raises(OSError, match="too large"):
                written("spatialdata", tmp_path, source_of(), [scattered(3)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [path]
    assert content(path) == earlier
    assert len(store(tmp_path, source_of(), [])["table"]) == 0
    assert list(tmp_path.iterdir()) == [path]
