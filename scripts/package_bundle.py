"""The bundle as one zip: `python scripts/package_bundle.py --output dist/`.

`monch_vX.Y.Z.zip` holds one folder, `monch`: what git tracks of `bundle/`, `monch_monai/` beside its `configs/`, what
pip needs to install it, and the weights where there are some. The same commit and weights give the same bytes.
"""

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import monch_monai
from monch_monai.arguments import run
from monch_monai.errors import InputError, show_input_errors_in_one_line
from monch_monai.files import sha256, write_atomically, write_text_atomically

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "monch"
AT_TOP = ("pyproject.toml", "requirements.txt", "requirements-label.txt")
"""Files of this folder that the zip's folder has too."""
LARGE_FILES = "large_files.yml"
WEIGHTS, TWIN, CARD = "models/model.pt", "models/model.safetensors", "models/card.md"
DATE = (1980, 1, 1, 0, 0, 0)

logger = logging.getLogger(__name__)


def package(output: Path, model: str | Path = "", weights_url: str = "") -> Path:
    """Writes the zip and its SHA-256 file to OUTPUT; returns the zip.

    Args:
        output: folder, made where it does not exist.
        model: weights to ship, as models/model.pt, without a card; bundle/models/model.pt and its card when not given.
        weights_url: address of a folder that will hold the weights. They then stay out of the zip and stand in
            large_files.yml with their SHA-256, for `python -m monai.bundle download_large_files`. They are written
            to OUTPUT, to be uploaded to that address.

    Raises:
        InputError: `weights_url` is no web address, `output` cannot be made or holds the weights themselves, or see
            `bundle_files`.
    """
    if weights_url and not str(weights_url).startswith(("https://", "http://")):
        raise InputError(f"weights_url is {weights_url!r}; give the address of a folder, https://…")
    folder = output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output {folder} cannot be made ({error}): give another") from error
    target = folder / f"{NAME}_v{monch_monai.__version__}.zip"
    checksum = target.with_name(f"{target.name}.sha256")
    checksum.unlink(missing_ok=True)  # of an earlier zip, which the new one replaces
    with tempfile.TemporaryDirectory() as scratch:
        files, apart = bundle_files(Path(scratch), model, weights_url)
        for name, path in apart.items():
            if (folder / Path(name).name).resolve() in {path.resolve(), (REPOSITORY / "bundle" / name).resolve()}:
                raise InputError(f"output {folder} is where the weights themselves lie: give another")
        write_atomically(target, lambda part: _write_zip(Path(part), files))
        for name, path in apart.items():
            write_atomically(folder / Path(name).name, partial(shutil.copyfile, path))
            logger.info("for %s: %s", weights_url, folder / Path(name).name)
    write_text_atomically(checksum, f"{sha256(target)}  {target.name}\n")
    logger.info("%d files, %.1f MB: %s and %s", len(files), target.stat().st_size / 1e6, target, checksum.name)
    return target


def bundle_files(
    scratch: Path, model: str | Path = "", weights_url: str = ""
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of the bundle's folder, and those that large_files.yml lists instead: path in the bundle to file here.

    Args:
        scratch: folder for files made on the way.
        model: as for `package`.
        weights_url: as for `package`.

    Raises:
        InputError: this is no git checkout, or the weights are missing, hold more than tensors or have adapters.
    """
    files = {name.removeprefix("bundle/"): REPOSITORY / name for name in _tracked("bundle", "monch_monai")}
    files |= {"README.md": REPOSITORY / "bundle/docs/README.md", **{name: REPOSITORY / name for name in AT_TOP}}
    weights = REPOSITORY / "bundle" / WEIGHTS if not model else Path(model)
    if weights.is_file():
        files[WEIGHTS] = weights
        files[TWIN] = _twin(weights, scratch)
    elif model:
        raise InputError(f"model {model} does not exist: give the file of a trained model, such as best.pt")
    if model:
        files.pop(CARD, None)  # which describes the bundle's own weights
    large: dict[str, Path] = {}
    if weights_url:
        large = {name: path for name, path in files.items() if name in (WEIGHTS, TWIN)}
        if not large:
            raise InputError("weights_url is given without weights: give --model as well")
        listed = scratch / LARGE_FILES
        listed.write_text(_large_files(large, str(weights_url)), encoding="utf-8")
        files = {name: path for name, path in files.items() if name not in large} | {LARGE_FILES: listed}
    return dict(sorted(files.items())), large


def git(*arguments: str) -> str:
    """Output of a git command in this repository.

    Raises:
        InputError: the repository is no git checkout.
    """
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(f"{REPOSITORY} is no git checkout ({done.stderr.strip()}): package from a clone")
    return done.stdout


def _tracked(*folders: str) -> list[str]:
    if git("status", "--porcelain", "--untracked-files=no", "--", *folders):
        logger.warning("the zip holds changes that are not committed")
    names = git("ls-files", "-z", "--", *folders).split("\0")
    return [name for name in names if name and (REPOSITORY / name).is_file()]


def _twin(weights: Path, scratch: Path) -> Path:
    """The same weights as safetensors.

    Raises:
        InputError: they have adapters, of which MONAI's own loaders would silently load a part.
    """
    from monch_monai.networks.checkpoint import read_state, save_safetensors  # which take seconds to import

    state, path = read_state(weights), scratch / "model.safetensors"
    if any(".lora_" in name for name in state):
        raise InputError(f"model {weights} has adapters, which only load_checkpoint merges: give one trained without")
    save_safetensors(state, path)
    return path


def _large_files(files: Mapping[str, Path], url: str) -> str:
    entries = [
        {"path": name, "url": f"{url.rstrip('/')}/{Path(name).name}", "hash_val": sha256(path), "hash_type": "sha256"}
        for name, path in files.items()
    ]
    return yaml.safe_dump({"large_files": entries}, sort_keys=False, width=1000)


def _write_zip(path: Path, files: Mapping[str, Path]) -> None:
    # Stored and undated: the bytes depend neither on a compressor's version nor on when and where this runs.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, origin in files.items():
            entry = zipfile.ZipInfo(f"{NAME}/{name}", DATE)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3  # Unix, also where this runs on Windows
            archive.writestr(entry, origin.read_bytes())


if __name__ == "__main__":
    show_input_errors_in_one_line()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run(package, "package_bundle.py", serialize=lambda path: None)
