"""Files and folders of a source as people have them: linked, in other letter case, with hidden files between."""

import os
from functools import lru_cache
from pathlib import Path


def files_beneath(root: Path) -> list[Path]:
    """Files of a folder and its subfolders, sorted; hidden ones and those of macOS are left out.

    Links to folders are followed, and each folder is looked into once, so that links in a circle end.
    """
    found, seen = [], {os.path.realpath(root)}
    for folder, below, names in os.walk(root, followlinks=True):
        paths = {name: os.path.realpath(Path(folder, name)) for name in sorted(below) if not is_hidden(name)}
        below[:] = [name for name, path in paths.items() if path not in seen]
        seen.update(paths.values())
        found += [Path(folder, name) for name in names if not is_hidden(name)]
    return sorted(path for path in found if path.is_file())


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, as unfinished work is, or macOS made it."""
    return name.startswith(".") or name == "__MACOSX"


def named(folder: Path, name: str) -> Path:
    """The file or folder of a name, in any letter case where none has it exactly; else the place where it would be."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return _by_folded_name(folder, folder.stat().st_mtime_ns).get(name.casefold(), exact)


@lru_cache(maxsize=32)
def _by_folded_name(folder: Path, changed: int) -> dict[str, Path]:
    """Files of a folder, that was last `changed` then, by their names in one letter case; of names alike the first."""
    return {path.name.casefold(): path for path in sorted(folder.iterdir(), reverse=True)}
