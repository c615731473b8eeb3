"""MONAI Label's own app for bundles, on this bundle as it is packed: configs, models and the package in one folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bundle.conftest import REPOSITORY, run_bundle
from tests.label.conftest import FIELDS

pytestmark = pytest.mark.label
ASK = """
import json, sys
from monailabel.interfaces.utils.app import app_instance
app = app_instance(sys.argv[1], sys.argv[2], {"models": "monch", "zoo_source": "ngc", "sam2": "false"})
answer = app.infer({"model": "monch", "image": "field_a", "device": "cpu"})
print(json.dumps({"file": answer["file"], "labels": app.info()["models"]["monch"]["labels"]}))
"""


def test_a_mask_is_that_of_inference_json(small_bundle: Path, studies: Path, inference: Path, tmp_path: Path) -> None:
    packed = tmp_path / "monaibundle" / "model" / "monch"
    command = [
        sys.executable,
        "-m",
        "monailabel.main",
        "apps",
        "--download",
        "--name",
        "monaibundle",
        "--output",
        tmp_path,
    ]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copytree(small_bundle, packed)
    for part in ("monch_monai", "tests/fakes"):  # the small network is the tests'
        shutil.copytree(REPOSITORY / part, packed / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "studies").mkdir()
    shutil.copy(studies / "field_a.png", tmp_path / "studies")
    done = subprocess.run(
        [sys.executable, "-c", ASK, tmp_path / "monaibundle", tmp_path / "studies"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["labels"] == {"neoplastic": 1, "inflammatory": 2, "connective": 3, "dead": 4, "epithelial": 5}
    mask = np.asarray(Image.open(answer["file"]))
    Path(answer["file"]).unlink()
    assert mask.shape == FIELDS["field_a"][1::-1]
    assert mask.any()
    # That app runs the network as it is, inference with its normalisation fused: in bfloat16 a few pixels differ.
    as_it_is = tmp_path / "as_it_is.json"
    as_it_is.write_text('{"network": "$@network_def.to(device=@device, memory_format=torch.channels_last)"}')
    done = run_bundle(
        "--config_file", f"['{small_bundle / 'configs' / 'inference.json'}','{as_it_is}']",
        "--bundle_root", small_bundle, "--dataset_dir", tmp_path / "studies", "--output_dir", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    np.testing.assert_array_equal(mask, np.asarray(Image.open(tmp_path / "out" / "field_a_classes.png")))
    assert (mask != np.asarray(Image.open(inference / "field_a_classes.png"))).mean() < 1e-3
