import math

import pytest

from monch_monai.device import check_device
from monch_monai.errors import InputError
from monch_monai.runs.rules import RULES, SLIDE_RULES, check_settings

GOOD = {
    "training": {
        "epochs": 1, "patience": 0, "learning_rate": None, "learning_rate_drop": 3, "layer_decay": 1, "split": "all",
        "density_range": (0.7, 2), "prompts": "names", "evaluated_part": "test", "seed": 0, "device": "cpu",
        "text_encoder": "sentence",
    },
    "inference": {"mpp": 2.0, "overlap": 0.75, "nucleus_min_area_um2": 0, "formats": "onnx"},
    "slides": {
        "mpp": None, "overlap": 0.75, "nuclei": None, "tissue_threshold": None, "region_size": 1024, "num_gpus": 0.5,
        "ray_workers": None, "ray_address": "auto", "cohort_engine": "ray", "engine": "torch", "tile_size": 32,
    },
}  # fmt: skip
BAD = {
    "training": {
        "epochs": [0, 1.0, True, "3", None, math.nan], "patience": [-1, 0.5, 10**20], "learning_rate_drop": [0, 1.5],
        "learning_rate": [0, -1e-3, "a", math.inf], "layer_decay": [1.1, -0.1, math.nan, True], "lora_rank": [-1],
        "prompts": ["words", None, ["names"]], "augmentation": [2, "0.5"], "density_range": [[0, 1], [1, math.inf], 1],
        "text_encoder": ["clip", 1, True],
        "batch_size": [10**20],
        "split": [1.5, None, True, [1]], "evaluated_part": ["all", 1], "seed": [-1, 1.5, "x", 2**32],
        "num_workers": [-1, "two", 10**20], "amp": ["yes", 1, None], "device": ["gpu", "cuda:99", [1], None, "meta", 0],
    },
    "inference": {
        "mpp": [0, -1, math.nan, 2.1, "0.25", None, True], "overlap": [0.9, -1, math.nan, "a"], "nuclei": ["a.geojson"],
        "nucleus_separation_um": [0, math.inf], "nucleus_min_area_um2": [-1, "2"], "formats": [3, ["onnx", None], []],
    },
    "slides": {
        "mpp": [0, math.inf, "a"], "overlap": [0.8], "nuclei": [True, 5], "tissue_threshold": [2, "a"],
        "region_size": [512.0, 1000, 0, -512], "tile_size": [31, "256", 10**20],
        "engine": ["dask", None, "ray"], "cohort_engine": ["dask"],
        "num_gpus": [-1, math.nan], "nucleus_workers": [10**20],
        "ray_workers": [0, "all", 10**20], "ray_address": [5], "num_cpus": [0, 0.5],
        "retries": [-1], "gzip": ["yes"],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_what_a_setting_may_be_passes(kind):
    assert check_settings(kind, GOOD[kind]) == GOOD[kind]


CASES = [(kind, name, value) for kind in BAD for name, values in BAD[kind].items() for value in values]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_anything_else_is_refused_with_the_value_and_what_to_give(kind, name, value):
    with pytest.raises(InputError) as caught:
        check_settings(kind, {name: value})
    assert str(caught.value).startswith((f"{name} is {value!r}; give ", f"device {value!r} cannot be used ("))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["training", "slides"])
@pytest.mark.parametrize("value", [10**20, 1e300, -(10**400)], ids=["20 digits", "a float", "400 digits"])
def test_no_number_is_accepted_that_is_far_from_any_use(kind, value):
    for name in {**RULES, **(SLIDE_RULES if kind == "slides" else {})}.keys() - {"split"}:
        with pytest.raises(InputError) as caught:
            check_settings(kind, {name: value})
        assert len(str(caught.value)) < 250


def test_a_resolution_that_would_leave_no_pixel_is_refused():
    for kind in ("inference", "slides"):
        with pytest.raises(InputError, match="mpp is 1e-09; give µm per pixel"):
            check_settings(kind, {"mpp": 1e-9})


@pytest.mark.parametrize("device", ["gpu0", "x" * 500, "cuda:99", "hpu"])
def test_a_device_that_cannot_be_used_is_refused_in_a_short_line(device):
    with pytest.raises(InputError, match=r"give --device cpu$") as caught:
        check_device(device)
    assert len(f"ERROR: {caught.value}") <= 200


def test_flags_become_bool():
    assert check_settings("training", {"amp": "False", "resume": "true"}) == {"amp": False, "resume": True}
