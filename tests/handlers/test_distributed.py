import os
import subprocess
import sys
from pathlib import Path

import pytest

from monch_monai.data import write_synthetic
from tests.handlers import evaluate_tiles

SCRIPT = Path(evaluate_tiles.__file__)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of the results of one process and of two, and the scores that they gave."""
    folder = tmp_path_factory.mktemp("runs")
    write_synthetic(folder / "tiles", train=1, validation=5, tile_size=64)
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
