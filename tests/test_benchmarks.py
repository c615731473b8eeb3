"""Benchmarks are run by hand; that they start, and what they build, is tested."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.fuzz import SHARES
from benchmarks.fuzz_commands import damaged
from benchmarks.fuzz_files import write_valid
from benchmarks.networks import build_network, build_training, random_tiles, read_config, training_step
from benchmarks.run import COMMANDS
from monch_monai.class_table import Vocabulary
from tests.fakes import tiny
from tests.fakes.labels import some_classes

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_every_command_can_be_imported_and_is_listed():
    command = [sys.executable, "benchmarks/run.py", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = [line.strip() for line in done.stdout.splitlines() + done.stderr.splitlines()]
    assert set(COMMANDS) <= set(listed)


def test_networks_are_built_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = build_network()
    assert network(random_tiles(2, "cpu")).shape[:2] == (2, len(network.class_table))


def test_an_overlay_changes_the_network_that_is_built():
    assert build_network().decoder is not None
    assert build_network("cpu", "ablations/without_ppd").decoder is None


def test_a_training_step_moves_the_weights_by_the_optimiser():
    network, loss, optimizer, batch_size, labels = build_training("cpu", "recipes/consep", "baselines/unet")
    assert batch_size == 4
    assert len(labels) >= len(labels.table) == network(random_tiles(1, "cpu")).shape[1]
    before = next(network.parameters()).detach().clone()
    target = torch.zeros(1, 1, 256, 256, dtype=torch.int64)
    training_step(network, random_tiles(1, "cpu"), optimizer, lambda logits: loss(logits, target))()
    assert not torch.equal(before, next(network.parameters()))


def test_a_config_trains_on_labels_that_stand_for_several_classes(tmp_path):
    class_table = some_classes(4)
    labels = {"one": ["class 1"], "two": ["class 2"], "three": ["class 3"], "one or two": ["class 1", "class 2"]}
    vocabulary = Vocabulary.of_nuclei(class_table, {**labels, "nucleus": None})
    tiny.write(tmp_path / "tiles", vocabulary=vocabulary)
    parser = read_config("cpu")
    parser.update(
        {
            "dataset_dir": str(tmp_path / "tiles"),
            "network_def": {"_target_": "tests.fakes.network.small_monch", "class_table": "@class_table"},
        }
    )
    network, loss, labels = map(parser.get_parsed_content, ("network_def", "loss", "tile_labels"))
    assert network.class_table == class_table
    assert labels.sets.sets[4:] == ((1, 2), (1, 2, 3))
    target = torch.full((1, 1, 256, 256), 4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    tiles = random_tiles(1, "cpu")
    step = training_step(network, tiles, optimizer, lambda logits: loss(logits, target))
    assert torch.stack([step() for _ in range(8)])[[0, -1]].diff() < 0
    with torch.no_grad():
        probs = network(tiles).sigmoid().mean(dim=(0, 2, 3))
    assert 1 - (1 - probs[1]) * (1 - probs[2]) > 0.5 > max(probs[0], probs[3])


def test_damage_depends_on_its_seed_alone_and_changes_one_file(tmp_path):
    pytest.importorskip("imagecodecs", reason="writes what the fuzzed slides are compressed by")
    (tmp_path / "weights.pt").write_bytes(bytes(100))
    valid = write_valid(tmp_path / "valid", tmp_path / "weights.pt")
    assert set(valid) == set(SHARES)
    for kind in SHARES:
        found = []
        for folder in (tmp_path / kind / "1", tmp_path / kind / "2"):
            path, how = damaged(folder, valid, kind, random.Random(kind))
            found.append((how, tiny.contents(folder)))
            assert path.parent == folder
        assert found[0] == found[1]
        whole = {path.name: path.read_bytes() for path in (tmp_path / "valid" / kind).rglob("*") if path.is_file()}
        assert sum(whole[Path(name).name] != content for name, content in found[0][1].items()) <= 1
