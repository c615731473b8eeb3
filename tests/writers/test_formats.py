import importlib.util

import pytest

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError
from monch_monai.handlers import PredictionWriter
from monch_monai.runs.rules import check_settings
from monch_monai.writers import FORMATS, IMAGE_FORMATS, SLIDE_FORMATS, chosen_formats

ALWAYS = [name for name, format_ in FORMATS.items() if not format_.needs]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("geojson", ["geojson"]), ("dsa, geojson", ["geojson", "dsa"]), (["dsa", "dsa"], ["dsa"]),
        (("pyramid", "parquet"), ["parquet", "pyramid"]), (SLIDE_FORMATS, [*SLIDE_FORMATS]),
        (IMAGE_FORMATS, [*IMAGE_FORMATS]),
    ],
)  # fmt: skip
def test_formats_are_a_word_words_or_a_list(given, wanted):
    assert chosen_formats("write", given) == wanted


@pytest.mark.parametrize(
    "given", ["", [], None, 3, True, ["geojson", 3], "geojson,,dsa", "qupath", ["DICOM"], {"a": 1}]
)
def test_anything_else_is_refused_with_the_known_formats(given):
    for check in (
        lambda: chosen_formats("write", given),
        lambda: check_settings("slides", {"write": given}),
        lambda: check_settings("inference", {"write": given}),
    ):
        with pytest.raises(InputError, match=rf"^write (is|has) .*; give some of {', '.join(FORMATS)}") as refused:
            check()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - ALWAYS))
def test_a_format_whose_package_is_missing_is_refused_before_any_work(name, monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "monch_monai.writers.formats.find_spec", lambda needs: None if needs == FORMATS[name].needs else found(needs)
    )
    line = rf"^write has '{name}', which needs {FORMATS[name].needs}: pip install '\.\[{FORMATS[name].extra}\]', or pip"
    with pytest.raises(InputError, match=line):
        check_settings("slides", {"write": ["geojson", name]})
    with pytest.raises(InputError, match=line):
        PredictionWriter(tmp_path, PANNUKE, write=["geojson", name])
    assert chosen_formats("write", ALWAYS) == ALWAYS
