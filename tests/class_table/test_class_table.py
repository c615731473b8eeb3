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


COMPOSED = "caf\u00e9", "cafe\u0301"
"""One name in two of Unicode's forms."""
BAD = {
    "describes a by 2 sentences": lambda t: t["classes"][1]["sentences"].pop(),
    "has the name 'b' twice": lambda t: t["classes"][1].update(name="B"),
    "names 'glial' as the parent of a": lambda t: t["classes"][1].update(parent="glial"),
    "names 'dead' as the parent of background": lambda t: t["classes"][0].update(parent="dead"),
    "names 'epithelial' as the parent of dead: leave it out": lambda t: t["classes"][1].update(
        name="dead", parent="epithelial"
    ),
    "has the name 'café' twice": lambda t: [c.update(name=n) for c, n in zip(t["classes"][1:], COMPOSED, strict=True)],
    "has the class name 'a  b'": lambda t: t["classes"][1].update(name="a  b"),
    "has the class name 'a\\u200bb'": lambda t: t["classes"][1].update(name="a\u200bb"),
    "has the class name ['a']": lambda t: t["classes"][1].update(name=["a"]),
    "has the class name '..'": lambda t: t["classes"][1].update(name=".."),
    "of 41 letters: at most 40": lambda t: t["classes"][1].update(name="x" * 41),
    "names a class 'any'": lambda t: t["classes"][1].update(name="any"),
    "names a class 'a or b', as labels of either are called": lambda t: t["classes"].append(
        {**t["classes"][1], "name": "a or b", "color": [9, 9, 9], "sentences": ["One.", "Two.", "Three."]}
    ),
    "gives a the color ['1.5', 2, 3]": lambda t: t["classes"][1].update(color=[1.5, 2, 3]),
    "gives a the color ['#0c0']": lambda t: t["classes"][1].update(color="#0c0"),
    "no plain text ('...')": lambda t: t["classes"][1]["sentences"].append("..."),
    "no plain text ('a\\x07 cell')": lambda t: t["classes"][1]["sentences"].append("a\a cell"),
    "no plain text ({'A cell': 'round'})": lambda t: t["classes"][1]["sentences"].append({"A cell": "round"}),
    "has [['c']] as `of` of a": lambda t: t["classes"][1].update(of=[["c"]]),
    "has ['c', 'c'] as `of` of a": lambda t: t["classes"][1].update(of=["c", "c"]),
    "has ['background'] as `of` of a": lambda t: t["classes"][1].update(of=["background"]),
    "has the name ['x']: give at most": lambda t: t.update(name=["x"]),
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


def test_names_stay_as_they_are_written(tmp_path):
    path = tmp_path / "a.yaml"
    names = ["no", "on", "1.50", "007", "2020-01-01", "cafe\u0301"]
    made = record("_", *map(str, range(len(names))))
    made["classes"].pop(1)
    text = yaml.safe_dump(made)
    for number, name in enumerate(names):
        text = text.replace(f"name: '{number}'", f"name: {name}")
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert read_class_table(path).names == ["background", *names[:-1], "caf\u00e9"]


REFERENCES = "classes:\n- &a [lol, lol]\n" + "".join(
    f"- &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (REFERENCES, "line 3: references"),
        ("classes: &a\n- *a\n", "references"),
        ("classes: " + "[" * 3000, "recursion depth"),
        ("classes: !!python/object/apply:os.getcwd []\n", "constructor for the tag"),
        ("classes: !!timestamp now\n", "constructor for the tag"),
        ("classes: []\n---\nclasses: []\n", "another document"),
        ("classes:\n\t- a\n", "line 2: found character"),
        ("classes: [", "line 1: "),
        ("", "no list of classes"),
        ("classes: []".encode("utf-16"), "no YAML in UTF-8"),
    ],
    ids=str,
)
def test_yaml_that_is_more_than_a_table_is_refused(text, found, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=found) as refusal:
        read_class_table(path)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250 + len(str(path))


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("classes: []")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_text", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_class_table(path)


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
