"""What each setting of the configs may be: one table, from a setting's name to its check."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from monch_monai.cohort.work_folder import TILE
from monch_monai.data.tiles import PARTS
from monch_monai.encoders import TEXT_ENCODERS
from monch_monai.errors import InputError, one_line
from monch_monai.geometry import COARSEST_MPP
from monch_monai.networks.pretrained import PROMPTS
from monch_monai.predict.lattice import LEAST_TILE, MOST_OVERLAP
from monch_monai.settings import factor_range, flag, fraction, multiple, number, text, whole_number, word

Check = Callable[[str, Any], Any]


def check_device(device: str | torch.device) -> str | torch.device:
    """`device`, on which PyTorch can compute.

    Raises:
        InputError: `device` is no name of a device, or PyTorch cannot compute on it.
    """
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError("a device is a word")
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {device!r} cannot be used ({one_line(error, 100)}): give --device cpu") from error
    return device


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _split(name: str, value: str | int) -> str | int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; give the number or the name of a split, such as 1")
    return value


def _formats(name: str, value: Any) -> Any:
    for given in value if isinstance(value, list | tuple) and value else [value]:
        if not isinstance(given, str):
            raise InputError(f"{name} is {value!r}; give words, as [torchscript,onnx]")
    return value


def _paths(name: str, value: Any) -> Any:
    """One path, or a list of them; None where it is not given."""
    for path in value if isinstance(value, list | tuple) and value else [value]:
        _optional(text)(name, path)
    return value


_POSITIVE, _COUNT = partial(whole_number, least=1), partial(whole_number, least=0)
_WORKERS = partial(whole_number, least=0, most=1024)
_MPP = "µm per pixel (40x is about 0.25), "

RULES: dict[str, Check] = {
    "epochs": _POSITIVE,
    "batch_size": _POSITIVE,
    "accumulation_steps": _POSITIVE,
    "val_interval": _POSITIVE,
    "patience": _COUNT,
    "learning_rate": _optional(partial(number, above=0, most=100)),
    "learning_rate_drop": _optional(_POSITIVE),
    "layer_decay": fraction,
    "freeze": flag,
    "lora_rank": _COUNT,
    "instance_norm": flag,
    "prompts": partial(word, words=PROMPTS),
    "text_encoder": _optional(partial(word, words=[*TEXT_ENCODERS])),
    "augmentation": fraction,
    "stain_jitter": fraction,
    "sampling_strength": fraction,
    "density_range": factor_range,
    "split": _split,
    "evaluated_part": partial(word, words=PARTS),
    "resume": flag,
    "without_tensorboard": flag,
    "seed": partial(whole_number, least=0, most=2**32 - 1),
    "amp": flag,
    "num_workers": _WORKERS,
    "device": lambda _, value: check_device(value),
    "lighten": flag,
    "nuclei": flag,
    "nucleus_separation_um": partial(number, above=0, most=1000, unit="µm, "),
    "nucleus_min_area_um2": partial(number, least=0, most=1e6, unit="µm², "),
    "mpp": partial(number, above=0, most=COARSEST_MPP, unit=_MPP),
    "overlap": partial(number, least=0, most=MOST_OVERLAP),
    "sw_batch_size": _POSITIVE,
    "formats": _formats,
    "tissue": flag,
    "tissue_threshold": _optional(fraction),
    "tissue_min_area_mm2": partial(number, least=0, most=1e6, unit="mm², "),
    "gzip": flag,
    "tile_size": partial(whole_number, least=LEAST_TILE, most=16_384),
    "region_size": partial(multiple, of=TILE),
    "nucleus_workers": _WORKERS,
    "compile": flag,
    "dry_run": flag,
    "engine": partial(word, words=("local", "ray")),
    "ray_address": _optional(text),
    "num_cpus": _POSITIVE,
    "num_gpus": partial(number, least=0, most=1024),
    "retries": _COUNT,
    "ray_workers": _optional(_POSITIVE),
}
"""Of every config but those of `SLIDE_RULES`, by name."""
SLIDE_RULES: dict[str, Check] = {
    "mpp": _optional(partial(number, above=0, most=COARSEST_MPP, unit=_MPP)),
    "nuclei": _optional(text),
}
"""Settings that `inference_wsi.json` uses otherwise than `inference.json`."""
PATHS: dict[str, Check] = {
    "bundle_root": text,
    "output_dir": text,
    "dataset_dir": _paths,
    **dict.fromkeys(("classes", "words", "checkpoint", "encoder_weights", "text_weights", "onnx"), _optional(text)),
}
"""Settings that other settings are made of, so that a command line is checked for them before any is resolved."""


def check_settings(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, flags as bool.

    Args:
        kind: `training`, `evaluation`, `inference`, `slides` or `export`.
        settings: resolved, by name; one without a rule passes.

    Raises:
        InputError: a setting's value is against its rule.
    """
    rules = {**RULES, **SLIDE_RULES} if kind == "slides" else RULES
    return {name: rules[name](name, value) if name in rules else value for name, value in settings.items()}
