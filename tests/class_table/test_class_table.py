import copy
import json

import numpy as np
import pytest
import yaml

from monch_monai.class_table import (
    IGNORE_INDEX,
    PANNUKE,
    ClassTable,
    LabelSets,
    Vocabulary,
    combined,
    find_class_table,
    parse_class_table,
    read_class_table,
)
from monch_monai.errors import InputError


def record(*names, **changes):
    """A table of the background and the named classes; `changes` are of the last class."""
    classes = [
        {"name": name, "color": [i, 2 * i, 255 - i], "sentences": [f"{name} nuclei, way {n}." for n in "abc"]}
        for i, name in enumerate(["background", *names])
    ]
    classes[-1] |= changes
    return {"name": "test", "classes": classes}


def table(*names, parents=()):
    made = record(*names)
    for c, parent in zip(made["classes"][1:], parents, strict=False):
        c["parent"] = parent
    return parse_class_table(made, "test")


def test_the_default_table_is_pannukes():
    assert [(c.index, c.name, c.color, c.parent) for c in PANNUKE.classes] == [
        (0, "background", (0, 0, 0), None),
        (1, "neoplastic", (255, 0, 0), None),
        (2, "inflammatory", (0, 255, 0), None),
        (3, "connective", (0, 0, 255), None),
        (4, "dead", (255, 255, 0), None),
        (5, "epithelial", (0, 255, 255), None),
    ]
    assert PANNUKE.nuclei == PANNUKE.classes[1:]
    assert find_class_table("pannuke") == PANNUKE


def test_a_table_is_read_from_yaml_and_kept_as_json(tmp_path):
    made = record("plasma cell", "tumour", held_out=["Cancer."], parent="neoplastic")
    made["classes"][1]["color"] = "#0a0b0C"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(made, allow_unicode=True), encoding="utf-8")
    read = find_class_table(path)
    assert read.names == ["background", "plasma cell", "tumour"]
    assert read.classes[1].color == (10, 11, 12)
    assert (read.classes[2].held_out, read.classes[2].in_pannuke) == (("Cancer.",), "neoplastic")
    assert ClassTable.from_dict(read.to_dict()) == read
    assert json.loads(json.dumps(read.to_dict())) == read.to_dict()


BAD = {
    "describes a by 2 sentences": lambda t: t["classes"][1]["sentences"].pop(),
    "has the name 'b' twice": lambda t: t["classes"][1].update(name="B"),
    "names 'glial' as the parent of a": lambda t: t["classes"][1].update(parent="glial"),
    "names 'dead' as the parent of background": lambda t: t["classes"][0].update(parent="dead"),
    "has the color [2, 4, 253] twice": lambda t: t["classes"][1].update(color=[2, 4, 253]),
    "gives a the color [300, 0, 0]": lambda t: t["classes"][1].update(color=[300, 0, 0]),
    "gives a the color ['red']": lambda t: t["classes"][1].update(color="red"),
    "has an empty sentence of a": lambda t: t["classes"][1]["sentences"].append("  "),
    "has a sentence of a of 501 letters": lambda t: t["classes"][1]["sentences"].append("x" * 501),
    "has the sentence 'a nuclei, way a.' twice, of a and of b": lambda t: t["classes"][2].update(
        held_out=["A  nuclei, way a."]
    ),
    "begins with class 'cells'": lambda t: t["classes"][0].update(name="cells"),
    "has the class name 'a,b'": lambda t: t["classes"][1].update(name="a,b"),
    "names a class 'Any nucleus'": lambda t: t["classes"][1].update(name="Any nucleus"),
    "has 1 classes": lambda t: t.update(classes=t["classes"][:1]),
    "has no list of classes": lambda t: t.pop("classes"),
    "has the key 'classes_'": lambda t: t.update(classes_=1),
    "has no color": lambda t: t["classes"][1].pop("color"),
    "has the unknown key 'colour'": lambda t: t["classes"][1].update(colour=1),
    "has sentences that are no list": lambda t: t["classes"][1].update(sentences="words"),
    "has 'a' for a class": lambda t: t["classes"].insert(1, "a"),
}


@pytest.mark.parametrize("message", BAD)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(message, tmp_path):
    made = copy.deepcopy(record("a", "b"))
    BAD[message](made)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(made), encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        read_class_table(path)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250 + len(str(path))


def test_a_file_that_holds_no_words_is_refused(tmp_path):
    huge, broken, twice = (tmp_path / f"{name}.yaml" for name in ("huge", "broken", "twice"))
    huge.write_text("x" * 3_000_000)
    broken.write_bytes(b"classes: [\xff")
    twice.write_text("name: a\nname: b\nclasses: []\n")
    for path, found in ((huge, "3,000,000 bytes"), (broken, "no YAML"), (twice, "'name' stands twice")):
        with pytest.raises(InputError, match=found):
            read_class_table(path)
    with pytest.raises(InputError, match=r"does not exist: give a YAML file, or one of .*pannuke"):
        find_class_table("monusac")
    with pytest.raises(InputError, match="is a folder"):
        find_class_table(tmp_path)


def test_labels_of_a_dataset_are_sets_of_a_networks_classes():
    monusac = Vocabulary.of_nuclei(
        PANNUKE, {"epithelial": ["neoplastic", "epithelial"], "lymphocyte": ["inflammatory"], "nucleus": None}
    )
    labels = combined(PANNUKE, [Vocabulary.of_table(PANNUKE), monusac])
    assert labels.several == ((1, 5), (1, 2, 3, 4, 5))
    assert labels.names[6:] == ["neoplastic or epithelial", "any nucleus"]
    assert monusac.lookup(labels)[:5].tolist() == [0, 6, 2, 7, IGNORE_INDEX]
    assert Vocabulary.from_dict(monusac.to_dict()) == monusac
    allowed = labels.allowed
    assert (allowed[:6] == np.eye(6, dtype=bool)).all()
    assert allowed[6:].tolist() == [[False, True, False, False, False, True], [False] + [True] * 5]


def test_classes_are_read_in_another_table_by_name_by_parent_and_by_kind():
    types = table("tumour", "fibroblast", "muscle", "other", parents=("neoplastic", "connective", "connective"))
    sets = Vocabulary.of_table(types).sets(PANNUKE)
    assert sets == [(0,), (1,), (3,), (3,), (1, 2, 3, 4, 5)]
    back = Vocabulary.of_table(PANNUKE).sets(types)
    assert back == [(0,), (1,), (1, 2, 3, 4), (2, 3), (1, 2, 3, 4), (1, 2, 3, 4)]


def test_labels_that_say_nothing_are_refused():
    for labels, found in (
        ((("a", ("neoplastic",)),), "value 0 is background"),
        ((("background", ("background",)), ("a", ("tumour",))), "names the class 'tumour'"),
        ((("background", ("background",)), ("a", ())), "names no class"),
        ((("background", ("background",)), ("a", ("background", "dead"))), "255"),
        ((("background", ("background",)), ("a", ("dead",)), ("a", ("dead",))), "occurs twice"),
        ((("background", ("background",)), ("Ignored", ("dead",))), "means something else"),
    ):
        with pytest.raises(InputError, match=found):
            Vocabulary(PANNUKE, labels)


def test_a_byte_holds_all_sets():
    with pytest.raises(InputError, match="at most 255"):
        LabelSets(PANNUKE, tuple((i, i + 1) for i in range(250)))
