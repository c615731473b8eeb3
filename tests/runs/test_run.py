import json
import logging
import sys
from pathlib import Path

import pytest
import torch

from monch_monai.class_table import ClassTable
from monch_monai.errors import InputError
from monch_monai.runs import Run, write_record
from tests.fakes.labels import some_classes
from tests.fakes.network import small_monch


@pytest.fixture(autouse=True)
def restored_handlers():
    handlers = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = handlers


def test_a_run_that_is_made_changes_nothing(tmp_path: Path) -> None:
    hook, handlers, state = sys.excepthook, list(logging.getLogger().handlers), torch.random.get_rng_state()
    Run("training", tmp_path / "out", {"seed": "no number", "resume": True})
    assert (sys.excepthook, logging.getLogger().handlers) == (hook, handlers)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not (tmp_path / "out").exists()


def test_a_run_that_starts_has_its_settings_checked_and_everything_seeded(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        run = Run("training", str(tmp_path / "out"), {"seed": 7, "amp": "false", "mine": "passes"})
        run.start()
        drawn.append(torch.rand(1))
    assert drawn[0] == drawn[1]
    assert run.settings == {"seed": 7, "amp": False, "mine": "passes"}
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="amp is 1; give true or false"):
        Run("training", tmp_path, {"amp": 1}).start()


def test_the_record_has_the_settings_and_what_became_of_them(tmp_path: Path) -> None:
    run = Run("training", tmp_path, {"epochs": 3, "learning_rate": None})
    run.start()
    path = write_record(run, torch.nn.Linear(1, 1), "data", {"learning_rate": 0.1})
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["settings"] == {"epochs": 3, "learning_rate": 0.1}


def test_the_record_has_the_networks_classes(tmp_path: Path) -> None:
    class_table = some_classes(3)
    run = Run("training", tmp_path, {"epochs": 3})
    run.start()
    path = write_record(run, small_monch(class_table=class_table), "data", {})
    provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    assert ClassTable.from_dict(provenance["class_table"]) == class_table


@pytest.mark.parametrize("arguments", [{}, {"device": "cpu", "counts": {"epochs": 3}}, {"settings": {}, "seed": 1}])
def test_arguments_of_an_earlier_version_are_refused(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(InputError, match=r"the config is of a version before 0\.2\.0: use this version's configs"):
        Run("training", tmp_path, **arguments)


def test_a_run_list_that_does_not_start_the_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"begin its run list with \$@start\.start\(\)"):
        Run("training", tmp_path / "out", {}).open()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [5, True, "", None])
def test_a_folder_that_is_no_path_is_refused(given: object) -> None:
    with pytest.raises(InputError, match=r"output_dir is .*; give a path or a word"):
        Run("training", given, {}).start()
