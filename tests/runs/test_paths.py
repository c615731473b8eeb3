"""Any path, whatever a command line or a config would read in it, arrives whole."""

import functools
import importlib
import inspect
import json
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar

import fire
import monai.bundle
import pytest

from benchmarks.run import COMMANDS
from monch_monai import arguments
from monch_monai.__main__ import Commands
from monch_monai.errors import InputError
from monch_monai.runs import CommandLine
from monch_monai.runs.rules import PATHS

NAMED = [
    "Case #3", "Run #2/out", "20241128", "a,b", "1e5", "0x1F", "1_000", "True", "null", "None.", "[x]", "{a: b}",
    "(1, 2)", "a'b", 'say "x"', "'quoted'", "a b", " a ", "a\\b", "é#ü", "💠#1", "1+2", "lambda", "b'x'", "1e5#", "#1",
    "x=y", "a@b", "a%b", "a$b", "1.", "...", "- a", "a::b", "a#0", "x --y", "\t#",
]  # fmt: skip
CHARACTERS = "ab1_ .,#:'\"()[]{}=+-*/\\%@$&!?;éß\u3042💠eE0xTrueNone"


def texts(count: int) -> list[str]:
    """Paths as people and programs name them, and others at random."""
    draw = random.Random(0)
    drawn = ["".join(draw.choices(CHARACTERS, k=draw.randint(1, 12))) for _ in range(count)]
    unread = ("-", "$", "@", "%", "~", "[")  # flags, what MONAI reads, homes, lists
    return NAMED + [t for t in drawn if t[0] not in unread and not {"@#", "%#", "@:", "%:"} & {*pairs(t)}]


def pairs(text: str) -> list[str]:
    return [a + b for a, b in pairwise(text)]


@pytest.mark.parametrize("name", [name for name in PATHS if name != "dataset_dir"])
def test_a_setting_that_is_a_path_is_read_whole(name: str) -> None:
    for text in texts(200):
        assert CommandLine([f"--{name}", text]).overrides[name] == text
        assert CommandLine([f"--{name}={text}"]).overrides[name] == text


CONFIG = {
    "initialize": [{"_target_": "monch_monai.runs.check_command_line"}],
    "output_dir": "x", "dataset_dir": None, "inner": {"_target_": "tests.runs.test_paths.Seen", "sample_dir": "x"},
    "seen": {
        "_target_": "tests.runs.test_paths.Seen", "out": "@output_dir", "data": "@dataset_dir",
        "log": "$@output_dir + '/log'",
    },
    "run": ["$@seen", "$@inner"],
}  # fmt: skip


class Seen:
    """What a config's components are given."""

    last: ClassVar[dict[str, Any]] = {}

    def __init__(self, **given: Any) -> None:
        Seen.last.update(given)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return str(path)


def test_monai_runs_a_config_with_the_path_that_was_typed(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = ["run", "--config_file", config, "--logging_file", "False"]
    for text in texts(40):
        words = [*start, "--output_dir", text, f"--dataset_dir={text}", "--inner#sample_dir", text]
        monkeypatch.setattr(sys, "argv", [monai.bundle.__path__[0] + "/__main__.py", *words])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        Seen.last.clear()
        fire.Fire({"run": monai.bundle.run}, command=words)
        if text != "[x]":
            assert Seen.last["data"] == text
        assert (Seen.last["out"], Seen.last["log"], Seen.last["sample_dir"]) == (text, f"{text}/log", text)


def test_a_path_from_python_or_a_config_file_arrives_whole_too(config: str, tmp_path: Path) -> None:
    for text in texts(20):
        monai.bundle.run(config_file=config, logging_file=False, output_dir=text, dataset_dir=Path(text))
        assert (Seen.last["out"], Seen.last["data"]) == (text, str(Path(text)))
        overlay = tmp_path / "mine.json"
        overlay.write_text(json.dumps({"output_dir": text, "inner#sample_dir": text}), encoding="utf-8")
        monai.bundle.run(config_file=[config, str(overlay)], logging_file=False)
        assert (Seen.last["out"], Seen.last["sample_dir"]) == (text, text)


def test_a_tilde_is_the_home(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monai.bundle.run(config_file=config, logging_file=False, output_dir="~/out", dataset_dir=["~/a", "b"])
    assert (Seen.last["out"], Seen.last["data"]) == (f"{tmp_path}/out", [f"{tmp_path}/a", "b"])
    assert CommandLine(["--output_dir=~/x #1"]).overrides["output_dir"] == f"{tmp_path}/x #1"
    assert CommandLine(["--dataset_dir=[~/a,b]"]).overrides["dataset_dir"] == [f"{tmp_path}/a", "b"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("[a,b]", ["a", "b"]),
        ("['a #1','b, c']", ["a #1", "b, c"]),
        ("[20241128, 1e5]", ["20241128", "1e5"]),
        ("[]", []),
        ("[is there]", "[is there]"),
    ],
)
def test_several_paths_are_a_list_in_brackets(
    typed: str, read: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[is there]").mkdir()
    assert CommandLine(["--dataset_dir", typed]).overrides["dataset_dir"] == read


def test_unknown_settings_from_python_are_refused_as_on_the_command_line(config: str) -> None:
    with pytest.raises((InputError, RuntimeError)) as caught:
        monai.bundle.run(config_file=config, logging_file=False, output_dirr="x")
    assert "output_dirr is not a setting of" in str(caught.value.__cause__ or caught.value)
    assert "did you mean output_dir?" in str(caught.value.__cause__ or caught.value)


def of_scripts() -> list[Callable[..., Any]]:
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    try:
        named = {
            "learning_curves": ["draw"], "package_bundle": ["package"], "publish": ["publish"],
            "ship_weights": ["ship"], "prove": ["learns", "imitate_pannuke"],
        }  # fmt: skip
        return [getattr(importlib.import_module(module), name) for module, names in named.items() for name in names]
    finally:
        sys.path.pop(0)


DOORS = [
    *(getattr(Commands(), name) for name in vars(Commands) if name[0] != "_"),
    *of_scripts(),
    *(resolve_name(f"benchmarks.{name}") for name in COMMANDS.values()),
]
FILES = {
    "source", "out", "output", "output_dir", "dataset_dir", "checkpoint", "checkpoints", "runs", "evaluation", "image",
    "app_dir", "bundle_root", "config_file", "model", "folder", "slide", "csv", "classes",
}  # fmt: skip
"""Arguments that are paths in every command."""


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_path_that_a_command_is_given_arrives_whole(door: Callable[..., Any]) -> None:
    found: dict[str, Any] = {}
    parameters = inspect.signature(door, eval_str=True).parameters

    @functools.wraps(door)
    def stub(*args: Any, **kwargs: Any) -> None:
        found.update(inspect.signature(door).bind(*args, **kwargs).arguments)

    for name in FILES & {p.name for p in parameters.values() if p.annotation is not int}:
        several = parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        others = [f"--{p.name}=1" for p in parameters.values() if p.default is p.empty and p.name != name]
        others = [word for word in others if parameters[word[2:-2]].kind is not inspect.Parameter.VAR_POSITIONAL]
        for text in texts(20):
            if text == "[x]" and name == "config_file":
                continue
            arguments.run(stub, "x", [*others, text] if several else [*others, f"--{name}={text}"])
            assert found[name] == ((Path(text),) if several else Path(text))


def test_words_of_commands_are_whole_too(capsys: pytest.CaptureFixture[str]) -> None:
    def say(patients: str | None = None, validation: float | str = 0.2) -> None:
        print(repr(patients), repr(validation))

    for words in (["--patients", "1e5", "--validation", "0.3"], ["--validation=Case #3", "--patients=a #1"]):
        arguments.run(say, "say", words)
    assert capsys.readouterr().out.splitlines() == ["'1e5' 0.3", "'a #1' 'Case #3'"]


def test_a_flag_without_its_value_and_an_unknown_one_are_refused_before_anything_runs(tmp_path: Path) -> None:
    def touch(out: Path, quick: bool = False) -> None:
        out.touch()

    for words in (["--out"], ["--out", "--quick"], ["--out="], ["--output", "x"], ["--out", "x", "--slow"]):
        with pytest.raises(InputError, match=r"no value after --out|out is empty|no setting --(output|slow)"):
            arguments.run({"touch": touch}, "x", ["touch", *words])
    assert not list(tmp_path.iterdir())
