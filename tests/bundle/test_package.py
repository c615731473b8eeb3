"""The zip: what is in it, that it is always the same, and that damaged or hostile ones are refused."""

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import monai.bundle
import pytest
import requests
import torch
import yaml
from monai.bundle.scripts import download_large_files, get_bundle_info
from safetensors.torch import load_file

import monch_monai
from monch_monai.errors import InputError
from tests.bundle.conftest import REPOSITORY
from tests.fakes.processes import forked
from tests.fakes.served import served

ZIP = f"monch_v{monch_monai.__version__}.zip"


def run_script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "scripts" / name), *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def fork_script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in a fork of this process."""
    return forked(REPOSITORY / "scripts" / name, *arguments, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the zip and its SHA-256 file."""
    folder = tmp_path_factory.mktemp("package") / "dist"
    done = run_script("package_bundle.py", "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def tracked(*folders: str) -> set[str]:
    command = ["git", "-C", str(REPOSITORY), "ls-files", "--", *folders]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def test_the_zip_holds_one_folder_with_all_that_is_tracked_of_bundle_and_package(dist: Path) -> None:
    expected = {f"monch/{name.removeprefix('bundle/')}" for name in tracked("bundle", "monch_monai")}
    expected |= {
        f"monch/{name}" for name in ("README.md", "pyproject.toml", "requirements.txt", "requirements-label.txt")
    }
    assert {name for name in names(dist / ZIP) if not name.startswith("monch/models/")} == {
        name for name in expected if not name.startswith("monch/models/")
    }
    assert {"monch/configs/train.json", "monch/monch_monai/__init__.py", "monch/LICENSE"} <= expected
    with zipfile.ZipFile(dist / ZIP) as archive:
        assert archive.read("monch/README.md") == (REPOSITORY / "bundle" / "docs" / "README.md").read_bytes()


def test_two_builds_are_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    assert fork_script("package_bundle.py", "--output", tmp_path).returncode == 0
    for name in (ZIP, f"{ZIP}.sha256"):
        assert (tmp_path / name).read_bytes() == (dist / name).read_bytes()


def sha256sum(folder: Path) -> subprocess.CompletedProcess[str]:
    """The check that the model card names."""
    command = ["sha256sum", "-c", f"{ZIP}.sha256"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_documented_check_passes_the_zip_and_refuses_a_tampered_one(dist: Path, tmp_path: Path) -> None:
    card = (REPOSITORY / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"sha256sum -c {ZIP}.sha256" in card
    assert sha256sum(dist).returncode == 0
    monai.bundle.download(name="monch", url=f"file://{dist / ZIP}", bundle_dir=str(tmp_path / "bundles"))
    assert (tmp_path / "bundles" / "monch" / "configs" / "train.json").is_file()
    folder = shutil.copytree(dist, tmp_path / "tampered")
    content = bytearray((folder / ZIP).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / ZIP).write_bytes(content)
    refused = sha256sum(folder)
    assert refused.returncode != 0
    assert f"{ZIP}: FAILED" in refused.stdout


@pytest.mark.parametrize("name", ["../outside.txt", "monch/../../outside.txt", "/tmp/monch_outside.txt"])
def test_monai_unpacks_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "www").mkdir()
    with zipfile.ZipFile(tmp_path / "www" / "monch.zip", "w") as archive:
        archive.writestr(name, "out")
    with served(tmp_path / "www") as address, pytest.raises(ValueError, match="Unsafe path detected in archive"):
        monai.bundle.download(name="monch", url=f"{address}/monch.zip", bundle_dir=str(tmp_path / "in"))
    assert list(tmp_path.rglob("*outside*")) == []
    assert not Path("/tmp/monch_outside.txt").exists()


def test_weights_travel_with_their_safetensors_twin_or_are_listed_with_their_sha256(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(6.0).reshape(2, 3).T}, tmp_path / "best.pt")
    done = fork_script("package_bundle.py", "--output", tmp_path / "with", "--model", tmp_path / "best.pt")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "with" / ZIP) as archive:
        archive.extractall(tmp_path / "with")
    models = tmp_path / "with" / "monch" / "models"
    assert (models / "model.pt").read_bytes() == (tmp_path / "best.pt").read_bytes()
    assert torch.equal(load_file(models / "model.safetensors")["a"], torch.arange(6.0).reshape(2, 3).T)

    with served(tmp_path / "without") as address:
        done = fork_script(
            "package_bundle.py", "--output", tmp_path / "without", "--model", tmp_path / "best.pt",
            "--weights_url", f"{address}/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with zipfile.ZipFile(tmp_path / "without" / ZIP) as archive:
            archive.extractall(tmp_path / "without")
        bundle = tmp_path / "without" / "monch"
        assert not (bundle / "models").exists()
        listed = yaml.safe_load((bundle / "large_files.yml").read_text(encoding="utf-8"))["large_files"]
        assert {file["path"] for file in listed} == {"models/model.pt", "models/model.safetensors"}
        download_large_files(str(bundle))
    for name in ("model.pt", "model.safetensors"):
        assert (bundle / "models" / name).read_bytes() == (models / name).read_bytes()


class Trap:
    """Not a tensor."""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"a": Trap()}, "cannot be read as a file of tensors"),
        (None, "does not exist: give the file of a trained model"),
    ],
    ids=["pickled object", "missing"],
)
def test_weights_that_are_more_than_tensors_are_not_packed(tmp_path: Path, content: object, problem: str) -> None:
    if content is not None:
        torch.save(content, tmp_path / "model.pt")
    done = fork_script("package_bundle.py", "--output", tmp_path / "dist", "--model", tmp_path / "model.pt")
    assert done.returncode == 1
    assert problem in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "dist").iterdir()) == []


@pytest.mark.parametrize("place", ["github", "huggingface"])
def test_a_dry_run_lists_what_would_be_sent_and_sends_nothing(tmp_path: Path, dist: Path, place: str) -> None:
    run = run_script if place == "github" else fork_script
    done = run("publish.py", "--to", place, "--repo", "owner/monch", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    listed = {line[2]: line[:2] for line in lines if len(line) == 3 and len(line[1]) == 64}
    if place == "github":
        assert listed[ZIP] == [
            f"{(dist / ZIP).stat().st_size:,}",
            hashlib.sha256((dist / ZIP).read_bytes()).hexdigest(),
        ]
        assert set(listed) == {ZIP, f"{ZIP}.sha256"}
    else:
        assert {f"monch/{name}" for name in listed} == names(dist / ZIP)
    assert done.stdout.splitlines()[-1].startswith("dry run: nothing was sent")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--to", "ngc", "--repo", "a/b"], "to is 'ngc'"),
        (["--to", "github", "--repo", "monch"], "repo is 'monch'"),
        (["--to", "huggingface", "--repo", "a/b", "--weights_url", "https://c/d"], "weights_url is for GitHub"),
        (["--to", "github", "--repo", "a/b", "--weights_url"], "has no value after --weights_url: give one"),
    ],
)
def test_publish_refuses_in_one_line(tmp_path: Path, given: list[str], problem: str) -> None:
    done = fork_script("publish.py", *given, "--output", tmp_path / "dist")
    assert done.returncode == 1
    assert problem in done.stderr.splitlines()[-1]
    assert not (tmp_path / "dist").exists()


def test_monai_finds_a_release_by_what_publish_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fork_script("publish.py", "--to", "github", "--repo", "owner/zoo", "--output", tmp_path).returncode == 0
    get = requests.get
    with served(tmp_path) as address:  # in the place of GitHub, whose address MONAI has built in
        hub = "https://raw.githubusercontent.com/owner/zoo/main/models"
        monkeypatch.setattr(requests, "get", lambda url, **settings: get(url.replace(hub, address), **settings))
        info = get_bundle_info("monch", repo="owner/zoo", tag="main")
    tag = f"v{monch_monai.__version__}"
    assert info == {
        "name": f"monch_{tag}", "browser_download_url": f"https://github.com/owner/zoo/releases/download/{tag}/{ZIP}",
    }  # fmt: skip


def test_one_source_of_the_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version", "dependencies"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "monch_monai.__version__"}
    metadata = json.loads((REPOSITORY / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] == monch_monai.__version__
    assert next(reversed(metadata["changelog"])) == monch_monai.__version__


def test_a_model_with_adapters_is_refused(tmp_path: Path) -> None:
    torch.save(
        {"qkv.base_layer.weight": torch.zeros(1), "qkv.lora_A.default.weight": torch.zeros(1)}, tmp_path / "m.pt"
    )
    done = fork_script("package_bundle.py", "--output", tmp_path / "dist", "--model", tmp_path / "m.pt")
    assert done.returncode == 1
    assert "has adapters" in done.stderr
    assert not (tmp_path / "dist" / ZIP).exists()


def test_the_hubs_page_gives_the_weights_no_licence_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    from publish import hub_folder

    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.writestr("monch/README.md", "# Model Overview\n")
    folder = hub_folder(tmp_path / "bundle.zip", tmp_path / "there")
    head, card = (folder / "README.md").read_text(encoding="utf-8").split("---\n")[1:]
    assert yaml.safe_load(head)["license"] == "other"
    assert card == "# Model Overview\n"


class Hub:
    """A repository of the Hugging Face Hub, as far as `send` knows it: tags, and what each was put on."""

    def __init__(self) -> None:
        self.tags: dict[str, int] = {}
        self.uploads = 0

    def create_repo(self, repo: str, exist_ok: bool) -> None:
        assert (repo, exist_ok) == ("a/b", True)

    def list_repo_refs(self, repo: str) -> SimpleNamespace:
        return SimpleNamespace(tags=[SimpleNamespace(name=name) for name in self.tags])

    def upload_folder(self, repo_id: str, folder_path: Path) -> None:
        self.uploads += 1

    def create_tag(self, repo: str, tag: str) -> None:
        assert tag not in self.tags  # the hub refuses
        self.tags[tag] = self.uploads

    def delete_tag(self, repo: str, tag: str) -> None:
        del self.tags[tag]


def test_the_latest_version_moves_and_a_version_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    import publish

    hub = Hub()
    publish.send(hub, "a/b", tmp_path)
    assert hub.tags == {monch_monai.__version__: 1, "latest_version": 1}
    with pytest.raises(InputError, match=r"a/b has version .* already"):
        publish.send(hub, "a/b", tmp_path)
    assert hub.uploads == 1
    monkeypatch.setattr(publish, "__version__", "9.9.9")
    publish.send(hub, "a/b", tmp_path)
    assert hub.tags == {monch_monai.__version__: 1, "9.9.9": 2, "latest_version": 2}


def test_weights_are_not_laid_upon_themselves(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    done = fork_script(
        "package_bundle.py", "--output", tmp_path, "--model", tmp_path / "model.pt", "--weights_url", "https://a/b"
    )
    assert done.returncode == 1
    assert "is where the weights themselves lie: give another" in done.stderr.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt"}
    assert (tmp_path / "model.pt").read_bytes() == before
