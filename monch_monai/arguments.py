"""Arguments of command lines by their functions' annotations: paths and words are text, whole, whatever Fire would read
in them.
"""

import ast
import inspect
import os
import re
import shlex
import site
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import fire
from fire.decorators import SetParseFn, SetParseFns
from fire.parser import DefaultParseValue

from monch_monai.errors import InputError

Parser = Callable[[str], Any]
FIRES_OWN = ("help", "verbose", "trace", "interactive", "separator", "completion")
"""Flags of Fire itself."""


def path_text(text: str) -> str:
    """A path as it was typed, `~` and `~USER` at its beginning expanded, which shells leave after `=`.

    What names no user stays, as in shells.
    """
    return os.path.expanduser(text)  # noqa: PTH111 (Path.expanduser raises where there is no such user)


def path_texts(text: str) -> str | list[str]:
    """One path, or the paths of a list in brackets, such as `[DIR,DIR]`; what exists is a path, whatever its name."""
    whole = path_text(text)
    if not (text.startswith("[") and text.endswith("]")) or Path(whole).exists():
        return whole
    try:
        items = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):  # without quotes
        items = [item.strip().strip("'\"") for item in text[1:-1].split(",")] if text[1:-1].strip() else []
    return [path_text(item) for item in items]


def literal(text: str) -> Any:
    """What Fire reads in a value, but where that is text, all of it: Fire leaves out what follows a `#`."""
    read = DefaultParseValue(text)
    return text if isinstance(read, str) and text[:1] not in ("'", '"') else read


def shell_command(command: str, *paths: str | Path) -> str:
    """A command of this package as it is pasted into a shell in the current folder, with its paths quoted.

    Where the package is neither installed nor in the current folder, as beside the configs of a bundle that runs from
    elsewhere, the command goes to the package's folder first, and paths are absolute.
    """
    holder, here = Path(__file__).resolve().parents[1], Path.cwd()
    if holder == here or _is_installed(holder):
        words = [f"./{path}" if str(path).startswith(("-", "~")) else str(path) for path in paths]
        return f"python -m monch_monai {command} {shlex.join(words)}"
    moved = shlex.join(str(here / path) for path in paths)
    return f"cd {shlex.quote(str(holder))} && python -m monch_monai {command} {moved}"


def _is_installed(holder: Path) -> bool:
    """Whether Python finds the package of a folder from any other."""
    sites = [*site.getsitepackages(), site.getusersitepackages()]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if any(Path(folder).resolve() == holder for folder in (*sites, *given) if Path(folder).is_absolute()):
        return True
    return any(distributions(name="monch-monai", path=sites))


def run(component: Any, name: str, words: Sequence[str] | None = None, **settings: Any) -> None:
    """Runs a function, or one of a dictionary or object of functions, by the words of a command line, with Fire.

    Args:
        component: the function or functions. An argument annotated as `Path` is a path, one annotated as `str` is text.
        name: of the program.
        words: of the command line; None takes those of this process.
        settings: of `fire.Fire`.

    Raises:
        InputError: a flag is none of the function's, the error names the nearest; or it is without a value or an empty
            path.
    """
    words = sys.argv[1:] if words is None else list(words)
    functions = _functions(component)
    for each in functions.values():
        _annotate(each)
    command = "" if inspect.isroutine(component) else words[0] if words else ""
    function = functions.get(command.replace("-", "_"))
    if function is not None:
        _check_flags(command or name, function, words[bool(command) :])
    fire.Fire(component, command=list(words), name=name, **settings)


def _functions(component: Any) -> dict[str, Callable[..., Any]]:
    if inspect.isroutine(component):
        return {"": component}
    if isinstance(component, dict):
        return dict(component)
    return {name: function for name, function in inspect.getmembers(component, inspect.ismethod) if name[0] != "_"}


def _annotate(function: Callable[..., Any]) -> None:
    """Makes Fire read a function's arguments by their annotations."""
    function = getattr(function, "__func__", function)
    arguments = inspect.signature(function, eval_str=True).parameters.values()
    SetParseFns(**{a.name: _parser(a.name, a.annotation) for a in arguments})(function)
    for argument in arguments:
        if argument.kind is argument.VAR_POSITIONAL:
            SetParseFn(_parser(argument.name, argument.annotation))(function)


def _parser(name: str, annotation: Any) -> Parser:
    kinds = re.findall(r"\w+", annotation.__name__ if isinstance(annotation, type) else str(annotation))
    if "Path" in kinds:
        return _path_parser(name, path_texts if {"list", "Sequence"} & {*kinds} else path_text)
    return str if "str" in kinds and {*kinds} <= {"str", "None"} else literal


def _path_parser(name: str, read: Callable[[str], str | list[str]]) -> Parser:
    def parse(text: str) -> Path | list[Path]:
        if not text:
            raise InputError(f"{name} is empty: give a path")
        found = read(text)
        return Path(found) if isinstance(found, str) else [Path(each) for each in found]

    return parse


def _check_flags(command: str, function: Callable[..., Any], words: Sequence[str]) -> None:
    """Refuses flags that the function does not have, or that lack their value: Fire would run the function first."""
    known = inspect.signature(function, eval_str=True).parameters
    for flag, lacks_value in _flags(words):
        if flag not in known:
            near = get_close_matches(flag, known, 1, 0.0)
            nearest = f" (nearest: --{near[0]})" if near else ""
            raise InputError(f"{command} has no setting --{flag}{nearest}")
        if lacks_value and _parser(flag, known[flag].annotation) is not literal:
            raise InputError(f"{command} has no value after --{flag}: give one")


def _flags(words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Names of the flags `--NAME` in words, and whether each is without a value."""
    for word, following in zip(words, [*words, "--"][1:], strict=True):
        if word == "--":
            return
        flag, has_value, _ = word.removeprefix("--").partition("=")
        flag = flag.replace("-", "_")
        if word.startswith("--") and flag not in FIRES_OWN:
            yield flag, not has_value and re.match(r"--|-[A-Za-z]", following) is not None
