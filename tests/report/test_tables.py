import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from monch_monai.__main__ import Commands, main
from monch_monai.class_table import LabelSets
from monch_monai.errors import InputError
from monch_monai.report import EvaluatedRun, paper_table, to_markdown, write_table
from monch_monai.report.paper import CLASS_ORDER, F1_TABLES, TABLE_1, TABLE_2
from monch_monai.report.score import Score
from monch_monai.report.table_files import cell
from monch_monai.tissues import TISSUES
from tests.fakes.evaluations import RECORD, set_score, write_evaluation
from tests.fakes.labels import some_classes

ABLATIONS = Path(__file__).parents[2] / "bundle" / "configs" / "ablations"
ROWS = {
    "without_mgfe": (3, "without MGFE"),
    "without_ppd": (3, "without PPD"),
    "without_high_pass": (4, "without HF"),
    "without_topology": (4, "without Topo"),
    "without_query_high": (5, "without q_h"),
    "without_query_conv": (5, "without q_v"),
    "without_query_topo": (5, "without q_t"),
    "without_query_text": (5, "without q_T"),
}
OURS = "this software"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Folder of one evaluation, of two organs."""
    return write_evaluation(tmp_path_factory.mktemp("alone"), time=12.5)


@pytest.fixture
def three(tmp_path):
    """Folders of three evaluations of one network."""
    return [write_evaluation(tmp_path / str(seed), seed=seed, time=10.0 * (1 + seed)) for seed in range(3)]


def read(*folders):
    return [EvaluatedRun.read(folder) for folder in folders]


def ours(rows):
    """The rows of a table that are not the paper's."""
    return [row for row in rows if row["source"] != "paper"]


def scores_of(folder):
    return json.loads((folder / "scores.json").read_text())


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score(0.61234), "0.6123"),
        (Score(0.61234, 0.579, 0.642), "0.6123 [0.5790, 0.6420]"),
        (Score(0.61234, sd=0.00399, runs=3), "0.6123 ± 0.0040 (3)"),
        (Score(1.0, 1.0, 1.0), "1.0000 [1.0000, 1.0000]"),
    ],
)
def test_a_score_says_its_interval_or_its_spread(score, text):
    assert str(score) == cell(score) == text


def test_what_is_not_there_is_a_dash_and_a_word_is_itself():
    assert [cell(value) for value in (None, 0.5, "MONCH", 3)] == ["-", "0.5000", "MONCH", "3"]


def test_a_bar_in_a_name_ends_no_cell():
    assert to_markdown([{"a|b": "c|d"}]) == "| a\\|b |\n| --- |\n| c\\|d |\n"


def test_table_1_prints_the_papers_systems_first(alone):
    rows = paper_table(1, read(alone))
    assert [(row["system"], row["source"]) for row in rows] == [(s, "paper") for s in TABLE_1] + [("MONCH", OURS)]
    assert rows[5]["dead precision"] == 0.5194
    assert rows[1]["inference ms"] == 742.81


def test_one_run_has_the_intervals_of_its_scores(alone):
    (row,) = ours(paper_table(1, read(alone)))
    classes = scores_of(alone)["classes"]
    for name in CLASS_ORDER:
        for title, key in (("IoU", "iou"), ("precision", "precision"), ("F1", "dice")):
            values = [classes[name][f"{key}{end}"] for end in ("", "_low", "_high")]
            assert row[f"{name} {title}"] == Score(*values)
    assert row["inference ms"] == 12.5


def test_several_runs_have_mean_and_sample_deviation_and_say_how_many(three):
    (row,) = ours(paper_table(1, read(*three)))
    assert row["source"] == "this software, 3 runs"
    ious = [scores_of(folder)["classes"]["connective"]["iou"] for folder in three]
    assert row["connective IoU"].value == pytest.approx(np.mean(ious), abs=1e-15)
    assert row["connective IoU"].sd == pytest.approx(np.std(ious, ddof=1), abs=1e-15)
    assert row["inference ms"] == 20


def test_three_scores_known_by_construction(three):
    for folder, value in zip(three, (0.2, 0.4, 0.6), strict=True):
        set_score(folder, value, "classes", "dead", "dice")
    (row,) = ours(paper_table(1, read(*three)))
    assert str(row["dead F1"]) == "0.4000 ± 0.2000 (3)"


def test_a_score_that_no_run_has_is_a_dash(three):
    for folder in three:
        set_score(folder, None, "classes", "dead", "dice")
    assert cell(ours(paper_table(1, read(*three)))[0]["dead F1"]) == "-"


def test_a_score_that_some_runs_lack_counts_those_that_have_it(three):
    for folder, value in zip(three, (0.2, None, 0.4), strict=True):
        set_score(folder, value, "classes", "dead", "dice")
    score = ours(paper_table(1, read(*three)))[0]["dead F1"]
    assert (score.value, score.runs) == (pytest.approx(0.3), 2)


def test_time_is_a_dash_where_it_was_not_measured(tmp_path):
    (row,) = ours(paper_table(1, read(write_evaluation(tmp_path))))
    assert cell(row["inference ms"]) == "-"


def test_table_2_has_the_nineteen_organs_and_four_rows_over_them(alone):
    rows = paper_table(2, read(alone))
    assert [row["organ"] for row in rows] == [
        *TISSUES,
        "average: six classes of the pooled test set",
        "plain mean over organs",
        "variance over organs (the paper's STD)",
        "standard deviation over organs",
    ]
    assert list(rows[0])[:4] == ["organ", "MONCH IoU", "MONCH FWIoU", "MONCH F1"]


def test_organs_missing_from_a_run_are_dashes(alone):
    rows = {row["organ"]: row for row in paper_table(2, read(alone))}
    assert [cell(rows["Skin"][f"MONCH {score}"]) for score in ("IoU", "FWIoU", "F1")] == ["-"] * 3
    lung = scores_of(alone)["organs"]["Lung"]
    assert rows["Lung"]["MONCH FWIoU"] == Score(lung["fw_iou"], lung["fw_iou_low"], lung["fw_iou_high"])
    assert rows["Lung"]["MONCH (paper) IoU"] == 0.4591


def test_organs_that_the_paper_has_not_come_after_its_own(tmp_path):
    rows = paper_table(2, read(write_evaluation(tmp_path, tissues=("Spleen", "Skin", "Brain"))))
    assert [row["organ"] for row in rows][18:22] == [
        "Uterus", "Brain", "Spleen", "average: six classes of the pooled test set",
    ]  # fmt: skip
    assert cell(rows[19]["MONCH (paper) F1"]) == "-"
    assert 0 < rows[19]["MONCH F1"].value < 1


def test_the_papers_rows_over_organs_are_printed_or_follow_from_its_rows(alone):
    average, mean, variance, deviation = paper_table(2, read(alone))[-4:]
    assert [average[f"MONCH (paper) {s}"] for s in ("IoU", "FWIoU", "F1")] == list(TABLE_2["MONCH"]["average"])
    assert [round(mean[f"MONCH (paper) {s}"], 4) for s in ("IoU", "FWIoU", "F1")] == [0.5602, 0.8725, 0.6895]
    assert variance["MONCH (paper) F1"] == 0.0035
    assert deviation["MONCH (paper) F1"] ** 2 == pytest.approx(0.0035, abs=5e-5)


def test_our_rows_over_organs_are_of_the_pooled_images_and_of_the_organs(alone):
    average, mean, variance, deviation = paper_table(2, read(alone))[-4:]
    scores = scores_of(alone)
    f1 = [scores["organs"][organ]["f1_of_means_with_background"] for organ in ("Breast", "Lung")]
    assert average["MONCH F1"].value == scores["paper_average"]["f1"]
    assert mean["MONCH F1"].value == pytest.approx(np.mean(f1), abs=1e-15)
    assert variance["MONCH F1"].value == pytest.approx(np.var(f1), abs=1e-15)
    assert deviation["MONCH F1"].value == pytest.approx(np.std(f1), abs=1e-15)


def test_each_overlay_of_an_ablation_has_its_row():
    ours = {"prompts_names", "prompts_random", "middle_stride_8"}
    assert {path.stem for path in ABLATIONS.glob("*.json")} == set(ROWS) | ours


@pytest.mark.parametrize(
    ("network", "weights", "row"),
    [
        ({"middle_stride": 8}, "clip_rn50: weights.pt", "middle map of stride 8"),
        ({}, "clip_rn50: prompts names: weights.pt", "prompts names"),
        ({}, "clip_rn50: prompts random: random", "prompts random"),
        ({"_target_": "UNet"}, None, "U-Net"),
        ({"_target_": "monch_monai.baselines.HoVerNetMaps"}, None, "HoVer-Net"),
    ],
)
def test_what_is_not_the_papers_network_has_a_row_of_its_own(network, weights, row, tmp_path):
    run = EvaluatedRun.read(write_evaluation(tmp_path, network=network, encoder_weights=weights))
    assert run.row == row
    assert run.system.startswith(row)


@pytest.mark.parametrize("overlay", ROWS)
def test_a_run_with_an_overlay_stands_under_the_papers_row(overlay, tmp_path):
    number, name = ROWS[overlay]
    switches = json.loads((ABLATIONS / f"{overlay}.json").read_text())
    network = {key.partition("#")[2]: value for key, value in switches.items() if key.startswith("network_def#")}
    run = EvaluatedRun.read(write_evaluation(tmp_path, network=network))
    assert run.row == name
    rows = paper_table(number, [run])
    place = [(row["row"], row["source"]) for row in rows].index((name, OURS))
    assert rows[place - 1] == {"row": name, "source": "paper", **dict(zip(CLASS_ORDER, F1_TABLES[number][name]))}  # noqa: B905
    dead = scores_of(tmp_path)["classes"]["dead"]
    assert rows[place]["dead"] == Score(dead["dice"], dead["dice_low"], dead["dice_high"])


def test_a_network_with_two_parts_off_is_no_row_of_the_paper(tmp_path):
    run = EvaluatedRun.read(write_evaluation(tmp_path, network={"topology": False, "high_pass": False}))
    assert run.row == "without HF without Topo"
    for number in (3, 4, 5):
        assert [row["row"] for row in ours(paper_table(number, [run]))] == ["without HF without Topo"]
    for number in (6, 7):
        assert ours(paper_table(number, [run])) == []
    assert ours(paper_table(1, [run]))[0]["system"] == "without HF without Topo"


def test_the_whole_network_stands_in_all_of_tables_3_to_5(alone):
    for number in (3, 4, 5):
        rows = paper_table(number, read(alone))
        assert [row["row"] for row in rows if row["source"] == OURS] == ["MONCH"]
        assert len(rows) == len(F1_TABLES[number]) + 1


def test_an_evaluation_without_a_config_is_of_the_whole_network(tmp_path):
    assert EvaluatedRun.read(write_evaluation(tmp_path, config=None)).row == "MONCH"


@pytest.mark.parametrize(
    ("weights", "backbone", "row"),
    [
        ("clip_rn50: weights.pt", "CLIP", "CLIP"),
        ("clip_vit_b_16: hub", "CLIP", "CLIP, clip_vit_b_16"),
        ("plip: hub", "PLIP", "PLIP"),
        ("conch: hub", "CONCH", "CONCH"),
        ("sam_b: words of clip_rn50 (random): hub", "SAM", "SAM, sam_b"),
        ("sam_b: words of clip_rn50 (hub): random", "SAM", "SAM, sam_b, random weights"),
        ("sam2_tiny: hub", "SAM2", "SAM2, sam2_tiny"),
        ("uni: hub", "UNI", "UNI"),
        ("virchow2: hub", "virchow2", "virchow2"),
    ],
)
def test_a_backbone_has_the_papers_name_or_keeps_its_own(weights, backbone, row, tmp_path):
    run = EvaluatedRun.read(write_evaluation(tmp_path, encoder_weights=weights))
    assert run.backbone == backbone
    assert [r["row"] for r in ours(paper_table(7, [run]))] == [row]


def test_sizes_of_an_encoder_are_rows_of_their_own_below_the_papers(tmp_path):
    weights = ["sam_b: hub", "sam_l: hub", "sam_b: hub"]
    runs = [EvaluatedRun.read(write_evaluation(tmp_path / str(i), encoder_weights=w)) for i, w in enumerate(weights)]
    rows = [row["row"] for row in paper_table(7, runs)]
    assert rows[:4] == ["SAM", "SAM, sam_b", "SAM, sam_l", "UNI"]


def test_an_ablated_network_is_no_row_of_the_backbones(tmp_path):
    run = EvaluatedRun.read(write_evaluation(tmp_path, network={"topology": False}))
    assert ours(paper_table(6, [run])) == []


def test_without_runs_a_table_is_the_papers():
    for number in range(1, 8):
        rows = paper_table(number, [])
        assert [row.get("source", "paper") for row in rows] == ["paper"] * len(rows)


def test_the_csv_has_plain_numbers_and_the_markdown_what_is_read(three, tmp_path):
    write_table(tmp_path / "table1", paper_table(1, read(*three)), "A note.")
    with (tmp_path / "table1.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["system", "source", "neoplastic IoU"]
    assert all(0 <= float(number) < 1000 for row in rows for number in row[2:-1] if number)
    ious = [scores_of(folder)["classes"]["neoplastic"]["iou"] for folder in three]
    assert float(rows[-1][2]) == pytest.approx(np.mean(ious), abs=1e-15)
    lines = (tmp_path / "table1.md").read_text().splitlines()
    first = f"{np.mean(ious):.4f} ± {np.std(ious, ddof=1):.4f} (3)"
    assert lines[-3].startswith(f"| MONCH | this software, 3 runs | {first} | ")
    assert lines[-2:] == ["", "A note."]


def test_what_is_not_there_is_an_empty_cell_of_the_csv(alone, tmp_path):
    write_table(tmp_path / "table2", paper_table(2, read(alone)))
    with (tmp_path / "table2.csv").open(newline="") as file:
        rows = {row["organ"]: row for row in csv.DictReader(file)}
    assert rows["Skin"]["MONCH IoU"] == ""
    assert rows["Skin"]["MONCH (paper) IoU"] == "0.5895"


@pytest.mark.parametrize("name", ["v0.2", "v0.2.csv", "v0.2.md"])
def test_a_table_keeps_the_dots_of_its_name_and_makes_its_folder(name, tmp_path):
    write_table(tmp_path / "new" / name, [{"a": 1}])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["v0.2.csv", "v0.2.md"]


def test_a_run_is_found_in_the_folder_of_its_training(tmp_path):
    write_evaluation(tmp_path / "evaluation")
    assert EvaluatedRun.read(str(tmp_path)).folder == tmp_path / "evaluation"


def test_an_evaluation_in_the_folder_of_a_training_is_known_by_its_own_record(tmp_path):
    write_evaluation(tmp_path, network={"topology": False}, kind="training", checkpoint=None)
    own = {**RECORD, "provenance": {**RECORD["provenance"], "encoder": "plip"}}
    (tmp_path / "run_evaluation.json").write_text(json.dumps(own))
    run = EvaluatedRun.read(tmp_path)
    assert (run.row, run.backbone, run.record["checkpoint"]["sha256"]) == ("MONCH", "PLIP", "c0ffee")


def test_a_folder_without_scores_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"holds no scores\.json: give the folder of an evaluation") as caught:
        EvaluatedRun.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["scores.json", "run.json", "inference_time.json"])
@pytest.mark.parametrize("text", ['{"classes": ', "[]", "{}", "3"], ids=["torn", "list", "empty", "number"])
def test_damaged_files_are_refused_in_one_line(name, text, tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",), time=1.0)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"is not a whole evaluation .*: evaluate again") as caught:
        EvaluatedRun.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_evaluation_without_a_record_is_refused_in_one_line(tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",))
    (tmp_path / "run.json").unlink()
    with pytest.raises(InputError, match="is not a whole evaluation"):
        EvaluatedRun.read(tmp_path)


@pytest.mark.parametrize("number", [0, 8, "one", 2.5, None])
def test_there_are_seven_tables(number):
    with pytest.raises(InputError, match=rf"table {number!r} is none of the paper's: give a number from 1 to 7"):
        paper_table(number, [])


def test_the_command_prints_a_table_and_writes_it_where_told(alone, tmp_path, capsys):
    Commands().tables(alone, table=3, out=tmp_path / "three")
    printed = capsys.readouterr().out
    assert printed.strip() == (tmp_path / "three.md").read_text().strip()
    assert sum(line.startswith("| MONCH | this software |") for line in printed.splitlines()) == 1
    with (tmp_path / "three.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["dead"]) == scores_of(alone)["classes"]["dead"]["dice"]


def test_the_command_writes_nothing_unless_told(alone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(alone.iterdir())
    Commands().tables(str(alone), table=2)
    assert list(tmp_path.iterdir()) == []
    assert sorted(alone.iterdir()) == before


def test_the_command_takes_runs_of_several_rows(alone, tmp_path, capsys):
    other = write_evaluation(tmp_path, seed=1, network={"ppd": False})
    Commands().tables(str(alone), str(other), table=3)
    ours = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines() if OURS in line]
    assert ours == ["| without PPD", "| MONCH"]


def run_command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["monch_monai", *map(str, words)])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    main()


def test_the_command_line_takes_folders_and_the_number_of_the_table(alone, tmp_path, monkeypatch, capsys):
    other = write_evaluation(tmp_path / "b", seed=1)
    run_command(monkeypatch, "tables", alone, other, "--table", 6, "--out", tmp_path / "made" / "six")
    line = next(line for line in capsys.readouterr().out.splitlines() if OURS in line)
    assert line.startswith("| CLIP | this software, 2 runs | ")
    assert line.count("(2)") == 5
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["six.csv", "six.md"]


@pytest.mark.parametrize("number", [0, 8])
def test_the_command_line_refuses_other_numbers(number, alone, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=f"table {number} is none of the paper's: give a number from 1 to 7"):
        run_command(monkeypatch, "tables", alone, "--table", number, "--out", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_runs_of_other_encoders_or_of_random_weights_are_rows_of_their_own(tmp_path):
    weights = ["clip_rn50: a.pt", "clip_rn50: a.pt", "clip_rn50: random", "plip: hub"]
    runs = [EvaluatedRun.read(write_evaluation(tmp_path / str(i), encoder_weights=w)) for i, w in enumerate(weights)]
    expected = [("MONCH", "this software, 2 runs"), ("MONCH, CLIP, random weights", OURS), ("MONCH, PLIP", OURS)]
    assert [(row["system"], row["source"]) for row in paper_table(1, runs) if row["source"] != "paper"] == expected
    assert [(row["row"], row["source"]) for row in paper_table(3, runs) if row["source"] != "paper"] == expected
    assert [row["row"] for row in paper_table(6, runs) if row["source"] != "paper"] == [
        "PLIP",
        "CLIP",
        "CLIP, random weights",
    ]


def test_a_time_has_one_decimal():
    assert (cell(742.81), cell(0.5)) == ("742.8", "0.5000")


def test_a_score_of_the_csv_is_followed_by_its_ends_spread_and_runs(alone, three, tmp_path):
    for folders, expected in (([alone], ["0.1", "0.2", "", "1"]), (three, ["", "", "0.0", "3"])):
        for folder in folders:
            for key, value in (("dice", 0.15), ("dice_low", 0.1), ("dice_high", 0.2)):
                set_score(folder, value, "classes", "dead", key)
        write_table(tmp_path / "table", paper_table(1, read(*folders)))
        with (tmp_path / "table.csv").open(newline="") as file:
            row = list(csv.DictReader(file))[-1]
        found = [row[f"dead F1 {part}"] for part in ("low", "high", "sd", "runs")]
        assert [f and float(f) for f in found] == [e and float(e) for e in expected]
        assert float(row["dead F1"]) == pytest.approx(0.15)


def test_times_of_unlike_machines_have_no_mean(tmp_path):
    folders = [write_evaluation(tmp_path / name, time=10.0) for name in ("one", "other")]
    record = json.loads((folders[1] / "inference_time.json").read_text())
    (folders[1] / "inference_time.json").write_text(json.dumps(record | {"device_name": "slide rule"}))
    (row,) = ours(paper_table(1, read(*folders)))
    assert row["inference ms"] is None
    assert row["conditions"] == "abacus, float32, batch 1, 256 px / slide rule, float32, batch 1, 256 px"


def test_classes_that_the_paper_has_not_are_dashes_in_its_tables(tmp_path):
    run = EvaluatedRun.read(write_evaluation(tmp_path, labels=LabelSets(some_classes(3)), time=12.5))
    (row,) = ours(paper_table(1, [run]))
    assert {cell(row[f"{name} {score}"]) for name in CLASS_ORDER for score in ("IoU", "precision", "F1")} == {"-"}
    assert row["inference ms"] == 12.5
    (row,) = ours(paper_table(3, [run]))
    assert {cell(row[name]) for name in CLASS_ORDER} == {"-"}
    lung = next(row for row in paper_table(2, [run]) if row["organ"] == "Lung")
    assert 0 < lung["MONCH F1"].value < 1


def test_all_six_systems_stand_below_the_papers_with_the_time_of_this_machine(tmp_path):
    targets = {
        "HoVer-Net": "HoVerNetMaps",
        "TSFD-Net": "TsfdNet",
        "CPP-Net": "CppNet",
        "Med-SA": "MedSa",
        "MA-SAM": "MaSam",
    }
    folders = [
        write_evaluation(
            tmp_path / name, time=10.0 + i, network={"_target_": f"monch_monai.baselines.{target}"} if target else None
        )
        for i, (name, target) in enumerate({**targets, "MONCH": ""}.items())
    ]
    rows = paper_table(1, read(*folders[::-1]))
    assert [row["system"] for row in rows] == [name for name in TABLE_1 for _ in range(2)]
    assert [row["source"] for row in rows] == ["paper", OURS] * 6
    assert [row["inference ms"] for row in rows[1::2]] == [10.0 + i for i in range(6)]
    columns = [name.rpartition(" ")[0] for name in paper_table(2, read(*folders))[0] if name.endswith(" IoU")]
    beside = [system for name in TABLE_1 for system in (name, f"{name} (paper)") if name in TABLE_2 or system == name]
    assert columns == beside
