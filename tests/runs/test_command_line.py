import json
from pathlib import Path

import pytest

from monch_monai.errors import InputError
from monch_monai.runs import CommandLine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "train.json"
    content = {
        "epochs": 3, "dataset_dir": None, "checkpoint": None, "num_workers": 2,
        "train": {"trainer": {"_target_": "X", "max_epochs": "@epochs"}},
        "training": ["$@start.start()"], "run": "%training",
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("spelling", [["--epochs", "5"], ["--epochs=5"], ["-epochs", "5"]])
def test_reads_overrides_as_fire_does(config: Path, spelling: list[str]) -> None:
    line = CommandLine(["training", "--config_file", str(config), *spelling])
    assert line.overrides == {"epochs": 5}
    assert line.config()["epochs"] == 5


def test_a_negative_value_is_no_setting(config: Path) -> None:
    assert CommandLine(["--config_file", str(config), "--epochs", "-1"]).overrides == {"epochs": -1}


def test_a_flag_without_value_is_true(config: Path) -> None:
    line = CommandLine(["--config_file", str(config), "--dataset_dir", "--epochs", "2"])
    assert line.overrides == {"dataset_dir": True, "epochs": 2}


@pytest.mark.parametrize(
    ("given", "nearest"), [("epoch", "epochs"), ("datasetdir", "dataset_dir"), ("tran#x", "train")]
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(config: Path, given: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"--{given} is not a setting of .*did you mean --{nearest}?"):
        CommandLine(["--config_file", str(config), f"--{given}", "1"]).check()


@pytest.mark.parametrize(("given", "meant"), [("workers", "num_workers"), ("chekpoint", "checkpoint")])
def test_another_word_for_a_setting_is_understood(config: Path, given: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"did you mean --{meant}?"):
        CommandLine(["--config_file", str(config), f"--{given}", "1"]).check()


@pytest.mark.parametrize("given", ["zzz", "lr", "train#qqqqq"])
def test_no_name_is_suggested_where_none_is_near(config: Path, given: str) -> None:
    with pytest.raises(InputError, match=f"^--{given} is not a setting of .*: these list all settings$"):
        CommandLine(["--config_file", str(config), f"--{given}", "1"]).check()


@pytest.mark.parametrize("words", [["--num_workers", "None"], ["--num_workers=None"], ["--train#trainer", "None"]])
def test_none_is_refused_where_monai_would_take_another_value(config: Path, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"^--\S+ is None, for which MONAI takes .*: leave the setting out"):
        CommandLine(["--config_file", str(config), *words]).check()


def test_none_passes_where_the_config_has_none(config: Path, tmp_path: Path) -> None:
    CommandLine(["--config_file", str(config), "--dataset_dir", "None", "--checkpoint", "None"]).check()
    null = tmp_path / "null.json"
    null.write_text('{"num_workers": null}', encoding="utf-8")
    CommandLine(["--config_file", f"['{config}','{null}']", "--num_workers", "None"]).check()


@pytest.mark.parametrize("words", [["trainin"], ["--run_id", "test"], ["training", "--final_id", "end"], ["run", "x"]])
def test_an_id_that_the_config_does_not_have_is_refused(config: Path, words: list[str]) -> None:
    with pytest.raises(InputError, match=r"(run|init|final)_id is '\w+', which is not in .*leave it out$"):
        CommandLine([*words, "--config_file", str(config)]).check()


@pytest.mark.parametrize("words", [["training"], [], ["run"], ["train#trainer"]])
def test_an_id_that_the_config_has_passes(config: Path, words: list[str]) -> None:
    CommandLine([*words, "--config_file", str(config)]).check()


@pytest.mark.parametrize("words", [["evaluating"], []])
def test_an_earlier_run_list_on_a_config_of_today_is_refused(config: Path, tmp_path: Path, words: list[str]) -> None:
    overlay = write(tmp_path, {"evaluating": ["$@start", "$@weights"], "run": "%evaluating"})
    with pytest.raises(InputError, match=r"is of a version before 0\.2\.0: use this version's configs"):
        CommandLine([*words, "--config_file", f"['{config}','{overlay}']"]).check()


@pytest.mark.parametrize(
    ("name", "content"), [("onnx", None), ("onnx_file", "$'x'"), ("checkpoint", {"_target_": "X"})]
)
def test_a_file_that_is_none_is_refused_by_the_name_of_its_setting(tmp_path: Path, name: str, content: object) -> None:
    words = ["--config_file", str(write(tmp_path, {name: content, "run": []}))]
    CommandLine(words).check()
    for path, problem in (
        (tmp_path, "is a folder"),
        (tmp_path / "no", "does not exist"),
        ("n" * 999, "cannot be read"),
    ):
        with pytest.raises(InputError, match=f"^{name} {path} {problem}.*: give --{name} "):
            CommandLine([*words, f"--{name}", str(path)]).check()


def test_a_file_that_a_config_names_is_looked_for_too(tmp_path: Path) -> None:
    overlay = write(tmp_path, {"run": [], "onnx": "nowhere.onnx"})
    with pytest.raises(InputError, match=r"onnx nowhere\.onnx does not exist: give --onnx"):
        CommandLine(["--config_file", str(overlay)]).check()


@pytest.mark.parametrize("given", ["epochs", "train#trainer#max_epochs", "train::trainer::max_epochs", "+train"])
def test_a_known_setting_passes(config: Path, given: str) -> None:
    CommandLine(["--config_file", str(config), f"--{given}", "1"]).check()


def test_arguments_of_run_itself_pass(config: Path) -> None:
    CommandLine(["--run_id", "training", "--config_file", str(config), "--logging_file", "x.conf"]).check()


def test_settings_of_an_arguments_file_are_checked_too(config: Path, tmp_path: Path) -> None:
    arguments = tmp_path / "arguments.yaml"
    arguments.write_text(f"config_file: {config}\nepochss: 2\n", encoding="utf-8")
    with pytest.raises(InputError, match="epochss"):
        CommandLine(["--args_file", str(arguments)]).check()


def test_an_overlay_adds_settings(config: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("extra: 1\nepochs: '@extra'\n", encoding="utf-8")
    line = CommandLine(["--config_file", f"['{config}','{overlay}']", "--extra", "2"])
    line.check()
    assert line.config()["extra"] == 2


def write(folder: Path, content: dict) -> Path:
    path = folder / "overlay.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"tiles": {"_target_": "monch_monai.nowhere.Tiles"}},
        {"train": {"handlers": [{"_target_": "monch_monai.handlers.Gone"}, "@ema"]}},
    ],
)
def test_a_component_that_this_version_does_not_have_is_named(tmp_path: Path, content: dict) -> None:
    with pytest.raises(InputError, match=r"names monch_monai\.(nowhere\.Tiles|handlers\.Gone), which this version"):
        CommandLine(["--config_file", str(write(tmp_path, content))]).check()


def test_components_of_this_version_and_of_others_pass(tmp_path: Path) -> None:
    loss = {"_target_": "monch_monai.losses.PerClassBCE"}
    content = {"a": loss, "b": {"_target_": "Gone"}, "c": {"_target_": "$@a.b"}}
    CommandLine(["--config_file", str(write(tmp_path, content))]).check()


@pytest.mark.parametrize("words", [["--{}="], ["--{}"], ["--{}", "--epochs", "1"]])
def test_a_path_without_text_is_refused(tmp_path: Path, words: list[str]) -> None:
    config = write(tmp_path, {"output_dir": "out", "checkpoint": None, "epochs": 1})
    for name in ("output_dir", "checkpoint"):
        with pytest.raises(InputError, match=rf"{name} is (''|True); give a path or a word"):
            CommandLine(["--config_file", str(config), *(word.format(name) for word in words)]).check()
    CommandLine(["--config_file", str(config), "--output_dir", "./2024", "--checkpoint", "None"]).check()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"lr": 1e-3}, r"^lr is not a setting of .*, and nothing uses what .*overlay\.json gives it: "),
        ({"epoch": 1}, r"did you mean epochs\?$"),
        ({"train": {"optimiser": 1}}, r"^train#optimiser is not a setting"),
        ({"train#trainerr": 1}, r"did you mean train#trainer\?$"),
        ({"ema": {"_target_": "X"}}, r"^ema is not a setting"),
    ],
)
def test_a_name_in_an_overlay_that_nothing_uses_is_refused(
    config: Path, tmp_path: Path, content: dict, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        CommandLine(["--config_file", f"['{config}','{write(tmp_path, content)}']"]).check()


@pytest.mark.parametrize(
    "content",
    [
        {"ema": {"_target_": "X"}, "num_workers": "@ema"},
        {"mine": [1, 2], "my_steps": ["$@start.start()"], "_note_": 1, "_desc_epochs": "few"},
        {"parts": {"a": 1, "b": 2}, "num_workers": "$@parts#a"},
        {"group": {"a": 1, "b": "@#a"}, "num_workers": "@group#b"},
        {"run": "%training", "imports": [], "train#trainer#max_epochs": 4},
    ],
)
def test_a_name_in_an_overlay_that_something_uses_passes(config: Path, tmp_path: Path, content: dict) -> None:
    CommandLine(["--config_file", f"['{config}','{write(tmp_path, content)}']"]).check()
