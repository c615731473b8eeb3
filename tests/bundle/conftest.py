"""The real command line in a subprocess, and one trained run that the tests of this folder share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from monch_monai.datasets import write_synthetic

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "bundle" / "configs"
Bundle = Callable[..., subprocess.CompletedProcess[str]]


def run_bundle(*arguments: object, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle run ARGUMENTS` on the CPU, without a hub."""
    device = [] if "--device" in arguments else ["--device", "cpu"]
    command = [sys.executable, "-m", "monai.bundle", "run", *map(str, arguments), *device]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "" if cwd == REPOSITORY else str(REPOSITORY)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of small synthetic tiles."""
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    write_synthetic(folder, train=4, validation=3, tile_size=64)
    return folder


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder and output of a training of two epochs."""
    output_dir = tmp_path_factory.mktemp("trained")
    done = run_bundle(
        "training", "--config_file", CONFIGS / "train.json", "--dataset_dir", dataset, "--output_dir", output_dir,
        "--epochs", 2, "--batch_size", 2, "--encoder_weights", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output_dir, done


@pytest.fixture(scope="session")
def evaluated(
    dataset: Path, trained: tuple[Path, subprocess.CompletedProcess[str]]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder and output of an evaluation of that training, on three tiles."""
    done = run_bundle(
        "--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']",
        "--dataset_dir", dataset, "--output_dir", trained[0],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return trained[0] / "evaluation", done
