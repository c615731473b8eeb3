"""The command line of `python -m monai.bundle run`, checked: MONAI itself accepts any override silently."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

import monai.bundle
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

from monch_monai.arguments import literal, path_text, path_texts
from monch_monai.errors import InputError, shown
from monch_monai.files import existing_file
from monch_monai.runs.rules import FILES, PATHS, is_text
from monch_monai.runs.setting_names import refuse_unknown, refuse_unused

OF_RUN = {*inspect.signature(monai.bundle.run).parameters, *inspect.signature(ConfigWorkflow).parameters} - {"override"}
"""Arguments of MONAI's own, which are no settings of a config."""


class CommandLine:
    """What one `monai.bundle.run` is given, by the words of a command line as Fire reads them, or from Python.

    Paths are what was typed, whole, their `~` expanded, where Fire would read `20241128` as a number, `a,b` as two
    words and `Case #3` as `Case`.

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
            name = name.replace("-", "_")
            if not has_value and (not rest or _is_flag(rest[0])):
                given[name] = True
            else:
                given[name] = read_setting(name, value if has_value else rest.pop(0))
        self._take(given, "--{}")

    @classmethod
    def of_python(cls, given: Mapping[str, Any]) -> "CommandLine":
        """What a call of `monai.bundle.run` or `create_workflow` was given."""
        line = cls.__new__(cls)
        line._take(given, "{}")
        return line

    def _take(self, given: Mapping[str, Any], shown_as: str) -> None:
        self.ignored = [name for name, value in given.items() if value is None and name not in OF_RUN]
        given = {name: value for name, value in given.items() if value is not None}  # as MONAI reads them
        if "args_file" in given:
            defaults = ConfigParser.load_config_files(given["args_file"])
            given = {**defaults, **{name: value for name, value in given.items() if name != "args_file"}}
        files = given.get("config_file", [])
        self.config_files: list[str] = [files] if isinstance(files, str) else [str(file) for file in files]
        self.ids = {name: given[name] for name in ("run_id", "init_id", "final_id") if name in given}
        self.overrides = {name: value for name, value in given.items() if name not in OF_RUN}
        self.shown_as = shown_as

    @classmethod
    def of_this_process(cls) -> "CommandLine | None":
        """The command line of this process; None where it is not `python -m monai.bundle run`."""
        program = Path(sys.argv[0])
        is_bundle = program.name == "__main__.py" and program.parent.parts[-2:] == ("monai", "bundle")
        return cls(sys.argv[2:]) if is_bundle and sys.argv[1:2] == ["run"] else None

    def check(self) -> None:
        """Refuses what no run could use, before any of it is resolved.

        Raises:
            InputError: an override is of a name that the config files do not have; the error names one that is near. It
                is None, where the config has another value. An overlay has a name that nothing uses. A path is no
                text. A file does not exist. The config does not have an id to run, or has another version's. This
                version does not have a component that the config names, or not with its arguments.
        """
        files = ConfigParser.load_config_files(self.config_files)
        for name in (*self.overrides, *self.ignored):
            refuse_unknown(name, files, f"{self.config_files}", self.shown_as)
        config = ConfigParser(self.config())
        refuse_unused(self.config_files, config.get())
        self._check_ids(config)
        self._check_ignored(config)
        for name in sorted(PATHS.keys() & self.overrides.keys()):
            PATHS[name](name, self.overrides[name])
        for name in FILES:
            if isinstance(config.get(name), str) and not config.get(name).startswith(("$", "@", "%")):
                path = path_text(config.get(name))
                existing_file(f"{name} {path}", path, f"give --{name} {FILES[name]}")
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

    def config(self) -> dict[str, Any]:
        """The config files merged, with the overrides, before anything is resolved."""
        parser = ConfigParser()
        parser.read_config(self.config_files)
        parser.update(pairs=self.overrides)
        merged: dict[str, Any] = parser.get()
        return merged


def read_setting(name: str, text: str) -> Any:
    """The value of a setting by what was typed: as Fire reads it, but paths and words whole."""
    if name in OF_RUN or text == "None":
        return DefaultParseValue(text)
    key = re.split(r"#|::", name)[-1]
    if not is_text(key) or (key == "nuclei" and text.lower() in ("true", "false")):
        return literal(text)
    if text.startswith(("$", "@", "%")):  # MONAI's
        return text
    return path_texts(text) if key == "dataset_dir" else path_text(text)


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


def _run_lists(config: dict[str, Any]) -> list[str]:
    return [name for name, value in config.items() if isinstance(value, list) and "$@start.start()" in value]


def _is_flag(token: str) -> bool:
    return re.match(r"--?[A-Za-z_+]", token) is not None
