"""What holds of every format of nuclei."""

import logging
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monch_monai.class_table import PANNUKE, ClassTable, NucleusClass
from monch_monai.writers import FORMATS, TILE
from tests.fakes.sources import in_pieces, nuclei_at, scattered, source_of
from tests.writers.reading import NUCLEI, READ, content, expected, in_order, provenance_of, written

SENTENCES = ("One.", "Two.", "Three.")
UNICODE = ClassTable(
    "größe",
    (
        NucleusClass(0, "background", (0, 0, 0), SENTENCES),
        NucleusClass(1, "Zellkern ß 細胞", (250, 3, 7), tuple(f"a {s}" for s in SENTENCES)),
        NucleusClass(2, "ядро клетки и ещё немного букв", (0, 255, 0), tuple(f"b {s}" for s in SENTENCES)),
    ),
)  # fmt: skip
NAMES = Path("Fall 12 – Größe 日本語 %s ' \udcff.svs")
"""A file's name on disk is bytes: the last character stands for one that is no UTF-8."""


@pytest.fixture(params=NUCLEI)
def name(request):
    if FORMATS[request.param].needs:
        pytest.importorskip(FORMATS[request.param].needs)
    return request.param


def assert_same(name, path, tables, class_table=PANNUKE):
    found, wanted = in_order(READ[name](path)), expected(name, tables, class_table)
    assert [n for n, _ in found] == [n for n, _ in wanted]
    assert all(np.abs(a - b).max() < 0.1 for (_, a), (_, b) in zip(found, wanted, strict=True))


def test_nuclei_read_back_the_same(name, tmp_path):
    tables = in_pieces(scattered(300, side=150_000), 70)
    assert_same(name, written(name, tmp_path, source_of(size=(150_000, 150_000)), tables), tables)


def test_one_nucleus_is_a_file(name, tmp_path):
    tables = [scattered(1)]
    assert_same(name, written(name, tmp_path, source_of(), tables), tables)


@pytest.mark.parametrize("tables", [[], [nuclei_at([], [])]], ids=["no region", "regions without nuclei"])
def test_no_nuclei_are_a_file_of_none(name, tmp_path, tables, caplog):
    with caplog.at_level(logging.INFO, "monch_monai"):
        path = written(name, tmp_path, source_of(), tables)
    if FORMATS[name].needs_nuclei:
        assert "slide.svs has no nuclei, and DICOM has no file of none" in caplog.text
        assert list(tmp_path.iterdir()) == []  # the standard has no such file
    else:
        assert READ[name](path) == []


def test_names_of_any_script_are_kept(name, tmp_path):
    tables = [scattered(6, UNICODE)]
    source = source_of(UNICODE, NAMES)
    path = written(name, tmp_path, source, tables)
    assert_same(name, path, tables, UNICODE)
    assert provenance_of(name, path)["slide"] == NAMES.name


def test_a_file_states_its_provenance(name, tmp_path):
    source = source_of()
    stated = provenance_of(name, written(name, tmp_path, source, [scattered(3)]))
    for key in ("software", "weights_sha256", "source_mpp", "working_mpp", "coordinates", "classes"):
        assert stated[key] == source.about[key]
    assert stated.get("class_table", source.class_table.to_dict()) == source.class_table.to_dict()
    assert "class_table" in stated or "class_table_sha256" in stated


def test_the_same_nuclei_are_the_same_bytes(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    made = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        made.append(content(written(name, tmp_path / folder, source_of(), in_pieces(scattered(40), 15))))
    assert made[0] == made[1]


def test_features_are_in_every_file_and_none_where_they_have_no_value(name, tmp_path):
    source = replace(source_of(), features=True)
    table = scattered(4)
    for number, quantity in enumerate(source.quantities[3 + len(PANNUKE.nuclei) :]):
        table = table.append_column(quantity.column, [[number + 0.5, float("nan"), None, number + 2.5]])
    table = table.cast(source.schema)
    path = written(name, tmp_path, source, [table])
    assert name in ("anndata", "spatialdata") or b"NaN" not in content(path)
    assert_same(name, path, [table])


@pytest.mark.parametrize("limit", [100, 20_000])
def test_a_full_disk_is_an_oserror(name, tmp_path, limit):
    source, tables = source_of(), in_pieces(scattered(1200), 300)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=r"too large|HDF5|write"):
            written(name, tmp_path, source, tables)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same(name, written(name, tmp_path, source, tables[:1]), tables[:1])


@pytest.mark.parametrize("name", [name for name, format_ in FORMATS.items() if format_.of_map])
def test_a_full_disk_ends_a_class_map_too(name, tmp_path):
    if FORMATS[name].needs:
        pytest.importorskip(FORMATS[name].needs)
    noise = np.random.default_rng(0).integers(0, 6, (TILE, TILE), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                FORMATS[name].load()(tmp_path / FORMATS[name].file, source_of(), lambda row, column: noise)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
