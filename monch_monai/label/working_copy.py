"""The folder that a MONAI Label server works in: it writes there, and nowhere else but in the studies.

APP/main.py                         what `monailabel start_server --app APP` starts
APP/model/monch/configs/            the bundle's configs
APP/model/monch/models/model.pt     version 0: the weights it began with
APP/model/monch/versions/1/best.pt  version 1, from labels; with history, log and the tiles it was trained on
"""

import shutil
import tempfile
from pathlib import Path

import monch_monai
from monch_monai.data.writer import free_folder
from monch_monai.errors import InputError
from monch_monai.files import existing_file
from monch_monai.runs import find_checkpoint

MAIN = '''"""MONCH for MONAI Label: monailabel start_server --app THIS_FOLDER …

Made by `python -m monch_monai label_app`.
"""

import sys

sys.path.insert(0, {package!r})  # the folder that holds monch_monai; change it if that has moved

from monch_monai.label.app import MonchApp  # noqa: E402, F401
'''
NEWEST = "newest"
PACKAGE_FOLDER = Path(monch_monai.__file__).resolve().parents[1]
"""The folder that holds this package."""


def bundle_root(app_dir: str | Path) -> Path:
    """The bundle in a working copy."""
    return Path(app_dir) / "model" / "monch"


def write_working_copy(
    app_dir: str | Path, bundle: str | Path | None = None, checkpoint: str | Path | None = None
) -> Path:
    """Makes a working copy, whole or not at all; returns its path.

    Args:
        app_dir: the folder to make.
        bundle: the folder that holds `configs/`; `bundle`, or the current folder.
        checkpoint: weights to begin with; as in inference, the newest `best.pt` in the bundle's `output`, else its
            `models/model.pt`.

    Raises:
        InputError: the folder exists already, or there is no bundle or no weights.
    """
    target = free_folder(app_dir)
    source = Path("bundle" if Path("bundle/configs").is_dir() else ".") if bundle is None else Path(bundle)
    if not (source / "configs" / "inference.json").is_file():
        raise InputError(f"{source} holds no configs/inference.json: give --bundle_root, the folder of the bundle")
    weights = (
        find_checkpoint([source / "output"], source / "models" / "model.pt") if checkpoint is None else Path(checkpoint)
    )
    existing_file(f"checkpoint {weights}", weights, "give the file of a trained model")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        draft.chmod(0o755)
        root = bundle_root(draft)
        shutil.copytree(source / "configs", root / "configs")
        (root / "models").mkdir()
        shutil.copyfile(weights, root / "models" / "model.pt")
        (draft / "main.py").write_text(MAIN.format(package=str(PACKAGE_FOLDER)), encoding="utf-8")
        if target.exists():
            target.rmdir()
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def versions(root: Path) -> dict[int, Path]:
    """Weights of each version in a working copy's bundle, the oldest first."""
    trained = {int(p.parent.name): p for p in (root / "versions").glob("*/best.pt") if p.parent.name.isdigit()}
    known = {0: root / "models" / "model.pt", **dict(sorted(trained.items()))}
    return {number: path for number, path in known.items() if path.is_file()}  # a client may have had one deleted


def version_choices(root: Path) -> list[str]:
    """What a request can give as `version`: the newest, or a number."""
    return [NEWEST, *(str(number) for number in reversed(versions(root)))]


def version_weights(root: Path, version: str | int = NEWEST) -> tuple[int, Path]:
    """Number and weights of a version.

    Raises:
        InputError: there is no such version.
    """
    known = versions(root)
    number = max(known, default=version) if version == NEWEST else version
    if not str(number).isdigit() or int(number) not in known:
        raise InputError(f"there is no version {version!r}; there are {NEWEST} and {', '.join(map(str, known))}")
    return int(number), known[int(number)]
