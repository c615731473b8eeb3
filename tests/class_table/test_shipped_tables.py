import open_clip
import pytest

from monch_monai.class_table import EARLIER, IGNORE_INDEX, PANNUKE, find_class_table
from monch_monai.class_table.table_file import SHIPPED

TABLES = {**{name: find_class_table(name) for name in SHIPPED}, "earlier": EARLIER}
SENTENCES = {name: [s for c in t.classes for s in (*c.sentences, *c.held_out)] for name, t in TABLES.items()}


def test_the_tables_of_the_package_are_found_by_name():
    assert list(SHIPPED) == ["consep", "pannuke"]
    assert {name: len(table) for name, table in TABLES.items()} == {"consep": 8, "pannuke": 6, "earlier": 6}


@pytest.mark.parametrize("name", TABLES)
def test_no_class_has_the_value_of_ignored_pixels(name):
    assert IGNORE_INDEX not in {c.index for c in TABLES[name].classes}


@pytest.mark.parametrize("name", TABLES)
def test_sentences_begin_with_a_capital_and_end_with_a_full_stop(name):
    assert [s for s in SENTENCES[name] if not (s[0].isupper() and s.endswith("."))] == []


@pytest.mark.parametrize("name", TABLES)
def test_every_sentence_fits_the_tokens_that_clip_reads(name):
    tokenizer = open_clip.SimpleTokenizer()
    tokens = {s: len(tokenizer.encode(s)) + 2 for s in SENTENCES[name]}
    assert {sentence: count for sentence, count in tokens.items() if count > tokenizer.context_length} == {}
    assert tokenizer.context_length == 77


@pytest.mark.parametrize("name", SHIPPED)
def test_classes_have_sentences_that_training_never_draws(name):
    assert [c.name for c in TABLES[name].classes if not c.held_out] == []


def test_earlier_versions_described_the_same_classes_by_three_sentences_each():
    assert [(c.name, c.color) for c in EARLIER.classes] == [(c.name, c.color) for c in PANNUKE.classes]
    assert {len(c.sentences) for c in EARLIER.classes} == {3}
    assert not any(c.held_out for c in EARLIER.classes)
    assert not set(SENTENCES["earlier"]) & set(SENTENCES["pannuke"])
