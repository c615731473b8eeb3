"""The command line of `python -m monai.bundle run`, checked: MONAI itself accepts any override silently."""

import difflib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

import monai.bundle
from fire.parser import DefaultParseValue
from monai.bundle import ConfigComponent, ConfigParser

from monch_monai.errors import InputError, show_input_errors_in_one_line, shown
from monch_monai.files import existing_file
from monch_monai.runs.rules import FILES, PATHS

SYNONYMS = {
    "lr": "learning_rate", "workers": "num_workers", "input": "dataset_dir", "data": "dataset_dir",
    "output": "output_dir", "model": "checkpoint", "ckpt": "checkpoint", "gpu": "device", "batch": "batch_size",
}  # fmt: skip
"""Names that others give to settings, which difflib does not find near."""


class CommandLine:
    """Arguments of one `python -m monai.bundle run`, as Fire reads them.

    Args:
        arguments: the words after `run`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        given: dict[str, Any] = {}
        ids, rest = ["run_id", "init_id", "final_id"], list(arguments)
        while rest:
            token = rest.pop(0)
            if not _is_flag(token):
                if ids:
                    given[ids.pop(0)] = token
                continue
            name, has_value, value = token.lstrip("-").partition("=")
            if not has_value:
                value = rest.pop(0) if rest and not _is_flag(rest[0]) else "True"
            given[name.replace("-", "_")] = DefaultParseValue(value)
        own = set(inspect.signature(monai.bundle.run).parameters) - {"override"}
        self.ignored = [name for name, value in given.items() if value is None and name not in own]
        given = {name: value for name, value in given.items() if value is not None}  # as MONAI reads them
        if "args_file" in given:
            given = {**ConfigParser.load_config_files(given.pop("args_file")), **given}
        self.config_files = given.get("config_file", [])
        self.ids = {name: given[name] for name in ("run_id", "init_id", "final_id") if name in given}
        self.overrides = {name: value for name, value in given.items() if name not in own}

    @classmethod
    def of_this_process(cls) -> "CommandLine | None":
        """The command line of this process; None where it is not `python -m monai.bundle run`."""
        program = Path(sys.argv[0])
        is_bundle = program.name == "__main__.py" and program.parent.parts[-2:] == ("monai", "bundle")
        return cls(sys.argv[2:]) if is_bundle and sys.argv[1:2] == ["run"] else None

    def check(self) -> None:
        """Refuses what no run could use, before any of it is resolved.

        Raises:
            InputError: an override is of a name that the config files do not have, the error names one that is near; it
                is None, where the config has another value; a path is no text; a file does not exist; the config does
                not have an id to run, or has another version's; or this version does not have a component that the
                config names, or not with its arguments.
        """
        self._check_names()
        config = ConfigParser(self.config())
        self._check_ids(config)
        self._check_ignored(config)
        for name in sorted(PATHS.keys() & self.overrides.keys()):
            PATHS[name](name, self.overrides[name])
        for name in FILES:
            if isinstance(config.get(name), str) and not config.get(name).startswith(("$", "@", "%")):
                existing_file(f"{name} {config.get(name)}", config.get(name), f"give --{name} {FILES[name]}")
        for component in _own_components(config.get()):
            problem = _problem(component)
            if problem is not None:
                remedy = "use this version's configs (CHANGELOG.md lists what moved)"
                raise InputError(f"config {self.config_files} names {component['_target_']}, {problem}: {remedy}")

    def _check_ids(self, config: ConfigParser) -> None:
        for argument, name in self.ids.items():
            if name not in config:
                runs = f"give {' or '.join(_run_lists(config.get()))}, or " if argument == "run_id" else ""
                raise InputError(
                    f"{argument} is {shown(name)}, which is not in {self.config_files}: {runs}leave it out"
                )
        steps = config.get(self.ids.get("run_id", "run"))
        while isinstance(steps, str) and steps.startswith("%"):
            steps = config.get(steps.removeprefix("%"))
        if isinstance(steps, list) and "$@start" in steps:
            raise InputError(
                f"config {self.config_files} is of a version before 0.2.0: use this version's configs "
                "(CHANGELOG.md lists what moved)"
            )

    def _check_ignored(self, config: ConfigParser) -> None:
        """Refuses None on the command line, which MONAI ignores, where the config has another value."""
        for name in self.ignored:
            if config.get(name.lstrip("+")) is not None:
                remedy = "leave the setting out, or set it to null in a config file of your own"
                raise InputError(f"--{name} is None, for which MONAI takes the value of {self.config_files}: {remedy}")

    def _check_names(self) -> None:
        config = ConfigParser.load_config_files(self.config_files)
        for name in (*self.overrides, *self.ignored):
            known: Any = config
            for key in re.split(r"#|::", name.lstrip("+")):
                names = _names(known)
                if names is None:
                    break
                if key not in names:
                    near = _near(key, names)
                    if near is None:
                        raise InputError(f"--{name} is not a setting of {self.config_files}: these list all settings")
                    meant = re.sub(rf"{re.escape(key)}(?!.*{re.escape(key)})", near, name)
                    raise InputError(f"--{name} is not a setting of {self.config_files}: did you mean --{meant}?")
                known = known.get(key)

    def config(self) -> dict[str, Any]:
        """The config files merged, with the overrides, before anything is resolved."""
        parser = ConfigParser()
        parser.read_config(self.config_files)
        parser.update(pairs=self.overrides)
        merged: dict[str, Any] = parser.get()
        return merged


def check_command_line() -> None:
    """The first step of a run: where `python -m monai.bundle run` runs it, checks the command line.

    From then on an `InputError` that ends the process is one line on stderr.

    Raises:
        InputError: see `CommandLine.check`.
    """
    line = CommandLine.of_this_process()
    if line is not None:
        show_input_errors_in_one_line()
        line.check()


def _own_components(config: Any) -> Iterator[dict[str, Any]]:
    """Components of this package that a config names, whether or not it uses them."""
    if isinstance(config, dict) and str(config.get("_target_")).startswith("monch_monai."):
        yield config
    for part in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _own_components(part)


def _problem(component: dict[str, Any]) -> str | None:
    """What this version does not have of a component; None where it has all."""
    try:
        target = locate(component["_target_"])
    except ErrorDuringImport:  # of a package that is not installed: an error of the component that needs it
        return None
    if target is None:
        return "which this version does not have"
    if not callable(target) or component.get("_mode_", "default") != "default":
        return None
    arguments = inspect.signature(target).parameters.values()
    given = {name for name in component if not name.startswith("_")}
    missing = [a.name for a in arguments if a.default is a.empty and a.kind is a.POSITIONAL_OR_KEYWORD]
    if lacking := [name for name in missing if name not in given]:
        return f"which needs {lacking[0]}"
    if any(a.kind is a.VAR_KEYWORD for a in arguments):
        return None
    unknown = sorted(given - {a.name for a in arguments})
    return f"which takes no {unknown[0]}" if unknown else None


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


def _run_lists(config: dict[str, Any]) -> list[str]:
    return [name for name, value in config.items() if isinstance(value, list) and "$@start.start()" in value]


def _is_flag(token: str) -> bool:
    return re.match(r"--?[A-Za-z_+]", token) is not None
