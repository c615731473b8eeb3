"""The command line of `python -m monai.bundle run`, read once more: MONAI takes any override without a word."""

import difflib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

import monai.bundle
from fire.parser import DefaultParseValue
from monai.bundle import ConfigComponent, ConfigParser

from monch_monai.errors import InputError


class CommandLine:
    """Arguments of one `python -m monai.bundle run`, as Fire reads them.

    Args:
        arguments: what follows `run`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        given: dict[str, Any] = {}
        rest = list(arguments)
        while rest:
            token = rest.pop(0)
            if not _is_flag(token):
                continue  # the id to run
            name, has_value, value = token.lstrip("-").partition("=")
            if not has_value:
                value = rest.pop(0) if rest and not _is_flag(rest[0]) else "True"
            given[name.replace("-", "_")] = DefaultParseValue(value)
        if "args_file" in given:
            given = {**ConfigParser.load_config_files(given.pop("args_file")), **given}
        own = set(inspect.signature(monai.bundle.run).parameters) - {"override"}
        self.config_files = given.get("config_file", [])
        self.overrides = {name: value for name, value in given.items() if name not in own}

    @classmethod
    def of_this_process(cls) -> "CommandLine | None":
        """That of this process, or None where something else than `python -m monai.bundle run` runs it."""
        program = Path(sys.argv[0])
        is_bundle = program.name == "__main__.py" and program.parent.parts[-2:] == ("monai", "bundle")
        return cls(sys.argv[2:]) if is_bundle and sys.argv[1:2] == ["run"] else None

    def check(self) -> None:
        """Refuses an override of something that the config files do not have.

        Raises:
            InputError: with the nearest name they have.
        """
        config = ConfigParser.load_config_files(self.config_files)
        for name in self.overrides:
            known: Any = config
            for key in re.split(r"#|::", name.lstrip("+")):
                names = _names(known)
                if names is None:
                    break
                if key not in names:
                    nearest = difflib.get_close_matches(key, names, n=1, cutoff=0.0) or ["…"]
                    meant = re.sub(rf"{re.escape(key)}(?!.*{re.escape(key)})", nearest[0], name)
                    raise InputError(f"--{name} is not a setting of {self.config_files}: did you mean --{meant}?")
                known = known.get(key)

    def config(self) -> dict[str, Any]:
        """The config files merged, with the overrides, before anything is resolved."""
        parser = ConfigParser()
        parser.read_config(self.config_files)
        parser.update(pairs=self.overrides)
        merged: dict[str, Any] = parser.get()
        return merged


def _names(config: Any) -> set[str] | None:
    """What a part of a config can hold: its keys and, for a component, its arguments; None where anything goes."""
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


def _is_flag(token: str) -> bool:
    return re.match(r"--?[A-Za-z_+]", token) is not None
