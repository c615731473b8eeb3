import pytest
import yaml

from monch_monai.class_table import PANNUKE, ClassTable, NucleusClass, Vocabulary, find_class_table, parse_class_table
from monch_monai.class_table.words_file import read_wording
from monch_monai.errors import InputError


def write(tmp_path, *classes):
    path = tmp_path / "words.yaml"
    path.write_text(yaml.safe_dump({"classes": list(classes)}), encoding="utf-8")
    return path


NEW = {"name": "lymphoid", "color": [1, 2, 3], "sentences": ["A lymphocyte.", "Lymphoid cells.", "A plasma cell."]}
TUMOUR = {"name": "tumour or gland", "of": ["neoplastic", "epithelial"], "color": "#ff00ff"}


def test_classes_are_kept_reworded_merged_and_left_out(tmp_path):
    reworded = {"name": "connective", "sentences": ["A fibroblast.", "Spindle cells of stroma.", "A muscle cell."]}
    wording = read_wording(write(tmp_path, TUMOUR, NEW, reworded, {"name": "dead"}), PANNUKE)
    assert wording.table.names == ["background", "tumour or gland", "lymphoid", "connective", "dead"]
    assert wording.described.names == ["background", "neoplastic", "epithelial", "lymphoid", "connective", "dead"]
    assert wording.groups() == [[0], [1, 2], [3], [4], [5]]
    known = {c.name: c for c in PANNUKE.classes}
    made = {c.name: c for c in wording.described.classes}
    assert made["dead"].sentences == known["dead"].sentences
    assert made["neoplastic"].sentences == known["neoplastic"].sentences
    assert made["connective"].sentences == tuple(reworded["sentences"])
    assert made["connective"].color == known["connective"].color
    assert wording.is_same("neoplastic", "tumour or gland")
    assert not wording.is_same("neoplastic", "lymphoid")
    assert wording.is_same("dead", "dead")


def test_labels_of_the_weights_classes_are_of_the_class_that_they_are_merged_into(tmp_path):
    wording = read_wording(write(tmp_path, TUMOUR, {"name": "dead"}), PANNUKE)
    sets = Vocabulary.of_table(PANNUKE).sets(wording.table)
    assert sets == [(0,), (1,), (1, 2), (1, 2), (2,), (1,)]


def test_labels_of_kinds_of_merged_classes_are_of_the_class_that_these_are_merged_into(tmp_path):
    table = read_wording(write(tmp_path, TUMOUR, {"name": "dead"}), PANNUKE).table
    types = find_class_table("consep")
    of_label = dict(zip(types.names, Vocabulary.of_table(types).sets(table), strict=True))
    assert of_label["healthy_epithelial"] == of_label["malignant_epithelial"] == (1,)
    assert of_label["muscle"] == (1, 2)


def test_labels_of_a_merged_class_are_of_the_classes_that_it_is_made_of(tmp_path):
    table = read_wording(write(tmp_path, TUMOUR, {"name": "dead"}), PANNUKE).table
    assert Vocabulary.of_table(table).sets(PANNUKE) == [(0,), (1, 5), (4,)]
    without = read_wording(write(tmp_path, "neoplastic", "dead"), PANNUKE).table
    assert Vocabulary.of_table(table).sets(without) == [(0,), (1, 2), (2,)]  # it may be epithelial, which has no class


def test_a_table_of_the_package_is_named_for_words(tmp_path):
    assert read_wording("consep", PANNUKE).table.classes == find_class_table("consep").classes


def test_other_names_that_the_weights_have_for_a_class_merge_nothing(tmp_path):
    own = PANNUKE.to_dict()
    own["classes"][1]["of"] = ["tumour", "dead"]
    wording = read_wording(write(tmp_path, "neoplastic", "dead"), parse_class_table(own, "own"))
    assert wording.groups() == [[0], [1], [2]]
    assert wording.table.classes[1].of == ("tumour", "dead")
    assert not wording.is_same("dead", "neoplastic")


def test_classes_that_name_other_tables_classes_are_kept_and_merged(tmp_path):
    classes = [{**c, "of": [f"{c['name']} cells"] if n else []} for n, c in enumerate(PANNUKE.to_dict()["classes"])]
    own = ClassTable.from_dict({"name": "own", "classes": classes})
    wording = read_wording(write(tmp_path, TUMOUR, {"name": "dead"}), own)
    assert wording.groups() == [[0], [1, 2], [3]]
    assert wording.described.names == ["background", "neoplastic", "epithelial", "dead"]
    assert wording.table.classes[1].of == ("neoplastic", "neoplastic cells", "epithelial", "epithelial cells")
    assert wording.table.classes[2].of == ("dead cells",)
    assert wording.is_same("dead", "dead")
    assert not wording.is_same("dead cells", "dead")


def test_the_names_of_two_classes_may_be_swapped(tmp_path):
    swapped = {"name": "connective", "of": ["dead"]}, {"name": "dead", "of": ["connective"]}
    wording = read_wording(write(tmp_path, *swapped), PANNUKE)
    assert wording.described.names == ["background", "dead", "connective"]
    assert wording.table.names == ["background", "connective", "dead"]
    assert wording.groups() == [[0], [1], [2]]


def test_sentences_of_many_merged_classes_fit_one(tmp_path):
    classes = [
        {
            "name": f"c{n}" if n else "background",
            "color": [n, 0, 0],
            "sentences": [f"{n} {m} cells" for m in range(150)],
        }
        for n in range(4)
    ]
    own = ClassTable.from_dict({"name": "own", "classes": classes})
    merged = read_wording(write(tmp_path, {"name": "all of them", "of": ["c1", "c2", "c3"]}), own).table.classes[1]
    assert len(merged.sentences) == 200
    assert merged.sentences[:4] == ("1 0 cells", "2 0 cells", "3 0 cells", "1 1 cells")


def test_held_out_sentences_may_be_given_as_words(tmp_path):
    classes = [{"name": c.name, "sentences": list(c.held_out)} for c in PANNUKE.classes]
    wording = read_wording(write(tmp_path, *classes), PANNUKE)
    assert [c.sentences for c in wording.table.classes] == [c.held_out for c in PANNUKE.classes]


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        (
            [{"name": "a", "of": ["tumour"], "color": [1, 1, 1]}],
            "is of 'tumour', which is no nucleus class of the weights: give some of neoplastic",
        ),
        ([{"name": "a", "of": ["background"], "color": [1, 1, 1]}], "is of"),
        ([{**TUMOUR, "sentences": ["a", "b", "c"]}], "has `of` and sentences: give one of the two"),
        ([TUMOUR, {"name": "neoplastic"}], "twice"),
        ([{"name": "a", "of": {"dead": 1}, "color": [1, 1, 1]}], "give some of"),
        ([{key: value for key, value in NEW.items() if key != "color"}], "has no color"),
        ([TUMOUR, {"name": "b", "of": ["neoplastic", "dead"]}], "'neoplastic' twice, in tumour or gland and b"),
        ([{"name": "b", "of": ["dead", "dead"]}], "'dead' twice, in b and b"),
        ([{"name": "dead"}, {"name": "Dead", "of": ["epithelial"], "color": [1, 1, 1]}], "twice, of dead and of Dead"),
        ([{"name": "a", "of": [["dead"]]}], r"is of \['dead'\], which is no nucleus class"),
        ([{"name": "a", "of": {"dead": 1}}], "is of {'dead'"),
        ([{"name": "unheard of"}], "'unheard of' has no sentences: write some, or name a class of the weights: back"),
        ([{"name": ["dead"]}], r"name a class \['dead'\]"),
        ([None], "name a class None"),
        ([], "has 1 classes"),
    ],
)
def test_words_that_cannot_be_used_are_refused(tmp_path, classes, found):
    with pytest.raises(InputError, match=found) as refusal:
        read_wording(write(tmp_path, *classes), PANNUKE)
    assert "\n" not in str(refusal.value)


def test_other_keys_than_those_of_a_table_are_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("classes: [dead]\nmerge: [dead]\n")
    with pytest.raises(InputError, match="has the key 'merge'"):
        read_wording(path, PANNUKE)


def test_a_file_without_classes_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("- neoplastic\n")
    with pytest.raises(InputError, match="have no list of classes"):
        read_wording(tmp_path / "a.yaml", PANNUKE)


OWN = ClassTable(
    "own",
    tuple(
        NucleusClass(i, name, (i, 0, 0), (f"A {name}.", f"Some {name}.", f"One {name}."), parent=parent, of=of)
        for i, (name, parent, of) in enumerate(
            [
                ("background", None, ()),
                ("tumour or gland", None, ("neoplastic", "epithelial")),
                ("lymphocyte", "inflammatory", ()),
                ("spindle", None, ("fibroblast",)),
            ]
        )
    ),
)


def test_classes_of_weights_that_name_those_of_other_tables_are_kept(tmp_path):
    wording = read_wording(write(tmp_path, {"name": "tumour or gland"}, NEW), OWN)
    assert wording.groups() == [[0], [1], [2]]
    assert wording.is_same("tumour or gland", "tumour or gland")


def test_a_merged_class_stands_for_all_that_its_parts_name(tmp_path):
    wording = read_wording(write(tmp_path, {"name": "all else", "of": ["tumour or gland", "spindle"]}, NEW), OWN)
    assert wording.groups() == [[0], [1, 2], [3]]
    assert wording.table.classes[1].of == ("tumour or gland", "neoplastic", "epithelial", "spindle", "fibroblast")
    assert Vocabulary.of_table(PANNUKE).sets(wording.table)[1] == (1,)


def test_labels_read_in_another_table_are_the_classes_that_theirs_names():
    labels = Vocabulary.of_table(OWN)
    assert labels.sets(PANNUKE) == [(0,), (1, 5), (2,), (1, 2, 3, 4, 5)]
    consep = find_class_table("consep")
    names = [[consep.names[i] for i in members] for members in labels.sets(consep)]
    assert names == [["background"], ["healthy_epithelial", "malignant_epithelial"], ["inflammatory"], ["fibroblast"]]
