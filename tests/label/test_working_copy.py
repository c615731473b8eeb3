import subprocess
import sys
from pathlib import Path

import pytest

from monch_monai.errors import InputError
from monch_monai.label.working_copy import bundle_root, version_weights, versions, write_working_copy
from tests.bundle.conftest import REPOSITORY
from tests.fakes.tiny import contents


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text("{}")
    (folder / "models").mkdir()
    (folder / "models" / "model.pt").write_bytes(b"weights")
    return folder


def test_it_holds_copies(bundle: Path, tmp_path: Path) -> None:
    app = write_working_copy(tmp_path / "app", bundle)
    root = bundle_root(app)
    assert contents(root) == contents(bundle)
    assert not any(path.is_symlink() for path in app.rglob("*"))
    assert versions(root) == {0: root / "models" / "model.pt"}
    assert sorted(path.name for path in app.iterdir()) == ["main.py", "model"]


def test_it_begins_with_what_was_trained_last_unless_told(bundle: Path, tmp_path: Path) -> None:
    (bundle / "output").mkdir()
    (bundle / "output" / "best.pt").write_bytes(b"trained")
    (tmp_path / "mine.pt").write_bytes(b"mine")
    assert version_weights(bundle_root(write_working_copy(tmp_path / "a", bundle)))[1].read_bytes() == b"trained"
    mine = write_working_copy(tmp_path / "b", bundle, tmp_path / "mine.pt")
    assert version_weights(bundle_root(mine))[1].read_bytes() == b"mine"


def test_versions_are_counted_as_numbers(bundle: Path) -> None:
    for name in ("2", "10", "9", "draft"):
        (bundle / "versions" / name).mkdir(parents=True)
        (bundle / "versions" / name / "best.pt").touch()
    (bundle / "versions" / "11").mkdir()  # without weights
    assert list(versions(bundle)) == [0, 2, 9, 10]
    assert version_weights(bundle)[0] == 10
    assert version_weights(bundle, "9")[0] == version_weights(bundle, 9)[0] == 9
    for version in (3, "../2", "-1", ""):
        with pytest.raises(InputError, match="there is no version"):
            version_weights(bundle, version)
    (bundle / "versions" / "10" / "best.pt").unlink()
    assert version_weights(bundle)[0] == 9


def test_what_cannot_be_made_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    for app, source, checkpoint in (("app", tmp_path, None), ("app", bundle, "none.pt"), ("bundle", bundle, None)):
        with pytest.raises(InputError):
            write_working_copy(tmp_path / app, source, checkpoint)
    (bundle / "models" / "model.pt").rename(tmp_path / "elsewhere.pt")
    with pytest.raises(InputError, match="no trained model"):
        write_working_copy(tmp_path / "app", bundle)
    (tmp_path / "elsewhere.pt").rename(bundle / "models" / "model.pt")
    assert contents(tmp_path) == before


def test_main_finds_the_package_from_anywhere(bundle: Path, tmp_path: Path) -> None:
    """As far as an environment without MONAI Label goes."""
    main = (write_working_copy(tmp_path / "app", bundle) / "main.py").read_text(encoding="utf-8")
    assert f"sys.path.insert(0, {str(REPOSITORY)!r})" in main
    code = main.replace("monch_monai.label.app import MonchApp", "monch_monai.class_table import PANNUKE")
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
