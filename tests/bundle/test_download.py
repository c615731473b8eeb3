"""The bundle as one gets it who never sees this repository: downloaded, run, loaded, exported, installed."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

import monch_monai
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.encoders import ClipResNet50
from monch_monai.networks import Monch, load_checkpoint
from tests.bundle.conftest import REPOSITORY
from tests.bundle.test_package import ZIP, run_script
from tests.fakes.network import noise
from tests.fakes.served import served
from tests.networks.test_export import run_without_the_package

pytestmark = pytest.mark.slow

SIZES = [(1, 256, 256), (1, 512, 384), (3, 256, 256)]
"""Batch, height, width."""
TOLERANCE, SHARE = 1e-4, 1e-4
"""Of logits, and the pixels that may exceed it: of neighbours in the graph that are equally near, rounding chooses."""


class Download(NamedTuple):
    """Where the bundle came to lie, and a folder elsewhere to run it from."""

    root: Path
    elsewhere: Path


def python(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python in a fresh process, without this repository on its path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BUNDLE_DOWNLOAD_SRC")}
    environment |= {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def run(download: Download, run_id: str, configs: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle run` of the downloaded configs, from elsewhere."""
    given = {"config_file": [str(download.root / "configs" / name) for name in configs], "bundle_root": download.root}
    words = [str(x) for name, value in {**given, "device": "cpu", **settings}.items() for x in (f"--{name}", value)]
    done = python("-m", "monai.bundle", "run", run_id, *words, cwd=download.elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Download:
    """The bundle, packaged with the weights of a network that nobody trained, served, and downloaded by MONAI."""
    folder = tmp_path_factory.mktemp("download")
    torch.manual_seed(0)
    torch.save(Monch(ClipResNet50()).state_dict(), folder / "best.pt")
    packaged = run_script("package_bundle.py", "--output", folder / "www", "--model", folder / "best.pt")
    assert packaged.returncode == 0, packaged.stderr
    (folder / "elsewhere").mkdir()
    (folder / "bundles").mkdir()
    with served(folder / "www") as address:
        done = python(
            "-m", "monai.bundle", "download", "--name", "monch", "--url", f"{address}/{ZIP}",
            "--bundle_dir", folder / "bundles", cwd=folder / "elsewhere",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Download(folder / "bundles" / "monch", folder / "elsewhere")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "field.png"
    Image.fromarray(synthetic_tile(np.random.default_rng(5), size=300).image[:, :280]).save(path)
    return path


@pytest.fixture(scope="module")
def trained(download: Download, dataset: Path) -> Path:
    """What the downloaded bundle leaves of one epoch on synthetic tiles."""
    out = download.elsewhere / "trained"
    run(
        download, "training", ["train.json"], dataset_dir=dataset, output_dir=out, epochs=1, batch_size=2,
        encoder_weights="none",
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def exported(download: Download, trained: Path) -> Path:
    """The trained network in every format."""
    out = download.elsewhere / "exported"
    run(download, "exporting", ["inference.json", "export.json"], checkpoint=trained / "best.pt", output_dir=out)
    assert {path.name for path in out.iterdir()} == {"model.ts", "model.pt2", "model.onnx"}
    return out


@pytest.fixture(scope="module")
def inferred(download: Download, trained: Path, image: Path) -> Path:
    out = download.elsewhere / "inferred"
    run(download, "run", ["inference.json"], dataset_dir=image, checkpoint=trained / "best.pt", output_dir=out)
    return out


def test_everything_lies_in_the_bundles_own_folder(download: Download) -> None:
    assert {path.name for path in download.root.parent.iterdir()} == {"monch", "monch.zip"}
    assert {"configs", "docs", "models", "monch_monai", "LICENSE"} <= {path.name for path in download.root.iterdir()}


def test_it_trains_from_any_folder(download: Download, trained: Path) -> None:
    with (trained / "history.csv").open(encoding="utf-8") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    assert (record["versions"]["monch"], record["commit"]) == (monch_monai.__version__, None)
    assert not (download.root / "output").exists()


def test_it_segments_an_image_from_any_folder(inferred: Path) -> None:
    with Image.open(inferred / "field_classes.png") as classes:
        assert classes.size == (280, 300)
    assert {"field_instances.tif", "field_nuclei.geojson", "field_overlay.png", "summary.csv"} <= {
        path.name for path in inferred.iterdir()
    }


def test_the_last_lines_name_the_picture_and_a_command_of_the_viewer_that_runs_from_there(
    download: Download, inferred: Path, tmp_path: Path
) -> None:
    *_, picture, viewer = (inferred / "log.txt").read_text(encoding="utf-8").splitlines()
    assert picture.endswith(f" {inferred / 'field_overlay.png'}")
    command = viewer.partition("viewer ")[2].strip()
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", f"{command} --export {tmp_path / 'page'}"], cwd=download.elsewhere, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page" / "index.html").is_file()


def test_what_is_exported_gives_eager_logits_without_this_package(
    trained: Path, exported: Path, tmp_path: Path
) -> None:
    network = Monch(ClipResNet50()).eval()
    load_checkpoint(network, trained / "best.pt")
    images = [noise(batch, 3, height, width, seed=i) for i, (batch, height, width) in enumerate(SIZES)]
    answers, about = run_without_the_package(exported, images, tmp_path)
    assert set(answers) == {"model.ts", "model.pt2", "model.onnx"}
    with torch.inference_mode():
        expected = [network(image) for image in images]
    for name, logits in answers.items():
        for size, answer, right in zip(SIZES, logits, expected, strict=True):
            difference = (answer - right).abs().amax(dim=1)  # [B, H, W]
            beyond = float((difference > TOLERANCE).double().mean())
            print(f"{name} {size}: largest {float(difference.max()):.1e}, {beyond:.4%} of pixels beyond {TOLERANCE}")
            assert beyond <= SHARE, (name, size)
    assert all(float(right.abs().max()) > 0.1 for right in expected)
    assert json.loads(about["model.onnx"]["provenance"])["encoder"] == "clip_rn50"
    assert json.loads(about["model.onnx"]["mean"])[0] == pytest.approx(0.48145466)


def test_onnx_runtime_segments_as_pytorch_does(
    download: Download, exported: Path, inferred: Path, image: Path, tmp_path: Path
) -> None:
    run(
        download, "run", ["inference.json", "export/onnx.json"], dataset_dir=image, output_dir=tmp_path,
        onnx_file=exported / "model.onnx",
    )  # fmt: skip
    with Image.open(tmp_path / "field_classes.png") as ours, Image.open(inferred / "field_classes.png") as theirs:
        assert (np.asarray(ours) != np.asarray(theirs)).mean() <= SHARE
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["provenance"]["encoder"] == "clip_rn50"
    assert record["checkpoint"]["file"].endswith("model.onnx")


def test_without_tensorrt_its_overlay_leaves_the_network_to_pytorch(download: Download) -> None:
    parser = ConfigParser()
    parser.read_config([download.root / "configs" / name for name in ("inference.json", "export/tensorrt.json")])
    parser.update({"checkpoint": str(download.root / "models" / "model.pt"), "device": "cpu"})
    network = parser.get_parsed_content("network")
    assert network is parser.get_parsed_content("network_def")
    assert network.provenance.encoder == "clip_rn50"


DOORS = Path(__file__).with_name("doors.py").read_text(encoding="utf-8")
OPENED = {
    "loaded": True,
    "overridden": [2, 1],
    **{kind: {"version": monch_monai.__version__, "lacks": []} for kind in ("train", "inference")},
}


def test_every_door_of_monai_opens_in_the_bundles_folder(
    download: Download, dataset: Path, image: Path, tmp_path: Path
) -> None:
    done = python("-c", DOORS, download.root, dataset, image, tmp_path, "exports", cwd=download.root)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {**OPENED, "package": str(download.root / "monch_monai" / "__init__.py")}
    network = Monch(ClipResNet50()).eval()
    load_checkpoint(network, download.root / "models" / "model.pt")
    images = noise(2, 3, 192, 320)
    with torch.inference_mode():
        expected, traced = network(images), torch.jit.load(tmp_path / "monai.ts")(images)
    assert ((traced - expected).abs().amax(dim=1) > TOLERANCE).double().mean() <= SHARE
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(tmp_path / "monai.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": images.numpy()})
    assert (np.abs(logits - expected.numpy()).max(axis=1) > TOLERANCE).mean() <= SHARE


def test_installed_by_pip_every_door_opens_in_any_folder(
    download: Download, dataset: Path, image: Path, tmp_path: Path
) -> None:
    def at_once(*command: object) -> None:
        subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=True)

    environment = tmp_path / "environment"
    at_once(sys.executable, "-m", "venv", "--without-pip", environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    own = {path for path in sys.path if path.endswith("-packages")}
    (packages / "beside.pth").write_text("\n".join(sorted(own)), encoding="utf-8")  # torch and the rest, from here
    interpreter = environment / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    at_once(sys.executable, "-m", "pip", "--python", interpreter, *install, download.root)

    installed = {path.relative_to(packages).as_posix() for path in (packages / "monch_monai").rglob("*")}
    package = subprocess.run(
        ["git", "ls-files", "monch_monai"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(package) <= installed

    script = [str(interpreter), "-W", "ignore", "-c", DOORS, *map(str, (download.root, dataset, image, tmp_path))]
    done = subprocess.run(
        script, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {**OPENED, "package": str(packages / "monch_monai/__init__.py")}
