import statistics

import pytest

from monch_monai.class_table import PANNUKE
from monch_monai.report.paper import CLASS_ORDER, F1_TABLES, TABLE_1, TABLE_1_MILLISECONDS, TABLE_2
from monch_monai.tissues import TISSUES


def organ_rows(system, column):
    return [TABLE_2[system][tissue][column] for tissue in TISSUES]


def test_the_papers_order_is_of_our_classes():
    assert sorted(CLASS_ORDER) == sorted(c.name for c in PANNUKE.nuclei)
    assert [c.name for c in PANNUKE.nuclei] != CLASS_ORDER


@pytest.mark.parametrize("system", TABLE_1)
def test_every_f1_of_table_1_belongs_to_its_iou(system):
    for iou, _, f1 in TABLE_1[system]:
        assert f1 == pytest.approx(2 * iou / (1 + iou), abs=2e-4)


@pytest.mark.parametrize("system", TABLE_1)
def test_every_class_of_table_1_has_an_iou_below_its_precision(system):
    assert len(TABLE_1[system]) == len(CLASS_ORDER)
    assert all(0 < iou < precision < 1 for iou, precision, _ in TABLE_1[system])


def test_every_system_of_table_1_has_its_time():
    assert list(TABLE_1_MILLISECONDS) == list(TABLE_1)


def test_there_are_nineteen_tissues_each_named_once():
    assert len(TISSUES) == len(set(TISSUES)) == 19


@pytest.mark.parametrize("system", TABLE_2)
def test_table_2_has_the_nineteen_organs_in_order_and_two_rows_over_them(system):
    assert list(TABLE_2[system]) == [*TISSUES, "average", "STD"]


def test_the_misprints_of_table_2_are_kept():
    assert TABLE_2["HoVer-Net"]["Liver"] == TABLE_2["HoVer-Net"]["Lung"]
    assert TABLE_2["CPP-Net"]["Bladder"] == TABLE_2["CPP-Net"]["Breast"]


def test_no_other_two_organs_of_table_2_agree():
    distinct = {system: len({tuple(organs[tissue]) for tissue in TISSUES}) for system, organs in TABLE_2.items()}
    assert distinct == {"HoVer-Net": 18, "TSFD-Net": 19, "CPP-Net": 18, "MONCH": 19}


@pytest.mark.parametrize("column", range(3))
def test_the_printed_std_of_monch_is_the_variance_of_its_rows(column):
    printed = TABLE_2["MONCH"]["STD"][column]
    rows = organ_rows("MONCH", column)
    assert printed == pytest.approx(statistics.pvariance(rows), abs=5e-5)
    assert statistics.pstdev(rows) > 10 * printed


def test_the_plain_mean_of_monchs_rows_is_not_the_printed_average():
    means = [round(statistics.mean(organ_rows("MONCH", column)), 4) for column in range(3)]
    assert means == [0.5602, 0.8725, 0.6895]
    assert TABLE_2["MONCH"]["average"] == [0.5662, 0.8743, 0.7035]


@pytest.mark.parametrize(("number", "row"), [(3, "MONCH"), (4, "MONCH"), (5, "MONCH"), (6, "CLIP"), (7, "CLIP")])
def test_the_whole_network_has_the_f1_of_table_1_in_every_table(number, row):
    assert F1_TABLES[number][row] == [f1 for _, _, f1 in TABLE_1["MONCH"]]


def test_the_backbones_of_table_6_stand_in_table_7_with_the_same_numbers():
    assert F1_TABLES[6].items() <= F1_TABLES[7].items()


def test_tables_3_to_7_have_the_papers_rows():
    assert {number: len(rows) for number, rows in F1_TABLES.items()} == {3: 3, 4: 3, 5: 5, 6: 3, 7: 6}
    assert {len(f1) for rows in F1_TABLES.values() for f1 in rows.values()} == {len(CLASS_ORDER)}
