"""Names of settings: those that configs have, and the one that a wrong name was meant for."""

import difflib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from pydoc import locate
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser

from monch_monai.errors import InputError

SYNONYMS = {
    "lr": "learning_rate", "base_lr": "learning_rate", "workers": "num_workers", "threads": "num_workers",
    "input": "dataset_dir", "data": "dataset_dir", "images": "dataset_dir", "slides": "dataset_dir",
    "wsi": "dataset_dir", "output": "output_dir", "out": "output_dir", "save_dir": "output_dir",
    "model": "checkpoint", "ckpt": "checkpoint", "weights": "checkpoint", "gpu": "device", "cuda": "device",
    "batch": "batch_size", "bs": "batch_size", "fold": "split", "pixel_size": "mpp", "resolution": "mpp",
    "geojson": "nuclei", "outlines": "nuclei", "fp16": "amp", "half": "amp", "random_state": "seed",
    "early_stopping": "patience",
}  # fmt: skip
"""Names that others give to settings, which difflib does not find near."""
OF_MONAI = ("_meta_", "imports", "initialize", "run", "finalize")
"""Names that MONAI itself looks up in a config."""
_REFERENCE = re.compile(r"[@%](:*)(\w+(?:::\w+)*)")


def refuse_unknown(name: str, config: Mapping[str, Any], where: str, asked: str, data: bool = True) -> None:
    """Compares a name, such as `train#trainer#max_epochs`, with those that a config has.

    Args:
        name: as given; `+` before it is left out.
        config: merged, before anything is resolved.
        where: what the name is not a setting of, in the error.
        asked: how the error shows a name, such as `--{}`.
        data: whether the names in a dictionary that a component takes as an argument are compared too.

    Raises:
        InputError: neither the config nor, of a component, its arguments have the name; the error names one that is
            near.
    """
    known: Any = config
    inside = False
    for key in _keys(name):
        names = _names(known)
        if names is None or (inside and not data):
            return
        inside = inside or "_target_" in known
        if key not in names:
            near = _near(key, names)
            problem = f"{asked.format(name)} is not a setting of {where}"
            if near is None:
                raise InputError(f"{problem}: these list all settings")
            meant = re.sub(rf"{re.escape(key)}(?!.*{re.escape(key)})", near, name)
            raise InputError(f"{problem}: did you mean {asked.format(meant)}?")
        known = known.get(key)


def refuse_unused(files: list[str], merged: Mapping[str, Any]) -> None:
    """Compares the names in overlay configs with those of the configs before them.

    Args:
        files: configs in order; all names of the first are settings, and those of the configs beside it, for which
            overlays may be too.
        merged: all of them and the overrides, before anything is resolved.

    Raises:
        InputError: an overlay has a name that is no setting and that nothing in `merged` refers to.
    """
    beside = _beside(files) if len(files) > 1 else {}
    used = _REFERENCE.findall(json.dumps(merged, default=str).replace("#", "::"))
    for number, file in enumerate(files[1:], start=1):
        known = {**beside, **ConfigParser.load_config_files(files[:number])}
        for name in _settings(ConfigParser.load_config_file(file)):
            if not _is_used(_new_part(name, known), used):
                where = f"{files[:number]}, and nothing uses what {file} gives it"
                refuse_unknown(name, known, where, "{}", data=False)


def _beside(files: list[str]) -> dict[str, Any]:
    """Settings of the other configs in the first one's folder."""
    found: dict[str, Any] = {}
    for path in sorted({*Path(files[0]).parent.glob("*.json")} - {*map(Path, files)}):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no config
            continue
        found |= content if isinstance(content, dict) else {}
    return found


def _new_part(name: str, config: Any) -> str:
    """A name up to the first of its keys that the config does not have."""
    keys = _keys(name)
    for depth, key in enumerate(keys, start=1):
        if not isinstance(config, dict) or key not in config:
            return "::".join(keys[:depth])
        config = config[key]
    return "::".join(keys)


def _is_used(name: str, used: list[tuple[str, str]]) -> bool:
    """Whether a reference is to the name, to a part of it, or to what it is a part of."""
    for relative, other in used:
        if f"{other}::".startswith(f"{name}::") or f"{name}::".startswith(f"{other}::"):
            return True
        if relative and f"::{name}".endswith(f"::{other}"):
            return True
    return False


def _settings(content: Mapping[str, Any]) -> Iterator[str]:
    """Names that an overlay gives values to, but for descriptions and those of MONAI."""
    for name, value in content.items():
        keys = _keys(name)
        if keys[0] in OF_MONAI or any(key.startswith("_") for key in keys):
            continue
        if isinstance(value, list) and len(keys) == 1:  # which can be run
            continue
        if isinstance(value, dict) and value and "_target_" not in value:
            yield from (f"{name}#{inner}" for inner in _settings(value))
        else:
            yield name


def _keys(name: str) -> list[str]:
    return re.split(r"#|::", name.lstrip("+"))


def _names(config: Any) -> set[str] | None:
    """Keys that a part of a config can have: its own and, of a component, its arguments; None where all are allowed."""
    if not isinstance(config, dict):
        return None
    if "_target_" not in config:
        return set(config)
    target = locate(ConfigComponent(config).resolve_module_name())
    if not callable(target):
        return None
    arguments = inspect.signature(target).parameters
    if any(a.kind is inspect.Parameter.VAR_KEYWORD for a in arguments.values()):
        return None
    return set(config) | set(arguments) | {"_disabled_", "_mode_", "_requires_", "_desc_"}


def _near(key: str, names: set[str]) -> str | None:
    """The name that `key` is a misspelling of or another word for; None where there is none."""
    if SYNONYMS.get(key) in names:
        return SYNONYMS[key]
    settings = sorted(name for name in names if not name.startswith("_desc_"))
    return next(iter(difflib.get_close_matches(key, settings, n=1)), None)
