import json
import statistics

import pytest
import torch

from monch_monai.predict import MixedPrecisionInferer
from monch_monai.report import inference_time, measure_inference

KEYS = [
    "median_ms", "quartiles_ms", "per", "tile_size", "batch_size", "repeats", "device", "device_name", "threads",
    "precision",
]  # fmt: skip


class Counting(torch.nn.Module):
    """Remembers the shapes of its inputs."""

    def __init__(self):
        super().__init__()
        self.shapes, self.modes = [], []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        self.modes.append((self.training, torch.is_inference_mode_enabled()))
        return image


def measure(folder, network=None, **settings):
    settings = {"amp": False, "tile_size": 32, "repeats": 3, **settings}
    network = network or Counting()
    path = measure_inference(folder, network, MixedPrecisionInferer(amp=settings["amp"]), "cpu", **settings)
    assert path == folder / "inference_time.json"
    return json.loads(path.read_text())


def test_the_time_stands_with_its_conditions(tmp_path):
    record = measure(tmp_path, batch_size=2)
    assert list(record) == KEYS
    assert [record[key] for key in ("per", "tile_size", "batch_size", "repeats", "device")] == ["tile", 32, 2, 3, "cpu"]
    assert record["threads"] == torch.get_num_threads()


def test_five_runs_warm_up_and_the_rest_count(tmp_path):
    network = Counting()
    measure(tmp_path, network, repeats=7, batch_size=2)
    assert network.shapes == [(2, 3, 32, 32)] * (5 + 7)
    assert set(network.modes) == {(False, True)}  # as in an evaluation


@pytest.mark.parametrize("batch_size", [1, 4])
def test_median_and_quartiles_are_of_the_runs_after_the_warm_up_and_of_one_tile(batch_size, tmp_path, monkeypatch):
    seconds = iter([9, 9, 9, 9, 9, 0.010, 0.030, 0.020, 0.050, 0.040])
    monkeypatch.setattr(inference_time, "_seconds", lambda run, device: next(seconds))
    record = measure(tmp_path, repeats=5, batch_size=batch_size)
    low, middle, high = (q / batch_size for q in statistics.quantiles([10, 20, 30, 40, 50], n=4))
    assert record["median_ms"] == pytest.approx(30 / batch_size) == pytest.approx(middle)
    assert record["quartiles_ms"] == pytest.approx([low, high])


def test_times_are_positive_and_in_order(tmp_path):
    record = measure(tmp_path)
    low, high = record["quartiles_ms"]
    assert 0 < low <= record["median_ms"] <= high


def test_a_second_counts_from_before_to_after_the_run(monkeypatch):
    clock = iter([100.0, 100.25])
    monkeypatch.setattr(inference_time.time, "perf_counter", lambda: next(clock))
    ran = []
    assert inference_time._seconds(lambda: ran.append(1), "cpu") == 0.25
    assert ran == [1]


@pytest.mark.parametrize(
    ("amp", "able", "precision"),
    [
        (True, True, "bfloat16 autocast"),
        (True, False, "float32"),
        (False, True, "float32"),
        ("true", True, "bfloat16 autocast"),
        ("false", True, "float32"),  # as a command line hands it on
    ],
)
def test_the_precision_is_that_of_the_inferer(amp, able, precision, tmp_path, monkeypatch):
    for module in ("monch_monai.predict.precision", "monch_monai.report.inference_time"):
        monkeypatch.setattr(f"{module}.has_fast_bfloat16", lambda device: able)
    types = set()

    class Layer(torch.nn.Conv2d):
        def forward(self, image):
            out = super().forward(image)
            types.add(out.dtype)
            return out

    record = measure(tmp_path, Layer(3, 4, 1), amp=amp)
    assert record["precision"] == precision
    assert types == {torch.bfloat16 if precision.startswith("bf") else torch.float32}
