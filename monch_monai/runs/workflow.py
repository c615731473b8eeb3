"""The config that runs: the command line is checked, and paths are put back as they were given."""

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser

from monch_monai.arguments import path_text
from monch_monai.errors import show_input_errors_in_one_line
from monch_monai.runs.command_line import CommandLine
from monch_monai.runs.rules import is_text


def check_command_line() -> None:
    """The first step of a run: checks what `monai.bundle.run` was given, and has the config use paths as they are.

    MONAI does not hand its steps what it was given, so they are found among its callers. Where `python -m monai.bundle
    run` runs the step, an `InputError` that ends the process is one line on stderr from then on.

    Raises:
        InputError: see `CommandLine.check`.
    """
    line = CommandLine.of_this_process()
    if line is not None:
        show_input_errors_in_one_line()
    frames = list(_callers())
    for frame in frames if line is None else ():
        if frame.f_code.co_name == "create_workflow" and frame.f_globals["__name__"] == "monai.bundle.scripts":
            arguments = frame.f_locals
            line = CommandLine.of_python({"config_file": arguments["config_file"], **arguments["_args"]})
    if line is not None:
        line.check()
    parser = next((p for frame in frames if isinstance(p := frame.f_locals.get("self"), ConfigParser)), None)
    if parser is not None:
        given = {} if line is None else {**dict(_texts(line.config())), **line.overrides}
        keep_paths(parser, given)


def keep_paths(parser: ConfigParser, given: dict[str, Any]) -> None:
    """Has a config that is about to be resolved use its paths whole: MONAI replaces `#` in any text by `::`.

    Expressions and references, which begin with `$`, `@` or `%`, stay MONAI's.

    Args:
        parser: of the config.
        given: values of settings by name, whole; others are as in the config. `~` at their beginning is expanded.
    """
    resolver = parser.ref_resolver
    given = {resolver.normalize_id(name.lstrip("+")): value for name, value in given.items()}
    for name, item in list(resolver.items.items()):
        keys = resolver.split_id(name)
        value = given.get(name, item.get_config() if is_text(keys[-1]) else None)
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if isinstance(value, list) and keys == ["dataset_dir"]:
            resolver.resolved_content[name] = [path_text(os.fspath(each)) for each in value]
        elif isinstance(value, str) and value[:1] not in ("$", "@", "%"):
            resolver.resolved_content[name] = path_text(value) if is_text(keys[-1]) else value
            _refer(parser, keys)


def _texts(config: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Paths in a config that is not resolved, by name."""
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, dict | list):
            yield from _texts(value, f"{name}{key}::")
        elif isinstance(value, str) and is_text(str(key)):
            yield f"{name}{key}", value


def _refer(parser: ConfigParser, keys: list[str]) -> None:
    """Replaces a value within other items by a reference to the value, which is resolved already."""
    for depth in range(1, len(keys)):
        item = parser.ref_resolver.items.get("::".join(keys[:depth]))
        node: Any = None if item is None else item.get_config()
        for key in keys[depth:-1]:
            node = node[int(key) if isinstance(node, list) else key]
        if isinstance(node, dict):
            node[keys[-1]] = "@" + "::".join(keys)


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
