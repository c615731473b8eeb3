import json
from dataclasses import replace

import pytest

from monch_monai.class_table import PANNUKE, LabelSets
from monch_monai.encoders import RANDOM, Origin
from monch_monai.networks.provenance import Provenance
from monch_monai.report import EvaluatedRun, paper_table
from monch_monai.report.groups import label_differences, leaves
from tests.fakes.evaluations import NETWORK, PROVENANCE, RECORD, TEXT_ENCODER, write_evaluation
from tests.fakes.labels import some_classes

HUB = Origin("hub", "timm/resnet50_clip.openai", "0123456789abcdef")
OTHER_WORDS = [("Small.", *c.sentences[1:]) if c.name == "dead" else c.sentences for c in PANNUKE.classes]
NAMES = [[c.name] for c in PANNUKE.classes]
LOSS = {"_target_": "monch_monai.losses.BCEAndDice", "dice_weight": 0.1}


def write(folder, provenance=PROVENANCE, **record):
    return write_evaluation(folder, provenance=provenance.to_dict(), **record)


def rows_of(*folders, table=1):
    rows = paper_table(table, [EvaluatedRun.read(folder) for folder in folders])
    return [(row.get("system", row.get("row")), row["source"]) for row in rows if row["source"] != "paper"]


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        ({"architecture": {"normalisation": "instance"}}, ["normalisation batch", "normalisation instance"]),
        ({"text_weights": RANDOM}, ["text_weights.kind file, text_weights.sha256 c0dec0dec0de",
                                    "text_weights.kind random, no text_weights.sha256"]),
        ({"recipe": {"learning_rate": 0.001}}, ["learning_rate 5e-05", "learning_rate 0.001"]),
        ({"recipe": {"learning_rate": 5e-5, "loss": LOSS}}, ["no loss", "loss BCEAndDice"]),
        ({"version": "0.0.1"}, [f"version {PROVENANCE.version}", "version 0.0.1"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("table", [1, 3, 6])
def test_runs_that_differ_in_one_thing_alone_are_rows_that_name_it(change, labels, table, tmp_path):
    folders = [write(tmp_path / "a"), write(tmp_path / "b", replace(PROVENANCE, **change))]
    name = "CLIP" if table == 6 else "MONCH"
    assert rows_of(*folders, table=table) == [(f"{name}, {label}", "this software") for label in labels]


def test_other_sentences_are_other_words(tmp_path):
    other = PROVENANCE.with_words(PANNUKE, OTHER_WORDS, "attributes", TEXT_ENCODER)
    found = rows_of(write(tmp_path / "a"), write(tmp_path / "b", other))
    expected = [f"MONCH, words.sha256 {record.words.sha256[:12]}" for record in (PROVENANCE, other)]
    assert [name for name, _ in found] == expected


def test_class_names_in_place_of_attributes_are_a_row_of_their_own(tmp_path):
    names = PROVENANCE.with_words(PANNUKE, NAMES, "names", TEXT_ENCODER)
    found = rows_of(write(tmp_path / "a"), write(tmp_path / "b", names))
    assert [name for name, _ in found] == ["MONCH", "prompts names"]


def test_networks_of_other_classes_are_other_rows(tmp_path):
    table = some_classes(3)
    other = PROVENANCE.with_words(table, [c.sentences for c in table.classes], "attributes", TEXT_ENCODER)
    found = rows_of(write(tmp_path / "a"), write(tmp_path / "b", other, labels=LabelSets(table)))
    assert len({name for name, _ in found}) == 2
    assert "class_table" in found[0][0]


def test_splits_and_seeds_of_one_method_are_averaged(tmp_path):
    folders = []
    for number in range(3):
        settings = {"split": number, "folds": [f"fold{number}"], "device": f"cuda:{number}", "amp": True}
        own = {
            "seed": number, "settings": {**settings, "reference_density": [0.1 * (1 + number)] * 3},
            "checkpoint": {"file": f"{number}/best.pt", "sha256": str(number) * 64}, "started": str(number),
            "commit": str(number), "hardware": {"machine": str(number)}, "command": [str(number)],
        }  # fmt: skip
        folders.append(write(tmp_path / str(number), PROVENANCE.child(str(number) * 64), **own))
    assert rows_of(*folders) == [("MONCH", "this software, 3 runs")]


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        ({"amp": True}, {"amp": False}, ["evaluation.amp true", "evaluation.amp false"]),
        (
            {"reference_density": None}, {"reference_density": [0.1, 0.2, 0.1]},
            ["evaluation.reference_density false", "evaluation.reference_density true"],
        ),
    ],
)  # fmt: skip
def test_other_ways_of_evaluation_are_other_rows(one, other, labels, tmp_path):
    folders = [write(tmp_path / str(i), settings=settings) for i, settings in enumerate((one, other))]
    assert [name for name, _ in rows_of(*folders)] == [f"MONCH, {label}" for label in labels]


def test_networks_of_other_sizes_are_other_rows_and_descriptions_do_not_count(tmp_path):
    networks = [{"k": 9, "mgfe": "True"}, {"k": 9, "_desc_k": "as in the paper"}, {"k": 6}]
    folders = [write(tmp_path / str(i), network=network) for i, network in enumerate(networks)]
    assert rows_of(*folders) == [
        ("MONCH, network_def.k 9", "this software, 2 runs"), ("MONCH, network_def.k 6", "this software"),
    ]  # fmt: skip


def test_going_on_from_unlike_parents_gives_unlike_rows(tmp_path):
    parents = [PROVENANCE, replace(PROVENANCE, recipe={"learning_rate": 0.5}), PROVENANCE]
    folders = [write(tmp_path / str(i), parent.child(str(i) * 64)) for i, parent in enumerate(parents)]
    found = rows_of(*folders)
    assert [source for _, source in found] == ["this software, 2 runs", "this software"]
    assert all(name.startswith("MONCH, parent.method ") for name, _ in found)


def test_the_name_of_a_file_does_not_count_where_its_hash_is_known(tmp_path):
    renamed = replace(PROVENANCE, image_weights=replace(PROVENANCE.image_weights, source="other.pt"))
    assert rows_of(write(tmp_path / "a"), write(tmp_path / "b", renamed)) == [("MONCH", "this software, 2 runs")]
    hubs = [replace(PROVENANCE, image_weights=replace(HUB, revision=revision)) for revision in ("0" * 40, "1" * 40)]
    found = rows_of(*[write(tmp_path / f"hub{i}", record) for i, record in enumerate(hubs)])
    assert [name for name, _ in found] == [f"MONCH, image_weights.revision {digit * 40}" for digit in "01"]


def test_runs_of_earlier_versions_are_averaged_among_themselves_alone(tmp_path):
    earlier = [write_evaluation(tmp_path / str(i), encoder_weights="clip_rn50: random") for i in range(2)]
    new = write(tmp_path / "new", Provenance("clip_rn50"))
    runs = [EvaluatedRun.read(folder) for folder in (*earlier, new)]
    assert runs[0].method == runs[1].method != runs[2].method
    assert [source for _, source in rows_of(*earlier)] == ["this software, 2 runs"]
    assert len(rows_of(*earlier, new)) == 2


def test_without_a_stored_recipe_the_config_of_the_evaluation_separates_trainings(tmp_path):
    losses = (LOSS, LOSS, {})
    configs = [{"network_def": NETWORK, "epochs": 3, "seed": i, "loss": loss} for i, loss in enumerate(losses)]
    for kind in ("earlier", "other"):
        given = {"encoder_weights": "clip_rn50: hub a/b, revision 01"} if kind == "earlier" else {
            "provenance": Provenance("UNet", Origin("checkpoint", "best.pt", sha256="12")).to_dict(),
        }  # fmt: skip
        folders = [write_evaluation(tmp_path / kind / str(i), config=c, **given) for i, c in enumerate(configs)]
        assert [source for _, source in rows_of(*folders)] == ["this software, 2 runs", "this software"]


def test_checkpoints_of_another_network_are_averaged_whatever_their_hash(tmp_path):
    records = [Provenance("UNet", Origin("checkpoint", f"{i}.pt", sha256=str(i) * 64)) for i in range(2)]
    network = {"_target_": "UNet"}
    folders = [write(tmp_path / str(i), record, network=network) for i, record in enumerate(records)]
    assert rows_of(*folders) == [("U-Net", "this software, 2 runs")]


def test_each_row_has_a_name_of_its_own_where_three_differences_do_not_suffice():
    methods = [leaves({"a": i // 8, "b": i // 4 % 2, "c": i // 2 % 2, "d": i % 2}) for i in range(16)]
    labels = label_differences(methods)
    assert len(set(labels)) == 16
    assert labels[1].startswith("a 0, b 0, c 0, method ")
    assert label_differences(methods[:1]) == [""]


def test_leaves_are_values_by_dotted_name():
    value = {"a": [1, 2], "b": [{"c": "True"}, {"c": False}], "d": None, "e": {}}
    assert leaves(value) == {"a": "[1, 2]", "b.0.c": "true", "b.1.c": "false"}


def test_an_evaluation_of_a_training_without_a_command_line_has_no_config(tmp_path):
    run = EvaluatedRun.read(write(tmp_path, config=None))
    assert (run.row, run.network_def) == ("MONCH", {})
    assert json.dumps(run.method)
    assert RECORD["provenance"] == run.provenance.to_dict() == PROVENANCE.to_dict()
