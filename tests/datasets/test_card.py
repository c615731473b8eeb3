import numpy as np
import pytest
from PIL import Image

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data import Fold, Tile, write_tiles
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets.card import LARGEST, SHEET, contact_sheet, draw_distribution, write_card
from monch_monai.datasets.inventory import Inventory, take_inventory
from monch_monai.overlay import halo_color
from tests.fakes.labels import some_classes

CELL = LARGEST + 4


def tile(color, tissue="Colon", nuclei=(), size=16):
    """A tile of one colour, with nuclei `(class, rows)` of so many whole rows from the top."""
    classes, instances = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint16)
    top = 0
    for number, (index, rows) in enumerate(nuclei, start=1):
        classes[top : top + rows], instances[top : top + rows] = index, number
        top += rows
    return Tile(np.full((size, size, 3), color, np.uint8), classes, instances, tissue, "made")


def dataset(folder, size=16, **folds):
    """Folder and inventory of a dataset with the given tiles."""
    write_tiles(folder, {name: Fold(len(tiles), lambda s, t=tiles: t[s:], size) for name, tiles in folds.items()}, {})
    totals = {name: len(tiles) for name, tiles in folds.items()}
    return folder, take_inventory(
        {name: read_tiles(folder / name, PANNUKE.names) for name in folds}, totals, Vocabulary.of_table(PANNUKE)
    )


def row_of(card, name):
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def two_folds(tmp_path):
    a = [tile(200, "Colon", [(1, 2), (1, 2), (4, 1)]), tile(201, "Liver", [(255, 4)])]
    return dataset(tmp_path / "two", a=a, b=[tile(202, "Colon", [(5, 8)])])


def test_the_card_counts_nuclei_and_shares_of_pixels_by_fold_and_by_tissue(two_folds):
    card = write_card(*two_folds, "Two folds", [])
    header = ["neoplastic", "inflammatory", "connective", "dead", "epithelial", "ignored", "all nuclei"]
    assert row_of(card, "fold") == ["fold", "tiles", *header]
    assert row_of(card, "tissue") == ["tissue", "tiles", *header]
    assert row_of(card, "a") == ["a", "2", "2 (12.50%)", "-", "-", "1 (3.12%)", "-", "1 (12.50%)", "4"]
    assert row_of(card, "b") == ["b", "1", "-", "-", "-", "-", "1 (50.00%)", "-", "1"]
    assert row_of(card, "Colon") == ["Colon", "2", "2 (12.50%)", "-", "-", "1 (3.12%)", "1 (25.00%)", "-", "4"]
    assert row_of(card, "Liver") == ["Liver", "1", "-", "-", "-", "-", "-", "1 (25.00%)", "1"]


def test_both_tables_end_in_the_same_sum(two_folds):
    card = write_card(*two_folds, "Two folds", [])
    sums = [line for line in card.splitlines() if line.startswith("| all |")]
    assert sums == ["| all | 3 | 2 (8.33%) | - | - | 1 (2.08%) | 1 (16.67%) | 1 (8.33%) | 5 |"] * 2


def test_the_card_has_its_title_pictures_and_findings(two_folds):
    folder, inventory = two_folds
    card = write_card(folder, inventory, "Two folds", ["one thing", "another"])
    assert card.startswith("# Two folds\n\n")
    assert card.endswith("## Found while preparing\n\n- one thing\n- another\n")
    assert (folder / "card.md").read_text(encoding="utf-8") == card
    for name in ("tissue_by_class.png", "contact_sheet.png"):
        assert f"]({name})" in card
        assert Image.open(folder / name).format == "PNG"


def test_writing_the_card_again_gives_the_same_files(two_folds):
    folder, inventory = two_folds
    names = ("card.md", "tissue_by_class.png", "contact_sheet.png")
    series = []
    for _ in range(2):
        write_card(folder, inventory, "Two folds", [])
        series.append([(folder / name).read_bytes() for name in names])
    assert series[0] == series[1]


def test_a_dataset_without_nuclei_has_a_card(tmp_path):
    card = write_card(*dataset(tmp_path / "empty", a=[tile(200)]), "Empty", [])
    assert row_of(card, "a") == ["a", "1", *["-"] * 6, "0"]


def test_a_sheet_of_few_tiles_shows_them_in_order(tmp_path):
    sheet = contact_sheet(*dataset(tmp_path / "few", a=[tile(10), tile(20)], b=[tile(30)]))
    assert (sheet.dtype, sheet.shape) == (np.uint8, (CELL, SHEET * CELL, 3))
    assert [int(sheet[0, CELL * i, 0]) for i in range(SHEET)] == [10, 20, 30, 255, 255, 255]
    assert (sheet[:16, CELL : CELL + 16] == 20).all()
    assert (sheet[16:] == 255).all()


def test_a_seventh_tile_begins_a_second_row(tmp_path):
    sheet = contact_sheet(*dataset(tmp_path / "seven", a=[tile(10 * i) for i in range(1, 8)]))
    assert sheet.shape[0] == 2 * CELL
    assert int(sheet[CELL, 0, 0]) == 70


def test_a_sheet_of_many_tiles_shows_36_different_ones_chosen_by_the_seed(tmp_path):
    made = dataset(tmp_path / "many", a=[tile(i) for i in range(1, 31)], b=[tile(i) for i in range(31, 61)])

    def shown(seed):
        sheet = contact_sheet(*made, seed)
        assert sheet.shape == (SHEET * CELL, SHEET * CELL, 3)
        return [int(value) for value in sheet[::CELL, ::CELL, 0].flat]

    assert len(set(shown(0))) == 36
    assert set(shown(0)) <= set(range(1, 61))
    assert shown(0) == shown(0)
    assert set(shown(0)) != set(shown(1))


def test_nuclei_are_outlined_in_the_colour_of_their_class(tmp_path):
    nucleus = tile(200)
    nucleus.classes[4:12, 4:12], nucleus.instances[4:12, 4:12] = 1, 1
    sheet = contact_sheet(*dataset(tmp_path / "one", a=[nucleus]))[:16, :16]
    assert {tuple(map(int, color)) for color in sheet.reshape(-1, 3)} == {
        (200, 200, 200), (255, 0, 0), halo_color((255, 0, 0)),
    }  # fmt: skip
    assert tuple(sheet[7, 7]) == (200, 200, 200)


def test_a_dataset_with_labels_of_its_own_has_them_in_card_and_pictures(tmp_path):
    table = some_classes(4)
    own = Vocabulary.of_nuclei(table, {"round": ["class 1", "class 2"], "cell": None, "class 3": ["class 3"]})
    folder, nuclei = tmp_path / "own", [tile(200, nuclei=[(1, 4), (2, 4), (3, 4), (255, 2)])]
    write_tiles(folder, {"a": Fold(1, lambda start: nuclei[start:], 16)}, {}, vocabulary=own)
    inventory = take_inventory({"a": read_tiles(folder / "a", own.names)}, {"a": 1}, own)
    card = write_card(folder, inventory, "Own", [])
    assert row_of(card, "fold") == ["fold", "tiles", "round", "cell", "class 3", "ignored", "all nuclei"]
    assert row_of(card, "a") == ["a", "1", *["1 (25.00%)"] * 3, "1 (12.50%)", "4"]
    first, second, third = ([c.color for c in table.nuclei][i] for i in range(3))
    means = [
        tuple(round(sum(v) / len(of)) for v in zip(*of, strict=True))
        for of in ([first, second], [first, second, third])
    ]
    drawn = {tuple(map(int, color)) for color in contact_sheet(folder, inventory)[:16, :16].reshape(-1, 3)}
    lines = {*means, third}
    assert drawn - {(200, 200, 200)} == lines | set(map(halo_color, lines))
    assert [each.remarks for each in read_tiles(folder / "a", own.names)] == [{}]


def test_tiles_larger_than_a_cell_are_cut(tmp_path):
    large = tile(100, size=300)
    large.image[:, LARGEST:] = 7
    sheet = contact_sheet(*dataset(tmp_path / "large", size=300, a=[large, large]))
    assert sheet.shape == (CELL, SHEET * CELL, 3)
    assert (sheet[:LARGEST, :LARGEST] == 100).all()
    assert (sheet[:, LARGEST:CELL] == 255).all()


def test_the_distribution_grows_with_the_number_of_tissues(tmp_path):
    heights = []
    for tissues in (["Colon"], ["Colon", "Liver", "Lung"]):
        inventory = Inventory(Vocabulary.of_table(PANNUKE))
        for tissue in tissues:
            inventory.add("a", tile(200, tissue, [(1, 3)]))
        draw_distribution(tmp_path / "map.png", inventory)
        heights.append(Image.open(tmp_path / "map.png").height)
    assert heights[1] - heights[0] == pytest.approx(2 * 0.3 * 150, abs=1)


def test_the_distribution_follows_the_counts_of_nuclei(tmp_path):
    pictures = []
    for index in (1, 2, 1):
        inventory = Inventory(Vocabulary.of_table(PANNUKE))
        inventory.add("a", tile(200, "Colon", [(index, 1)] * 12))
        draw_distribution(tmp_path / "map.png", inventory)
        pictures.append((tmp_path / "map.png").read_bytes())
    assert pictures[0] == pictures[2]
    assert pictures[0] != pictures[1]
