import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from monch_monai import arguments as commands

REPOSITORY = Path(__file__).resolve().parents[1]


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_an_unknown_flag_is_refused_before_anything_runs(tmp_path):
    done = run("scripts/prepare_consep.py", "--source", tmp_path, "--out", tmp_path / "out", "--validation_field", "a")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ERROR: prepare_consep has no setting --validation_field (nearest: --validation_fields)"
    )


def test_a_folder_named_like_a_number_keeps_its_name(tmp_path):
    done = run("-m", "monch_monai", "doctor", "2024_01")
    assert done.returncode == 1
    assert "source 2024_01 does not exist" in done.stderr


def test_a_command_without_any_argument_runs():
    called = []

    def measure(counts: tuple[int, ...] = (1, 2)) -> None:
        called.append(counts)

    commands.run({"measure": measure}, "run.py", ["measure"])
    commands.run(measure, "measure", [])
    assert called == [(1, 2), (1, 2)]


def test_a_command_is_plain_in_the_packages_folder_and_where_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert commands.shell_command("view", "out") == "python -m monch_monai view out"
    assert commands.shell_command("view", Path("Case #3")) == "python -m monch_monai view 'Case #3'"
    assert commands.shell_command("view", "-out") == "python -m monch_monai view ./-out"
    assert commands.shell_command("view", "~") == "python -m monch_monai view './~'"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"/nowhere:{REPOSITORY}")
    assert commands.shell_command("view", "out") == "python -m monch_monai view out"
    monkeypatch.delenv("PYTHONPATH")
    (tmp_path / "monch_monai-9.dist-info").mkdir()
    (tmp_path / "monch_monai-9.dist-info" / "METADATA").write_text("Name: monch-monai\nVersion: 9\n")
    monkeypatch.setattr(commands.site, "getsitepackages", lambda: [str(tmp_path)])
    assert commands.shell_command("view", "out") == "python -m monch_monai view out"


PLACES = ("a b", "#1", "-x", "--port=3", "~", "~nobody", "$HOME", "a'b", "20241128", "None", "[a,b]", "a,b", "é")


@pytest.mark.parametrize("here", [REPOSITORY, REPOSITORY / "tests"], ids=["package", "elsewhere"])
def test_a_command_as_it_is_pasted_has_the_path_whatever_its_name(here, monkeypatch):
    taken = []

    def view(out: Path) -> None:
        taken.append(out)

    monkeypatch.setenv("PYTHONPATH", "")
    for name in PLACES:
        monkeypatch.chdir(here)
        words = shlex.split(commands.shell_command("view", name))
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
        commands.run({"view": view}, "monch_monai", words[words.index("view") :])
        assert taken.pop().absolute() == here / name


def test_a_path_of_no_user_stays_as_it_is_typed():
    assert commands.path_text("~no-such-user/out") == "~no-such-user/out"
    assert commands.path_texts("[~no-such-user/a,~/b]") == ["~no-such-user/a", str(Path.home() / "b")]


def test_elsewhere_a_command_goes_to_the_packages_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(commands.site, "getsitepackages", lambda: [str(tmp_path / "site")])
    expected = f"cd {REPOSITORY} && python -m monch_monai view {tmp_path}/'a b'"
    found = commands.shell_command("view", Path("a b"))
    assert shlex.split(found) == shlex.split(expected)
