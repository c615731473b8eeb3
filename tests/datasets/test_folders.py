import pytest

from monch_monai.datasets.folders import files_beneath, named


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "source"
    for name in ("Fold 1/a.npy", ".hidden/b.npy", "__MACOSX/c.npy", "._d.npy", "e.npy"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_linked_folders_and_files_are_looked_into_once_and_circles_end(folder, tmp_path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/f.npy").touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere/deep")
    (folder / "circle").symlink_to(folder)
    (folder / "dead").symlink_to(tmp_path / "nowhere")
    (folder / "g.npy").symlink_to(tmp_path / "elsewhere/deep/f.npy")
    names = [str(path.relative_to(folder)) for path in files_beneath(folder)]
    assert names == ["Fold 1/a.npy", "again/f.npy", "e.npy", "g.npy"]


def test_a_name_is_found_in_another_letter_case_and_exactly_where_it_is(folder):
    assert named(folder, "FOLD 1") == folder / "Fold 1"
    (folder / "FOLD 1").mkdir(exist_ok=True)
    assert named(folder, "FOLD 1") == folder / "FOLD 1"
    assert named(folder, "fold 2") == folder / "fold 2"
    assert named(folder / "nowhere", "a") == folder / "nowhere" / "a"
