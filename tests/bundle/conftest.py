"""The real command line in a subprocess, and one trained run that the tests of this folder share."""

import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from monch_monai.datasets import write_synthetic
from tests.fakes.processes import forked

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "bundle" / "configs"
Bundle = Callable[..., subprocess.CompletedProcess[str]]


def run_bundle(*arguments: object, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle run ARGUMENTS` on the CPU, without a hub."""
    device = [] if "--device" in arguments else ["--device", "cpu"]
    command = [sys.executable, "-m", "monai.bundle", "run", *map(str, arguments), *device]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "" if cwd == REPOSITORY else str(REPOSITORY)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def fork_bundle(*arguments: object, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """The same in a fork of this process, for what `run_bundle` has shown of the same config once."""
    return forked("monai.bundle", "run", *arguments, *([] if "--device" in arguments else ["--device", "cpu"]), cwd=cwd)


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder that the first of the test processes to need it makes for all, and what making it returned."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, returned = root / name, root / f"{name}.pickle"
    with FileLock(root / f"{name}.lock"):
        if not returned.is_file():
            content = pickle.dumps(make(folder))
            returned.write_bytes(content)
    return folder, pickle.loads(returned.read_bytes())


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of small synthetic tiles."""
    make = functools.partial(write_synthetic, train=4, validation=3, tile_size=64)
    return made_once(tmp_path_factory, "synthetic", make)[0]


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder and output of a training of two epochs."""

    def train(output_dir: Path) -> subprocess.CompletedProcess[str]:
        done = run_bundle(
            "training", "--config_file", CONFIGS / "train.json", "--dataset_dir", dataset, "--output_dir", output_dir,
            "--epochs", 2, "--batch_size", 2, "--encoder_weights", "none",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return made_once(tmp_path_factory, "trained", train)


@pytest.fixture(scope="session")
def evaluated(
    dataset: Path, trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder and output of an evaluation of that training, on three tiles."""

    def evaluate(_: Path) -> subprocess.CompletedProcess[str]:
        done = run_bundle(
            "--config_file", f"['{CONFIGS}/train.json','{CONFIGS}/evaluate.json']",
            "--dataset_dir", dataset, "--output_dir", trained[0],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return trained[0] / "evaluation", made_once(tmp_path_factory, "evaluated", evaluate)[1]
