"""The page of settings, from the configs' `_desc_` entries: `python scripts/settings_page.py` writes it."""

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.runs.rules import PATHS, RULES, SLIDE_RULES

ROOT = Path(__file__).resolve().parents[1]
CONFIGS, PAGE = ROOT / "bundle" / "configs", ROOT / "bundle" / "docs" / "settings.md"
RUNS = {
    "train": ["train.json"], "evaluate": ["train.json", "evaluate.json"],
    "images": ["inference.json"], "slides": ["inference_wsi.json"],
    "export": ["inference.json", "export.json"], "onnx": ["inference.json", "export/onnx.json"],
}  # fmt: skip
"""Runs by their names on the page, and their configs in order."""
OWN = ("export", "onnx")
"""Runs of which the page has what their last config adds to the images' settings."""
HEAD = """# Settings

`python scripts/settings_page.py` writes this page from the `_desc_` entries of the configs. A setting follows the
command as `--NAME VALUE`, or is in an overlay: `--config_file "['configs/train.json','mine.yaml']"`, in JSON or YAML.

- *train* is `train.json`, *evaluate* is `train.json` and `evaluate.json`, *images* is `inference.json`, *slides* is
  `inference_wsi.json`. *Export* is `inference.json` and `export.json`, *onnx* is `inference.json` and
  `export/onnx.json`; both have the settings of *images* too.
- A name that is no setting is an error that names the nearest one. So is a name in an overlay that is no setting and
  that nothing refers to, and one given to `monai.bundle.run` from Python.
- A value that cannot be used is an error that states what was expected, before anything is read or written.
- Paths are taken as they are typed, `~` expanded: `--output_dir "Run #2"`, `20241128` and `a,b` are folders of these
  names.
- MONAI reads the path to a config before this package does. Put quotes within quotes where it has a `#`:
  `--config_file "'Run #2/train.json'"`. Begin one that starts with `$`, `@` or `%`, which are MONAI's, with `./`.
- The default *none* is `null` in the config.
- One process at a time trains or evaluates into a folder.
- A full disk, too little shared memory or a missing package end a command in one line, like any wrong input.

| setting | of | meaning | default |
|---|---|---|---|
"""


class Setting(NamedTuple):
    """A setting of a run as the page shows it."""

    name: str
    meaning: str
    default: str


def names(run: str) -> list[str]:
    """Settings that a run uses, in the order of its configs."""
    config = ConfigParser.load_config_files([CONFIGS / file for file in RUNS[run]])
    reached, waiting = set[str](), _references([config["run"], config.get("initialize")])
    while waiting:
        name = waiting.pop()
        if name in config and name not in reached:
            reached.add(name)
            waiting |= _references(config[name])
    if run in OWN:
        reached &= ConfigParser.load_config_file(CONFIGS / RUNS[run][-1]).keys()
    return [name for name in config if name in reached & {*RULES, *PATHS, *SLIDE_RULES}]


def _references(part: Any) -> set[str]:
    """Names that a part of a config refers to."""
    return {*re.findall(r"[@%]:*(\w+)", json.dumps(part))}


def settings(run: str) -> list[Setting]:
    """The settings of a run.

    Raises:
        KeyError: one has no `_desc_` in the last config that gives it a value.
    """
    configs = [ConfigParser.load_config_file(CONFIGS / file) for file in RUNS[run]]
    found = []
    for name in names(run):
        config = [config for config in configs if name in config][-1]
        meaning, _, default = config[f"_desc_{name}"].partition(" Default: ")
        found.append(Setting(name, meaning, default.rstrip(".") or json.dumps(config[name]).replace('"', "")))
    return found


def page() -> str:
    """The page as the configs have it; runs whose setting has the same meaning and default share a row."""
    rows: dict[Setting, list[str]] = {}
    for run in RUNS:
        for setting in settings(run):
            rows.setdefault(setting, []).append(run)
    order = [*dict.fromkeys(setting.name for setting in rows)]
    lines = []
    for setting in sorted(rows, key=lambda setting: order.index(setting.name)):
        meaning = re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", setting.meaning)
        cells = f"`--{setting.name}`", ", ".join(rows[setting]), meaning, setting.default
        lines.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
