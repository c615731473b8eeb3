import subprocess
import sys
from pathlib import Path

from monch_monai import arguments

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


def test_a_command_without_words_is_run():
    ran = []
    arguments.run({"first": lambda: ran.append(True)}, "program", ["first"])
    assert ran == [True]
