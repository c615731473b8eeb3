"""The recipe of a training: what it does that others may do otherwise, as plain JSON."""

import json
from collections.abc import Mapping
from typing import Any

OF_ONE_RUN = (
    "seed", "split", "folds", "device", "num_workers", "resume", "without_tensorboard", "evaluated_part",
    "reference_density",
)  # fmt: skip
"""Recorded settings that differ between runs of one method."""
RECORDED_ELSEWHERE = ("prompts", "text_encoder", "instance_norm", "normalisation")
"""Recorded settings that a provenance has fields for."""
PARTS = ("loss", "optimizer", "lr_scheduler", "ema", "train#preprocessing")
"""Parts of a training's config that belong to its method."""


def recipe(settings: Mapping[str, Any], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a training does that others may do otherwise: its recorded settings, and `PARTS` of its config.

    Args:
        settings: as recorded; those of one run alone, and those that a provenance has fields for, are left out.
        config: merged, before anything is resolved; None where no command line gave one.

    Returns:
        Plain JSON by name, without descriptions.
    """
    found = {n: v for n, v in settings.items() if n not in (*OF_ONE_RUN, *RECORDED_ELSEWHERE)}
    for name in PARTS if config is not None else ():
        part: Any = config
        for key in name.split("#"):
            part = part.get(key) if isinstance(part, Mapping) else None
        if part is not None:
            found[name] = part
    plain: dict[str, Any] = without_descriptions(json.loads(json.dumps(found, default=str)))
    return plain


def without_descriptions(config: Any) -> Any:
    """Part of a config without its `_desc_` entries."""
    if isinstance(config, Mapping):
        return {n: without_descriptions(v) for n, v in config.items() if not n.startswith("_desc_")}
    return [without_descriptions(v) for v in config] if isinstance(config, list | tuple) else config
