import json
import logging
import sys
from pathlib import Path

import pytest
import torch

from monch_monai.class_table import ClassTable
from monch_monai.errors import InputError
from monch_monai.runs import Run, folder_lock, write_record
from monch_monai.runs.folder_lock import lock, unlock
from monch_monai.runs.run import LogFile
from tests.fakes.labels import some_classes
from tests.fakes.network import small_monch
from tests.fakes.processes import in_child


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


DATA = {"settings": {"split": 1, "epochs": 3}, "data_fingerprint": "one", "kind": "training"}


def resumed(folder: Path, data: str, split: object) -> None:
    (folder / "run.json").write_text(json.dumps(DATA), encoding="utf-8")
    (folder / "training_state.pt").touch()
    run = Run("training", folder, {"resume": True, "split": split})
    run.start()
    write_record(run, torch.nn.Linear(1, 1), data, {})


@pytest.mark.parametrize(("data", "split", "named"), [("two", 1, "data"), ("one", 2, "split"), ("one", "all", "split")])
def test_a_training_is_not_resumed_on_other_data(tmp_path: Path, data: str, split: object, named: str) -> None:
    with pytest.raises(InputError, match=f"began with another {named}.*or leave --resume out to start anew"):
        resumed(tmp_path, data, split)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == DATA
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.parametrize("split", [1, "1"])
def test_a_training_is_resumed_on_its_own_data(tmp_path: Path, split: object) -> None:
    resumed(tmp_path, "one", split)
    assert len(json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["resumed"]) == 1


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_two_processes_do_not_write_one_folder(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "SECONDS", 0.1)
    (tmp_path / "best.pt").write_bytes(b"of the first")
    (tmp_path / "scores.json").write_bytes(b"of the first")

    def second() -> None:
        run = Run(kind, tmp_path, {})
        run.start()
        run.open()

    held = lock(tmp_path)
    assert "another process trains or evaluates into" in in_child(second).refusal
    assert (tmp_path / "best.pt").is_file()
    assert (tmp_path / "scores.json").is_file()
    second()  # of the process that has the lock
    unlock(tmp_path)
    assert not held.is_locked
    assert in_child(second) == (0, "")
    assert not {path.name for path in tmp_path.iterdir()} & {"best.pt" if kind == "training" else "scores.json"}


def test_a_full_disk_does_not_end_the_log_with_tracebacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogFile("/dev/full")
    for _ in range(3):
        log.emit(logging.LogRecord("a", 20, "b", 1, "text", None, None))
    log.stream = None
    assert capsys.readouterr().err == "/dev/full cannot be written (No space left on device)\n"
