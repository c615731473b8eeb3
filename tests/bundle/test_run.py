import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out
from monai.bundle import load as load_bundle
from monai.transforms import Compose
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.errors import InputError, find_input_error
from monch_monai.networks.provenance import Provenance, read_provenance
from monch_monai.stain import LightenTissued, lightened
from tests.bundle.conftest import CONFIGS, REPOSITORY, fork_bundle, run_bundle

Trained = tuple[Path, subprocess.CompletedProcess[str]]


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


def test_training_ends_by_naming_checkpoint_metrics_and_picture(trained: Trained) -> None:
    folder, done = trained
    ending = done.stdout.splitlines()[-3:]
    for line, what in zip(ending, ("best.pt", "history.csv", "overlays/overlay_002.png"), strict=True):
        assert line.endswith(str(folder / what))
        assert (folder / what).is_file()


def test_training_says_that_weights_are_random_and_at_what_rate(trained: Trained) -> None:
    assert "learning rate 0.001, for random encoder weights" in trained[1].stdout


def test_each_epoch_prints_a_table(trained: Trained) -> None:
    assert trained[1].stdout.count("mean of nucleus classes") == 2
    assert all(trained[1].stdout.count(c.name) >= 2 for c in PANNUKE.classes)


def test_checkpoint_is_a_flat_dictionary_of_tensors(trained: Trained) -> None:
    state = torch.load(trained[0] / "best.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert state["text_features"].shape == (256, 1024)
    stored = read_provenance(state)
    assert stored.recipe["learning_rate"] == 0.001
    assert stored.recipe["loss"]["_target_"] == "monch_monai.losses.PerClassBCE"


def test_record_tells_what_ran(trained: Trained, dataset: Path) -> None:
    record = json.loads((trained[0] / "run.json").read_text(encoding="utf-8"))
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    assert record["settings"]["epochs"] == 2
    assert record["settings"]["learning_rate"] == 0.001
    stored = read_provenance(torch.load(trained[0] / "best.pt", weights_only=True))
    assert Provenance.from_dict(record["provenance"]) == stored
    assert str(stored) == "clip_rn50 (random), words attributes by clip_rn50 (random)"
    assert record["data_fingerprint"] == manifest["fingerprint"]
    assert record["config"]["epochs"] == 2
    assert record["config"]["train"]["trainer"]["_target_"] == "SupervisedTrainer"
    assert {"torch", "monai", "monch"} <= set(record["versions"])


def test_history_has_a_row_an_epoch(trained: Trained) -> None:
    with (trained[0] / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["next_learning_rate"]) == pytest.approx(1e-4)  # dropped after 3/4 of the epochs
    assert all(0 <= float(row["mean_dice"]) <= 1 for row in rows)


def test_evaluation_prints_and_writes_the_table(trained: Trained, evaluated: Trained) -> None:
    folder, done = trained[0], evaluated[1]
    assert done.stdout.count("mean of nucleus classes") == 1
    scores = json.loads((folder / "evaluation" / "scores.json").read_text(encoding="utf-8"))
    with (folder / "history.csv").open(encoding="utf-8") as file:
        best = max(float(row["mean_dice"]) for row in csv.DictReader(file))
    assert scores["mean_dice"] == pytest.approx(best, abs=1e-9)
    nuclei = json.loads((folder / "evaluation" / "nuclei.json").read_text(encoding="utf-8"))
    assert nuclei["images"] == scores["images"] == 3
    assert {"mpq", "bpq", "mpq_strict", "mpq_plus"} <= set(nuclei)
    assert list(scores["organs"])[-1] == "all images"
    record = json.loads((folder / "evaluation" / "run.json").read_text(encoding="utf-8"))
    assert record["checkpoint"]["file"] == str(folder / "best.pt")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    pixels = synthetic_tile(np.random.default_rng(1), 320).image[:300]  # 300 rows, 320 columns
    Image.fromarray(pixels).save(folder / "field.png")
    Image.fromarray(pixels[:33, :70]).save(folder / "scrap.tif")
    nib.save(nib.Nifti1Image(pixels[:64, :96].swapaxes(0, 1), np.diag([0.25, 0.25, 1, 1])), folder / "volume.nii.gz")
    (folder / "notes.png").write_text("not a picture", encoding="utf-8")
    (folder / "readme.txt").write_text("left alone", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def told(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that tells of pale tissue."""
    path = tmp_path_factory.mktemp("told") / "told.pt"
    state = torch.load(trained[0] / "best.pt", weights_only=True)
    torch.save({**state, "reference_density": torch.tensor([0.12, 0.36, 0.2])}, path)
    return path


@pytest.fixture(scope="module")
def inferred(told: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    output_dir = tmp_path_factory.mktemp("inferred")
    done = run_bundle(
        "--config_file", CONFIGS / "inference.json", "--dataset_dir", images, "--output_dir", output_dir,
        "--checkpoint", told,
    )  # fmt: skip
    return output_dir, done


def test_inference_writes_every_readable_image_at_its_own_size(inferred: Trained) -> None:
    folder, _ = inferred
    for name, size in (("field", (320, 300)), ("scrap", (70, 33))):
        with (
            Image.open(folder / f"{name}_classes.png") as classes,
            Image.open(folder / f"{name}_overlay.png") as overlay,
        ):
            assert (classes.mode, classes.size) == ("L", size)
            assert overlay.mode == "RGB"
            assert overlay.width >= size[0]
            assert overlay.height > size[1]  # the legend is beneath
            assert np.asarray(classes).max() < len(PANNUKE.classes)
        with Image.open(folder / f"{name}_instances.tif") as ids:
            assert (ids.mode, ids.size) == ("I;16", size)
            count = np.asarray(ids).max()
        nuclei = json.loads((folder / f"{name}_nuclei.geojson").read_text(encoding="utf-8"))
        assert len(nuclei["features"]) == count
    volume = nib.load(folder / "volume_classes.nii.gz")
    assert volume.shape == (96, 64)
    assert volume.affine[0, 0] == 0.25


def test_inference_reports_and_counts_the_unreadable_one_and_fails_at_the_end(inferred: Trained) -> None:
    folder, done = inferred
    assert done.returncode == 1
    assert last_line(done) == "ERROR: 1 of 4 images could not be read and have no result: notes.png"
    *_, picture, viewer = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    assert picture.endswith(f"picture  {folder / 'field_overlay.png'}")
    assert viewer.endswith(f"viewer   python -m monch_monai view {folder}")
    assert not (folder / "notes_classes.png").exists()
    with (folder / "summary.csv").open(encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"field.png", "scrap.tif", "volume.nii.gz", "notes.png"}
    assert sum(int(rows["field.png"][c.name]) for c in PANNUKE.classes) == 300 * 320
    factors = [float(factor) for factor in rows["field.png"]["optical_density_times"].split()]
    assert len(factors) == 3
    assert max(factors) <= 1
    assert min(factors) < 1
    nuclei = json.loads((folder / "field_nuclei.geojson").read_text(encoding="utf-8"))["features"]
    assert sum(int(rows["field.png"][f"{c.name} nuclei"]) for c in PANNUKE.classes[1:]) == len(nuclei)
    assert "cannot be read" in rows["notes.png"]["error"]


def test_inference_lightens_what_is_darker_than_the_tissue_trained_on(
    trained: Trained, told: Path, tmp_path: Path
) -> None:
    tissue = synthetic_tile(np.random.default_rng(1)).image
    dark, darker = (tmp_path / name for name in ("dark.png", "darker.png"))
    for path, factor in ((dark, 1.3), (darker, 1.8)):
        Image.fromarray(lightened(tissue, (factor,) * 3)).save(path)

    def seen(path: Path, **settings: object) -> torch.Tensor:
        parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "inference.json"))
        parser.update({"checkpoint": str(told), **settings})
        return parser.get_parsed_content("preprocessing")({"image": str(path)})["image"]

    as_it_is = seen(darker, lighten=False)
    apart = (as_it_is - seen(dark, lighten=False)).abs().mean()
    assert (seen(darker) - seen(dark)).abs().mean() < 0.4 * apart  # means are of 8 µm, so not to the last
    assert (seen(darker) > as_it_is + 0.1).float().mean() > 0.5
    assert torch.equal(seen(darker, reference_density=None), as_it_is)
    small_tiles = str(trained[0] / "best.pt")  # too small to tell how dark tissue is
    assert torch.equal(seen(darker, checkpoint=small_tiles), as_it_is)


@pytest.mark.parametrize("lighten", [False, True])
def test_evaluation_takes_tiles_as_they_are_unless_asked(told: Path, lighten: bool) -> None:
    parser = ConfigParser(ConfigParser.load_config_files([CONFIGS / "train.json", CONFIGS / "evaluate.json"]))
    parser.update({"checkpoint": str(told), **({"lighten": True} if lighten else {})})
    (lightener,) = _lighteners(parser.get_parsed_content("validate#preprocessing"))
    assert (lightener.reference_density is not None) == lighten


@pytest.mark.parametrize("goes_on", [False, True])
def test_training_sees_tiles_as_inference_will_where_it_goes_on(told: Path, dataset: Path, goes_on: bool) -> None:
    parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
    parser.update({"dataset_dir": str(dataset), "encoder_weights": "none", "resume": True})
    parser.update({"checkpoint": str(told)} if goes_on else {})
    known = pytest.approx([0.12, 0.36, 0.2]) if goes_on else None
    for part in ("train", "validate"):
        (lightener,) = _lighteners(parser.get_parsed_content(f"{part}#preprocessing"))
        assert lightener.reference_density == known
    assert parser.get_parsed_content("recorded_density") == known


def _lighteners(preprocessing: Compose) -> list[LightenTissued]:
    return [transform for transform in preprocessing.transforms if isinstance(transform, LightenTissued)]


def test_inference_leaves_no_part_behind(inferred: Trained) -> None:
    assert not [p for p in inferred[0].iterdir() if p.name.startswith(".")]


@pytest.mark.slow
def test_a_yaml_overlay_runs(trained: Trained, dataset: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("epochs: 1\nnetwork_def#topology: false\n", encoding="utf-8")
    done = run_bundle(
        "--config_file", f"['{CONFIGS}/train.json','{overlay}']", "--dataset_dir", dataset,
        "--output_dir", tmp_path / "out", "--batch_size", 2, "--encoder_weights", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "out" / "best.pt", weights_only=True)
    assert not [name for name in state if name.startswith("features.topo.reduce")]


OLD_START = {
    "start": {"_target_": "monch_monai.runs.Run", "kind": "training", "output_dir": "@output_dir", "device": "@device",
              "seed": "@seed", "resume": "@resume", "counts": {"epochs": "@epochs"}},
    "training": ["$@start", "$@tiles", "$@record"],
}  # fmt: skip
"""As train.json had it before 0.2.0."""
REFUSALS = {
    "unknown setting": ("train", ["--epoch", 1], "--epoch is not a setting of", "did you mean --epochs?"),
    "no epochs": ("train", ["--epochs", 0], "epochs is 0", "give a whole number of at least 1"),
    "a folder without a name": ("evaluate", ["--results_dir"], "results_dir is True", "give a path or a word"),
    "no resolution": ("inference", ["--mpp", 0], "mpp is 0", "give µm per pixel"),
    "no multiple": ("inference_wsi", ["--region_size", 1000], "region_size is 1000", "give a multiple of 512"),
    "unknown run": (
        "inference",
        ["--run_id", "segmenting"],
        "run_id is 'segmenting', which is not in",
        "give inferring",
    ),
    "earlier config": ("old", [], "is of a version before 0.2.0", "use this version's configs"),
}
QUICK_REFUSALS = {
    "missing folder": (["--dataset_dir", "nowhere"], "dataset_dir nowhere is not a folder", "give the folder"),
    "wrong shape": (["--dataset_dir", "{wrong}"], "images.npy holds uint8 [4, 64, 64]", "prepare the dataset again"),
    "unknown weights": (["--encoder_weights", "clap"], "encoder_weights 'clap' is neither", "nor a file"),
    "empty folder": (["--dataset_dir", "{empty}"], "is empty", "give the folder of a prepared dataset"),
    "missing device": (["--device", "cuda:99"], "device 'cuda:99' cannot be used", "give --device cpu"),
    "device of no numbers": (["--device", "meta"], "device 'meta' cannot be used", "give --device cpu"),
    "nothing to resume": (["--resume", "true"], "nothing to resume", "leave --resume out"),
    "resume in words": (["--resume", "yes"], "resume is 'yes'", "give true or false"),
    "unknown argument": (["--train#trainer#max_epoch", 1], "not a setting", "did you mean --train#trainer#max_epochs?"),
    "another word": (["--lr", 1e-3], "--lr is not a setting", "did you mean --learning_rate?"),
    "epochs in words": (["--epochs", "abc"], "epochs is 'abc'", "give a whole number of at least 1"),
    "words for numbers": (["--batch_size", "many"], "batch_size is 'many'", "give a whole number"),
    "no rate": (["--learning_rate", math.nan], "learning_rate is", "give a number above 0"),
    "range upside down": (["--density_range", (2, 1)], "density_range is (2, 1)", "give two numbers above 0"),
    "negative seed": (["--seed", -1], "seed is -1", "give a whole number of at least 0"),
    "neither true nor false": (["--amp", "maybe"], "amp is 'maybe'", "give true or false"),
    "wrong class": (["--dataset_dir", "{mislabelled}"], "classes.npy#1 holds 7", "its class map holds 0 to 5 and 255"),
    "missing checkpoint": (["--checkpoint", "no.pt"], "checkpoint no.pt does not exist", "give --checkpoint"),
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with an earlier training in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "best.pt").write_bytes(b"an earlier training")
    return folder


def untouched(folder: Path) -> bool:
    return [(p.name, p.read_bytes()) for p in folder.iterdir()] == [("best.pt", b"an earlier training")]


def arguments_for(given: list, dataset: Path, folder: Path, out: Path) -> dict[str, object]:
    """Command-line arguments of a training that should be refused, with the damaged datasets they name."""
    wrong, mislabelled, empty = (folder / name for name in ("wrong", "mislabelled", "empty"))
    empty.mkdir()
    if "{wrong}" in given:
        shutil.copytree(dataset, wrong)
        np.save(wrong / "train" / "images.npy", np.zeros((4, 64, 64), np.uint8))
    if "{mislabelled}" in given:
        shutil.copytree(dataset, mislabelled)
        np.load(mislabelled / "train" / "classes.npy", mmap_mode="r+")[1, 5, 5] = 7
    places = {"{wrong}": str(wrong), "{mislabelled}": str(mislabelled), "{empty}": str(empty)}
    replaced = [places.get(value, value) for value in given]
    arguments = {
        "--dataset_dir": str(dataset),
        "--encoder_weights": "none",
        "--output_dir": str(out),
        "--device": "cpu",
    }
    return arguments | dict(zip(replaced[::2], replaced[1::2], strict=True))


@pytest.mark.parametrize("case", REFUSALS)
def test_the_command_refuses_in_one_line_and_touches_nothing(case: str, tmp_path: Path, out: Path) -> None:
    name, given, problem, remedy = REFUSALS[case]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(OLD_START), encoding="utf-8")
    files = [CONFIGS / f"{name}.json"] if name.startswith("inference") else [CONFIGS / "train.json"]
    files += {"evaluate": [CONFIGS / "evaluate.json"], "old": [old]}.get(name, [])
    words = ["--config_file", str([str(file) for file in files]), "--output_dir", out, *given]
    run = run_bundle if case == "unknown setting" else fork_bundle
    done = run(*["training"] * (name in ("train", "old")), *words)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] == [last_line(done)]
    assert problem in last_line(done)
    assert remedy in last_line(done)
    assert "Traceback" not in done.stderr
    assert untouched(out)


@pytest.mark.parametrize("case", QUICK_REFUSALS)
def test_training_refuses_and_touches_nothing(
    case: str, dataset: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, problem, remedy = QUICK_REFUSALS[case]
    arguments = {"--config_file": str(CONFIGS / "train.json"), **arguments_for(given, dataset, tmp_path, out)}
    words = [str(x) for pair in arguments.items() for x in pair]
    monkeypatch.setattr(sys, "argv", [monai.bundle.__path__[0] + "/__main__.py", "run", "training", *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    settings = {name.removeprefix("--"): value for name, value in arguments.items() if "#" not in name}
    with pytest.raises((InputError, RuntimeError)) as caught:
        monai.bundle.run("training", logging_file=False, **settings)
    error = find_input_error(caught.value)
    assert problem in str(error)
    assert remedy in str(error)
    assert "\n" not in str(error)
    assert untouched(out)


def test_real_data_are_not_trained_on_from_random_weights_unasked(
    dataset: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    settings = {"dataset_dir": str(dataset), "output_dir": str(out), "device": "cpu"}
    with pytest.raises((InputError, RuntimeError)) as caught:
        monai.bundle.run("training", config_file=str(CONFIGS / "train.json"), logging_file=False, **settings)
    assert "HF_HUB_OFFLINE is set" in str(find_input_error(caught.value))
    assert str(find_input_error(caught.value)).endswith("or --encoder_weights none")
    assert untouched(out)


@pytest.mark.parametrize(("given", "problem"), [
    ("{folder}/notes.png", "none of the 1 images can be read"),
    ("{folder}/readme.txt", "is neither a folder nor an image"),
])  # fmt: skip
def test_inference_refuses_in_one_line(
    given: str, problem: str, trained: Trained, images: Path, tmp_path: Path
) -> None:
    done = fork_bundle(
        "--config_file", CONFIGS / "inference.json", "--dataset_dir", given.format(folder=images),
        "--output_dir", tmp_path / "out", "--checkpoint", trained[0] / "best.pt",
    )  # fmt: skip
    assert done.returncode == 1
    assert problem in last_line(done)
    assert "Traceback" not in done.stderr


def test_training_overwrites_nothing_and_writes_only_in_its_folder(dataset: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "best.pt").write_bytes(b"the first")
    (out / "mine.txt").write_text("not ours", encoding="utf-8")
    before = sorted((REPOSITORY / "bundle").rglob("*")), sorted(dataset.rglob("*"))
    done = run_bundle(
        "training", "--config_file", CONFIGS / "train.json", "--dataset_dir", dataset, "--output_dir", out,
        "--epochs", 1, "--batch_size", 4, "--encoder_weights", "none", cwd=elsewhere,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [p.read_bytes() for p in (out / "earlier").glob("*/best.pt")] == [b"the first"]
    assert (out / "mine.txt").is_file()
    assert not list(elsewhere.iterdir())
    assert (sorted((REPOSITORY / "bundle").rglob("*")), sorted(dataset.rglob("*"))) == before


def test_the_workflow_has_every_property(dataset: Path, tmp_path: Path) -> None:
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / "train.json"), workflow_type="train", logging_file=False,
        dataset_dir=str(dataset), output_dir=str(tmp_path), device="cpu", encoder_weights="none",
    )  # fmt: skip
    workflow.initialize()
    assert workflow.check_properties() == []


def test_the_inference_workflow_has_every_property(images: Path, trained: Trained, tmp_path: Path) -> None:
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / "inference.json"), workflow_type="inference", logging_file=False,
        dataset_dir=str(images), output_dir=str(tmp_path), device="cpu", checkpoint=str(trained[0] / "best.pt"),
    )  # fmt: skip
    workflow.initialize()
    assert workflow.check_properties() == []


def test_the_network_takes_and_gives_what_the_metadata_says() -> None:
    verify_net_in_out("network_def", CONFIGS / "metadata.json", CONFIGS / "inference.json", device="cpu")


def test_monai_loads_the_checkpoint_into_the_network(trained: Trained, tmp_path: Path) -> None:
    bundle = tmp_path / "monch"
    bundle.mkdir()
    (bundle / "configs").symlink_to(CONFIGS)
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").symlink_to(trained[0] / "best.pt")
    network = load_bundle("monch", bundle_dir=str(tmp_path), workflow_type="inference", source="github", device="cpu")
    state = torch.load(trained[0] / "best.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
