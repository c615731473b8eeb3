"""MONAI Label's app on weights of another class table than PanNuke's."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monch_monai.errors import InputError
from tests.bundle.conftest import REPOSITORY
from tests.fakes.labels import some_classes
from tests.fakes.network import SmallText, small_monch
from tests.fakes.trained import tissue, write_small_bundle

pytestmark = pytest.mark.label
TABLE = some_classes(3)


@pytest.fixture
def app(tmp_path: Path, monkeypatch):
    """The app on untrained weights, and two labelled images."""
    from monch_monai.label.app import MonchApp
    from monch_monai.label.working_copy import write_working_copy

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr("tempfile.tempdir", None)  # the app sets it
    monkeypatch.setattr(
        "monailabel.config.settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD", False
    )  # it would watch a folder that goes
    network = small_monch(class_table=TABLE)
    network.describe(TABLE, SmallText())
    bundle = write_small_bundle(tmp_path / "bundle", network)
    studies = tmp_path / "studies"
    (studies / "labels" / "final").mkdir(parents=True)
    for seed, name in enumerate(("one", "two")):
        tile = tissue(seed, 256, 256, 20)
        Image.fromarray(tile.image).save(studies / f"{name}.png")
        Image.fromarray(np.minimum(tile.classes, 2)).save(studies / "labels" / "final" / f"{name}.png")
    return MonchApp(str(write_working_copy(tmp_path / "app", bundle)), str(studies), {"models": "monch"})


def test_the_app_names_segments_and_learns_the_classes_of_its_weights(app) -> None:
    assert app.info()["labels"] == {"class 1": 1, "class 2": 2}
    settings = {"max_epochs": 1, "batch_size": 2, "learning_rate": 0.002, "val_split": 0.5}
    made = app._trainers["monch"]({**settings, "device": "cpu"}, app.datastore())
    assert made == {"version": 1}
    answer = app.infer({"model": "monch", "image": "one", "output": "json", "device": "cpu"})
    assert answer["params"]["version"] == 1
    annotation = answer["params"]["annotations"][0]["annotation"]
    assert annotation["labels"] == {c.name: list(c.color) for c in TABLE.nuclei}
    mask = app.infer({"model": "monch", "image": "one", "device": "cpu"})
    assert np.asarray(Image.open(mask["file"])).max() <= 2


def test_a_class_map_is_not_read_with_other_words_than_it_was_drawn_with(tmp_path: Path) -> None:
    from monch_monai.label.studies import Studies

    shown, drawn = np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64), np.uint8)
    drawn[20:40, 20:40] = 2
    (tmp_path / "studies").mkdir()
    Image.fromarray(shown).save(tmp_path / "studies" / "one.png")
    Image.fromarray(drawn).save(tmp_path / "label.png")
    Studies(str(tmp_path / "studies")).save_label("one", str(tmp_path / "label.png"), "final", {})
    assert Studies(str(tmp_path / "studies")).labelled("one").read().classes.max() == 2
    with pytest.raises(
        InputError, match=r"the label of one is a map of background, neoplastic, .*; the server has back"
    ):
        Studies(str(tmp_path / "studies"), class_table=TABLE).labelled("one")
