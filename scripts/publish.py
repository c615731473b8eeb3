"""The bundle as a release: `python scripts/publish.py --to github|huggingface --repo OWNER/NAME`.

By default a dry run, which packages the bundle and lists what would be sent, without a network.
"""

import hashlib
import json
import logging
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from huggingface_hub import HfApi
from package_bundle import NAME, TWIN, WEIGHTS, git, package

from monch_monai import __version__
from monch_monai.arguments import run
from monch_monai.errors import InputError, show_input_errors_in_one_line
from monch_monai.files import sha256, write_text_atomically
from monch_monai.settings import flag

PLACES = ("github", "huggingface")
MODEL_INFO = "model_info.json"
LATEST = "latest_version"


def publish(
    to: str,
    repo: str,
    output: Path = Path("dist"),
    model: str | Path = "",
    weights_url: str = "",
    dry_run: bool | str = True,
) -> None:
    """Packages the bundle and sends it to a release of a GitHub repository or to a Hugging Face Hub repository.

    Args:
        to: github, by its command line gh, or huggingface, with `hf auth login`'s token.
        repo: OWNER/NAME.
        output: folder for the packaged bundle and, for GitHub, model_info.json: laid in that repository's models/, it
            lets monai.bundle.get_bundle_info find the release.
        model: as for package_bundle.py.
        weights_url: as for package_bundle.py.
        dry_run: false sends.

    Raises:
        InputError: a setting is wrong, changes are not committed, gh fails, or the hub has this version already.
    """
    if to not in PLACES:
        raise InputError(f"to is {to!r}; give one of {', '.join(PLACES)}")
    if str(repo).count("/") != 1:
        raise InputError(f"repo is {repo!r}; give OWNER/NAME")
    if to == "huggingface" and weights_url:
        raise InputError("weights_url is for GitHub; a repository of the hub holds the weights itself: leave it out")
    sends = not flag("dry_run", dry_run)
    if sends and git("status", "--porcelain", "--untracked-files=no"):
        raise InputError("changes are not committed: commit them, so that the release has a commit")
    archive = package(output, model, weights_url)
    if to == "github":
        apart = [archive.with_name(Path(name).name) for name in (WEIGHTS, TWIN)] if weights_url else []
        _to_github(archive, apart, repo, sends)
    else:
        _to_huggingface(archive, repo, sends)
    if not sends:
        print("dry run: nothing was sent; --dry_run false sends it")


def _to_github(archive: Path, apart: list[Path], repo: str, sends: bool) -> None:
    tag = f"v{__version__}"
    files = [archive, archive.with_name(f"{archive.name}.sha256"), *apart]
    url = f"https://github.com/{repo}/releases/download/{tag}/{archive.name}"
    entry = {"checksum": hashlib.sha1(archive.read_bytes()).hexdigest(), "source": url}  # as MONAI's zoo
    write_text_atomically(archive.with_name(MODEL_INFO), json.dumps({archive.stem: entry}, indent=4) + "\n")
    command = ["gh", "release", "create", tag, *map(str, files), "--repo", repo, "--title", f"MONCH {__version__}"]
    notes = f"SHA-256 of {archive.name}: {sha256(archive)}"
    command += ["--target", git("rev-parse", "HEAD").strip(), "--notes", notes]
    print(f"GitHub repository {repo}, release {tag}:")
    for path in files:
        print(f"{path.stat().st_size:>12,}  {sha256(path)}  {path.name}")
    if not sends:
        return
    if shutil.which("gh") is None:
        raise InputError("GitHub's command line, gh, is not installed: install it, and log in by `gh auth login`")
    if subprocess.run(command, check=False).returncode != 0:
        raise InputError("gh did not publish the release: see its message above")


def _to_huggingface(archive: Path, repo: str, sends: bool) -> None:
    print(f"Hugging Face Hub repository {repo}, version {__version__}:")
    with zipfile.ZipFile(archive) as bundle:
        for entry in bundle.infolist():
            digest = hashlib.sha256(bundle.read(entry)).hexdigest()
            print(f"{entry.file_size:>12,}  {digest}  {entry.filename.removeprefix(f'{NAME}/')}")
    if not sends:
        return
    with tempfile.TemporaryDirectory() as scratch:
        send(HfApi(), repo, hub_folder(archive, Path(scratch)))


def send(hub: HfApi, repo: str, folder: Path) -> None:
    """Uploads a folder to a repository and tags it as monai.bundle.push_to_hf_hub does, which `load` looks for.

    Raises:
        InputError: `repo` has a tag of this version.
    """
    hub.create_repo(repo, exist_ok=True)
    tags = {tag.name for tag in hub.list_repo_refs(repo).tags}
    if __version__ in tags:
        raise InputError(f"{repo} has version {__version__} already: give the next one a number of its own")
    hub.upload_folder(repo_id=repo, folder_path=folder)
    hub.create_tag(repo, tag=__version__)
    if LATEST in tags:  # a tag does not move
        hub.delete_tag(repo, tag=LATEST)
    hub.create_tag(repo, tag=LATEST)


def hub_folder(archive: Path, folder: Path) -> Path:
    """Unpacks the zip into `folder`, with the head that the hub reads on top of the model card; returns the folder.

    MONAI's own push would write the code's licence there, under which the weights are not.
    """
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(folder)
    card = folder / NAME / "README.md"
    head = "---\nlibrary_name: monai\ntags:\n- monai\n- medical\nlicense: other\nlicense_name: see-data-license\n---\n"
    card.write_text(head + card.read_text(encoding="utf-8"), encoding="utf-8")
    return folder / NAME


if __name__ == "__main__":
    show_input_errors_in_one_line()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run(publish, "publish.py")
