"""Two processes on the CPU, started by the real torchrun: they train as one, evaluate as one, and outlive a death."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from monch_monai.class_table import PANNUKE
from monch_monai.data import RankTileSampler, TileLabels, Tiles, tiles_at_once
from monch_monai.datasets import write_synthetic
from monch_monai.errors import InputError, find_input_error
from monch_monai.networks.provenance import KEY
from monch_monai.runs import Processes, Run
from tests.bundle.conftest import CONFIGS, REPOSITORY

SMALL = {"network_def": {"_target_": "tests.fakes.network.frozen_monch"}, "weights": None, "learning_rate": 0.001}
"""A network that two cores train in no time."""
ONE_STEP = {
    "train#preprocessing": "%validate#preprocessing",  # each tile the same, whoever draws it
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 1.0},
    "learning_rate": 1.0,
}
SECONDS = 240
"""That a run may take, on a machine that does other things too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four tiles to train on and five to score, one of 48, and overlays that make runs small."""
    made = tmp_path_factory.mktemp("multi_gpu")
    write_synthetic(made / "data", train=4, validation=5, tile_size=64)
    write_synthetic(made / "more", train=48, validation=2, tile_size=64)
    (made / "small.json").write_text(json.dumps(SMALL), encoding="utf-8")
    (made / "one_step.json").write_text(json.dumps(ONE_STEP), encoding="utf-8")
    return made


def configs(folder: Path, *names: str) -> list[str]:
    """Config files by name, of the bundle or of the folder."""
    return [str(path) for name in names for path in (folder / name, CONFIGS / name) if path.is_file()]


def torchrun(run_id: str, files: list[str], restarts: int = 0, **settings: object) -> tuple[list[str], dict[str, str]]:
    """Command and environment of `torchrun -m monai.bundle run` with two processes on the CPU."""
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    agent = ["--standalone", "--nproc_per_node=2", f"--max_restarts={restarts}", "-m", "monai.bundle", "run", run_id]
    command = [sys.executable, "-m", "torch.distributed.run", *agent, "--config_file", str(files), "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return [*command, *words], environment


def alone(run_id: str, files: list[str], **settings: object) -> None:
    """The same in this process."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    monai.bundle.run(run_id, config_file=files, logging_file=False, device="cpu", **given)


@pytest.fixture(scope="module")
def stepped(folder: Path) -> Path:
    """What two processes leave of one step on four tiles."""
    files = configs(folder, "train.json", "small.json", "one_step.json", "multi_gpu_train.json")
    command, environment = torchrun(
        "training", files, dataset_dir=folder / "data", output_dir=folder / "two", epochs=1, amp="false", batch_size=4
    )
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "two"


def largest_difference(some: Path, other: Path) -> float:
    states = [torch.load(path / "last.pt", weights_only=True) for path in (some, other)]
    assert list(states[0]) == list(states[1])
    names = [name for name in states[0] if name != KEY]  # the provenance records how each was trained
    return max(float((states[0][name].double() - states[1][name].double()).abs().max()) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_one_step_of_two_processes_is_that_of_one(folder: Path, stepped: Path, accumulation_steps: int) -> None:
    out = folder / f"accumulated_{accumulation_steps}"
    alone(
        "training", configs(folder, "train.json", "small.json", "one_step.json"), dataset_dir=folder / "data",
        output_dir=out, epochs=1, amp=False, batch_size=4, accumulation_steps=accumulation_steps,
    )  # fmt: skip
    assert largest_difference(stepped, out) < 1e-4
    fresh = ConfigParser(SMALL).get_parsed_content("network_def").state_dict()
    trained = torch.load(stepped / "last.pt", weights_only=True)
    assert (
        max(float((trained[name] - fresh[name]).abs().max()) for name in fresh if fresh[name].is_floating_point())
        > 0.01
    )
    losses = [next(csv.DictReader((path / "history.csv").open(encoding="utf-8")))["loss"] for path in (stepped, out)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=1e-6)


@pytest.mark.slow
def test_one_of_two_processes_writes(stepped: Path) -> None:
    assert {path.name for path in stepped.iterdir()} == {
        "best.pt", "last.pt", "history.csv", "log.txt", "overlays", "run.json", "tensorboard", "training_state.pt",
    }  # fmt: skip
    assert len(list((stepped / "tensorboard").iterdir())) == 1
    assert (stepped / "log.txt").read_text(encoding="utf-8").count("scores of epoch 1") == 1
    assert json.loads((stepped / "run.json").read_text(encoding="utf-8"))["processes"] == 2


@pytest.mark.slow
def test_two_processes_score_five_tiles_as_one_does(folder: Path, stepped: Path) -> None:
    settings = {
        "dataset_dir": folder / "data", "checkpoint": stepped / "best.pt", "batch_size": 2, "inference_time#repeats": 2,
    }  # fmt: skip
    # The overlay takes the weights away; evaluate.json, after it, loads those of the checkpoint.
    files = configs(folder, "train.json", "small.json", "evaluate.json")
    alone("evaluating", files, output_dir=folder / "scored_by_one", **settings)
    command, environment = torchrun(
        "evaluating",
        [*files, str(CONFIGS / "multi_gpu_evaluate.json")],
        output_dir=folder / "scored_by_two",
        **settings,
    )
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = (folder / name / "evaluation" for name in ("scored_by_one", "scored_by_two"))
    files_of = [
        sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) for out in (one, two)
    ]
    assert files_of[0] == files_of[1]
    timed = {"run.json", "log.txt", "inference_time.json", "report.html", "tables/table1.csv", "tables/table1.md"}
    same = [name for name in files_of[0] if name not in timed]
    assert {"scores.csv", "counts.csv", "nuclei.json", "overlay_001.png", "tiles/tiles.json"} <= set(same)
    assert [name for name in same if (one / name).read_bytes() != (two / name).read_bytes()] == []
    assert len((two / "counts.csv").read_text(encoding="utf-8").splitlines()) == 1 + 5


@pytest.mark.slow
def test_two_processes_train_and_validate_on_one_tile_as_one_does(folder: Path) -> None:
    write_synthetic(folder / "single", train=4, validation=1, tile_size=64)
    names = ("train.json", "small.json", "one_step.json")
    settings = {"dataset_dir": folder / "single", "epochs": 1, "batch_size": 4}
    alone("training", configs(folder, *names), output_dir=folder / "single_by_one", amp=False, **settings)
    command, environment = torchrun(
        "training", configs(folder, *names, "multi_gpu_train.json"), output_dir=folder / "single_by_two", amp="false",
        **settings,
    )  # fmt: skip
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [
        next(csv.DictReader((folder / name / "history.csv").open(encoding="utf-8")))
        for name in ("single_by_one", "single_by_two")
    ]
    scores = [{name: value for name, value in row.items() if name not in ("seconds", "loss")} for row in rows]
    assert scores[0] == scores[1]
    assert "mean_dice" in scores[0]


def test_fewer_tiles_to_train_on_than_processes_are_refused(folder: Path) -> None:
    tiles = Tiles(folder / "data")
    with pytest.raises(InputError, match="5 processes would share 4 training tiles: start 4 or fewer"):
        RankTileSampler(tiles, ["train"], 0.0, TileLabels(tiles, PANNUKE), num_replicas=5, rank=0)


def epochs_done(output_dir: Path) -> list[str]:
    try:
        with (output_dir / "history.csv").open(encoding="utf-8") as file:
            return [row["epoch"] for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def process_of_rank(rank: int, agent: int) -> int:
    """Process that the torchrun with the id `agent` started for a rank."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            variables = (status.parent / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if parent == agent and f"RANK={rank}".encode() in variables:
            return int(status.parent.name)
    raise AssertionError(f"torchrun {agent} has no process of rank {rank}")


@pytest.mark.slow
def test_a_process_killed_in_an_epoch_is_started_again_and_the_history_is_whole(folder: Path) -> None:
    out = folder / "killed"
    files = configs(folder, "train.json", "small.json", "multi_gpu_train.json")
    command, environment = torchrun(
        "training", files, restarts=1, dataset_dir=folder / "more", output_dir=out, epochs=3, batch_size=2
    )
    with (folder / "log").open("w", encoding="utf-8") as log:
        agent = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            ending = time.monotonic() + SECONDS
            while not epochs_done(out) and agent.poll() is None and time.monotonic() < ending:
                time.sleep(0.02)
            time.sleep(0.2)  # into the second epoch
            os.kill(process_of_rank(1, agent.pid), signal.SIGKILL)
            returned = agent.wait(timeout=SECONDS)
        finally:
            agent.terminate()  # and with it what it started
            agent.wait(timeout=60)
    said = (folder / "log").read_text(encoding="utf-8")
    assert returned == 0, said
    assert epochs_done(out) == ["1", "2", "3"]
    assert said.count("resumed after epoch") == 1
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert [start["launch"] for start in record["resumed"]] == [record["launch"]]
    assert not (out / "earlier").exists()


@pytest.mark.parametrize("without", [False, True])
def test_tensorboard_is_left_out_of_training_and_validation(folder: Path, tmp_path: Path, without: bool) -> None:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", folder / "small.json"])
    parser.update({"dataset_dir": str(folder / "data"), "output_dir": str(tmp_path), "without_tensorboard": without})
    handlers = [
        type(h).__name__ for part in ("train", "validate") for h in parser.get_parsed_content(f"{part}#handlers")
    ]
    assert handlers.count("TensorBoardStatsHandler") == (0 if without else 2)
    assert (parser.get_parsed_content("summary_writer") is None) == without
    assert len(handlers) == (8 if without else 10)


def test_no_tile_goes_to_two_processes_and_each_epoch_has_another_order(folder: Path) -> None:
    tiles = Tiles(folder / "data")
    labels, of_epochs = TileLabels(tiles, PANNUKE), []
    for epoch in (1, 2):
        samplers = [
            RankTileSampler(tiles, ["validation"], 0.0, labels, seed=7, num_replicas=2, rank=rank) for rank in (0, 1)
        ]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        of_epochs.append([list(sampler) for sampler in samplers])
    for first, second in of_epochs:
        assert len(first) == len(second) == 2
        assert len({*first, *second}) == 4
    assert of_epochs[0] != of_epochs[1]


def test_weighted_draws_of_the_processes_are_one_draw_shared_out(folder: Path) -> None:
    tiles = Tiles(folder / "more")
    draw = partial(RankTileSampler, tiles, ["train"], 1.0, TileLabels(tiles, PANNUKE), seed=3)
    shares = [list(draw(num_replicas=3, rank=rank)) for rank in range(3)]
    whole = list(draw(num_replicas=1, rank=0))
    assert [index for step in zip(*shares, strict=True) for index in step] == whole
    assert len(whole) == 48
    assert len(set(whole)) < 48


@pytest.mark.parametrize(("given", "at_once"), [((16,), 16), ((16, 4), 4), ((16, 1, 8), 2), ((16, 2, 8), 1)])
def test_a_step_sees_the_batch_whoever_shares_it(given: tuple[int, ...], at_once: int) -> None:
    assert tiles_at_once(*given) == at_once


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match=r"batch_size 4 cannot be shared by 3 processes in 1 .* give a multiple of 3"):
        tiles_at_once(4, 1, 3)


def test_the_overlay_without_torchrun_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises((InputError, RuntimeError)) as caught:
        alone(
            "training", configs(folder, "train.json", "small.json", "multi_gpu_train.json"),
            dataset_dir=folder / "data", output_dir=tmp_path / "out",
        )  # fmt: skip
    assert "that torchrun starts: run torchrun --standalone" in str(find_input_error(caught.value))
    assert not (tmp_path / "out").exists()


def test_torchrun_without_the_overlay_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"add multi_gpu_train\.json or multi_gpu_evaluate\.json"):
        Run("training", tmp_path, {}).start()


def test_one_gpu_for_all_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(InputError, match="'cuda' would be shared by all processes"):
        Processes("cuda")


@pytest.mark.parametrize(
    ("launched", "restarts", "goes_on"), [("this", 1, True), ("another", 1, False), ("this", 0, False)]
)
def test_only_what_this_torchrun_began_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launched: str, restarts: int, goes_on: bool
) -> None:
    of_torchrun = {
        "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
        "TORCHELASTIC_RUN_ID": "this", "TORCHELASTIC_RESTART_COUNT": str(restarts),
    }  # fmt: skip
    for name, value in of_torchrun.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "training_state.pt").touch()
    (tmp_path / "run.json").write_text(json.dumps({"launch": launched}), encoding="utf-8")
    processes = Processes("cpu")
    try:
        assert processes.goes_on(tmp_path) is goes_on
    finally:
        processes.close()
