from dataclasses import replace

import numpy as np
import pytest

anndata = pytest.importorskip("anndata")

from monch_monai.class_table import PANNUKE  # noqa: E402
from tests.fakes.labels import some_classes  # noqa: E402
from tests.fakes.sources import in_pieces, scattered, source_of  # noqa: E402
from tests.writers.reading import written  # noqa: E402


def test_rows_are_nuclei_with_class_numbers_and_place(tmp_path):
    table = scattered(120)
    made = anndata.read_h5ad(written("anndata", tmp_path, source_of(), in_pieces(table, 50)))
    assert made.shape == (120, 0)
    assert list(made.obs_names[[0, -1]]) == ["1", "120"]
    assert made.obs["class_name"].dtype == "category"
    assert list(made.obs["class_name"].cat.categories) == [c.name for c in PANNUKE.nuclei]
    assert np.array_equal(made.obs["class_name"].cat.codes + 1, table["class_index"].to_numpy())
    for column in ("area_um2", "circularity", "mean_prob"):
        assert np.array_equal(made.obs[column], table[column].to_numpy())
    assert np.array_equal(made.obs[[f"prob_{c.name}" for c in PANNUKE.nuclei]], np.stack(table["probs"].to_pylist()))
    assert np.array_equal(made.obsm["spatial"], np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1))


def test_the_class_table_is_in_uns(tmp_path):
    made = anndata.read_h5ad(written("anndata", tmp_path, source_of(some_classes(4)), []))
    table = made.uns["class_table"]
    assert list(table["name"]) == [c.name for c in some_classes(4).nuclei]
    assert table["color"].tolist() == [list(c.color) for c in some_classes(4).nuclei]
    assert list(made.uns["class_name_colors"]) == [
        "#{:02x}{:02x}{:02x}".format(*c.color) for c in some_classes(4).nuclei
    ]


def test_what_anndata_writes_again_is_the_same(tmp_path):
    source, table = replace(source_of(), features=True), scattered(30)
    for quantity in source.quantities[8:]:
        table = table.append_column(quantity.column, [[None, *np.arange(29.0)]])
    made = anndata.read_h5ad(written("anndata", tmp_path, source, [table.cast(source.schema)]))
    assert np.isnan(made.obs["solidity"].iloc[0])
    made[5:20].copy().write_h5ad(tmp_path / "again.h5ad")
    again = anndata.read_h5ad(tmp_path / "again.h5ad")
    assert again.obs.equals(made.obs.iloc[5:20])
    assert np.array_equal(again.obsm["spatial"], made.obsm["spatial"][5:20])
