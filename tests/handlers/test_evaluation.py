import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monch_monai.datasets import write_synthetic
from monch_monai.errors import find_input_error
from tests.handlers import evaluate_tiles

SCRIPT = Path(evaluate_tiles.__file__)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with five tiles to evaluate."""
    made = tmp_path_factory.mktemp("runs")
    write_synthetic(made / "tiles", train=1, validation=5, tile_size=64)
    return made


@pytest.fixture(scope="module")
def runs(folder):
    """Folder of the results of one process and of two, and the scores that they gave."""
    alone = evaluate_tiles.main(folder / "tiles", folder / "one")
    command = [sys.executable, *TORCHRUN, str(SCRIPT), str(folder / "tiles"), str(folder / "two")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("mean_dice")]
    return folder, alone, scores


def test_two_processes_give_the_score_of_one_on_every_process(runs):
    _, alone, scores = runs
    assert scores == [repr(alone)] * 2


def test_two_processes_write_the_files_of_one_bit_by_bit(runs):
    folder, _, _ = runs
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert names == sorted(path.name for path in (folder / "two").iterdir())
    assert {"scores.csv", "scores.json", "counts.csv", "nuclei.csv", "nuclei.json"} <= set(names)
    for name in names:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_a_tile_that_fills_up_a_batch_is_counted_once(runs):
    folder, _, _ = runs
    assert len((folder / "two" / "counts.csv").read_text().splitlines()) == 1 + 5


class Broken(evaluate_tiles.Colours):
    """Not a number for the third tile, of size 63 for the rest when `cropped`."""

    def __init__(self, cropped=False):
        super().__init__()
        self.cropped, self.seen = cropped, 0

    def forward(self, image):
        logits = super().forward(image)
        self.seen += len(image)
        if self.cropped:
            return logits[..., :63]
        return logits.fill_(torch.nan) if self.seen > 2 else logits


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (Broken(), r"images\.npy#2: 24576 of 24576 logits are NaN; use another checkpoint"),
        (Broken(cropped=True), r"images\.npy#0: prediction is \[1, 64, 63\], truth \[1, 64, 64\]: sizes must agree"),
    ],
    ids=["NaN", "another size"],
)
def test_an_evaluation_ends_by_the_name_of_the_tile_that_cannot_be_scored(folder, tmp_path, network, problem):
    with pytest.raises((RuntimeError, ValueError)) as caught:
        evaluate_tiles.main(folder / "tiles", tmp_path, network)
    assert re.search(problem, str(find_input_error(caught.value)))
    assert not list(tmp_path.iterdir())
