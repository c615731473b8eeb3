"""What each setting of the configs may be: one table, from a setting's name to its check."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from monch_monai.data.tiles import PARTS
from monch_monai.device import check_device
from monch_monai.encoders import NORMALISATIONS, TEXT_ENCODERS
from monch_monai.errors import InputError, shown
from monch_monai.geometry import COARSEST_MPP, FINEST_MPP
from monch_monai.networks.pretrained import PROMPTS
from monch_monai.predict.engines import chosen_engine
from monch_monai.predict.lattice import LEAST_TILE, MOST_OVERLAP
from monch_monai.settings import by_channel, factor_range, flag, fraction, multiple, number, text, whole_number, word
from monch_monai.writers import TILE, chosen_formats

Check = Callable[[str, Any], Any]


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _split(name: str, value: str | int) -> str | int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}; give the number or the name of a split, such as 1")
    return value


def _formats(name: str, value: Any) -> Any:
    for given in value if isinstance(value, list | tuple) and value else [value]:
        if not isinstance(given, str):
            raise InputError(f"{name} is {shown(value)}; give words, as [torchscript,onnx]")
    return value


def _paths(name: str, value: Any) -> Any:
    """One path, or a list of them; None where it is not given."""
    for path in value if isinstance(value, list | tuple) and value else [value]:
        _optional(text)(name, path)
    return value


def _weights(name: str, value: Any) -> Any:
    """Numbers above 0 in a list; how many, the datasets say."""
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{name} is {shown(value)}; give numbers above 0, one for each of dataset_dir, as [1,3]")
    return [number(name, weight, above=0) for weight in value]


MOST_EPOCHS, MOST_SEED = 100_000, 2**32 - 1
"""The bounds are what no one needs, but for a seed, whose bound is NumPy's."""
_EPOCH = partial(whole_number, least=1, most=MOST_EPOCHS)
_TILES = partial(whole_number, least=1, most=65_536)
_CORES = partial(whole_number, least=1, most=4096)
_WORKERS = partial(whole_number, least=0, most=256)
_MPP = partial(number, least=FINEST_MPP, most=COARSEST_MPP, unit="µm per pixel (40x is about 0.25), ")


def _engine(value: str) -> str:
    if value in ("local", "ray"):
        raise InputError(f"engine is {shown(value)}; give --cohort_engine {value}, its name of this version")
    chosen_engine(value)
    return value


RULES: dict[str, Check] = {
    "epochs": _EPOCH,
    "batch_size": _TILES,
    "accumulation_steps": _TILES,
    "val_interval": _EPOCH,
    "patience": partial(whole_number, least=0, most=MOST_EPOCHS),
    "learning_rate": _optional(partial(number, above=0, most=10)),
    "learning_rate_drop": _optional(_EPOCH),
    "layer_decay": fraction,
    "freeze": flag,
    "lora_rank": partial(whole_number, least=0, most=1024),
    "normalisation": partial(word, words=NORMALISATIONS),
    "prompts": partial(word, words=PROMPTS),
    "text_encoder": _optional(partial(word, words=[*TEXT_ENCODERS])),
    "augmentation": fraction,
    "flips": fraction,
    "stain_jitter": fraction,
    "sampling_strength": fraction,
    "dataset_weights": _optional(_weights),
    "density_range": partial(factor_range, most=100),
    "split": _split,
    "evaluated_part": partial(word, words=PARTS),
    "resume": flag,
    "without_tensorboard": flag,
    "seed": partial(whole_number, least=0, most=MOST_SEED),
    "amp": flag,
    "num_workers": _WORKERS,
    "device": lambda _, value: check_device(value),
    "lighten": flag,
    "mean": _optional(by_channel),
    "std": _optional(partial(by_channel, positive=True)),
    "words": _optional(text),
    "nuclei": flag,
    "nucleus_separation_um": partial(number, above=0, most=100, unit="µm, "),
    "nucleus_min_area_um2": partial(number, least=0, most=1e5, unit="µm², "),
    "mpp": _MPP,
    "overlap": partial(number, least=0, most=MOST_OVERLAP),
    "sw_batch_size": _TILES,
    "formats": _formats,
    "tissue": flag,
    "tissue_threshold": _optional(fraction),
    "tissue_min_area_mm2": partial(number, least=0, most=1e5, unit="mm², "),
    "gzip": flag,
    "write": chosen_formats,
    "features": flag,
    "tile_size": partial(whole_number, least=LEAST_TILE, most=8192),
    "region_size": partial(multiple, of=TILE, most=65_536),
    "nucleus_workers": _WORKERS,
    "compile": flag,
    "dry_run": flag,
    "recursive": flag,
    "workers_share": flag,
    "claim_limit_s": partial(number, least=1, most=86_400, unit="seconds, "),
    "engine": lambda _, value: _engine(value),
    "cohort_engine": partial(word, words=("local", "ray")),
    "ray_address": _optional(text),
    "num_cpus": _CORES,
    "num_gpus": partial(number, least=0, most=1024),
    "retries": partial(whole_number, least=0, most=1000),
    "ray_workers": _optional(_CORES),
}
"""Of every config but those of `SLIDE_RULES`, by name."""
SLIDE_RULES: dict[str, Check] = {
    "mpp": _optional(_MPP),
    "nuclei": _optional(text),
}
"""Settings that `inference_wsi.json` uses otherwise than `inference.json`."""
PATHS: dict[str, Check] = {
    **dict.fromkeys(("bundle_root", "output_dir", "onnx_file"), text),
    "dataset_dir": _paths,
    "results_dir": text,
    **dict.fromkeys(("classes", "checkpoint", "encoder_weights", "text_weights", "onnx"), _optional(text)),
}
"""Settings that other settings are made of, so that a command line is checked for them before any is resolved."""
_TEXT = re.compile(r"\w+_(dir|file|path|root)|path|folder|nuclei|words|ray_address|" + "|".join(PATHS))
FILES = {
    "checkpoint": "the file of a trained model",
    **dict.fromkeys(("onnx", "onnx_file"), "a file that export.json wrote"),
}
"""Settings that, where they are text, are files that must exist, each with what to give."""


def is_text(name: str) -> bool:
    """Whether a setting, or an argument of a component, is a path or other text, by its name."""
    return _TEXT.fullmatch(name) is not None


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
