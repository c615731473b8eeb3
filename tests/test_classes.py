import open_clip
import pytest

from monch_monai.class_table import IGNORE_INDEX, PANNUKE
from monch_monai.tissues import TISSUES


def test_class_table():
    assert [(c.index, c.name, c.color) for c in PANNUKE.classes] == [
        (0, "background", (0, 0, 0)),
        (1, "neoplastic", (255, 0, 0)),
        (2, "inflammatory", (0, 255, 0)),
        (3, "connective", (0, 0, 255)),
        (4, "dead", (255, 255, 0)),
        (5, "epithelial", (0, 255, 255)),
    ]


def test_nucleus_classes_are_all_but_the_background():
    assert PANNUKE.classes[1:] == PANNUKE.nuclei
    assert IGNORE_INDEX not in {c.index for c in PANNUKE.classes}


def test_there_are_nineteen_tissues_each_named_once():
    assert len(TISSUES) == len(set(TISSUES)) == 19


def test_pixel_shares_are_of_every_class_and_add_up_to_one():
    assert len(PIXEL_SHARES) == len(PANNUKE.classes)
    assert sum(PIXEL_SHARES) == pytest.approx(1, abs=1e-9)
    assert min(PIXEL_SHARES) > 0


def test_prompts_are_of_the_classes_in_their_order():
    assert list(ATTRIBUTES) == [c.name for c in PANNUKE.classes]


@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_prompts_are_three_different_sentences(name):
    assert len(set(ATTRIBUTES[name])) == len(ATTRIBUTES[name]) == 3
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in ATTRIBUTES[name])


def test_no_sentence_is_used_twice():
    sentences = [sentence for of_class in ATTRIBUTES.values() for sentence in of_class]
    assert len(set(sentences)) == 18


def test_every_prompt_fits_the_tokens_that_clip_reads():
    tokenizer = open_clip.SimpleTokenizer()
    tokens = {s: len(tokenizer.encode(s)) + 2 for of_class in ATTRIBUTES.values() for s in of_class}
    assert {sentence: count for sentence, count in tokens.items() if count > 77} == {}
