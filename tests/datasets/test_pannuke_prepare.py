import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from monch_monai.data import Tiles
from monch_monai.datasets import prepare_pannuke
from monch_monai.datasets.pannuke import examine_source, prepare, sources
from monch_monai.datasets.pannuke.published import FOLDS
from monch_monai.errors import InputError
from tests.fakes.pannuke import FoldArrays, make_fold, paths, write_folders, write_parquet, write_zip
from tests.fakes.processes import in_child
from tests.fakes.tiny import contents

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "prepare_pannuke.py"
OFFICIAL = paths(1)


@pytest.fixture(scope="module")
def source(fold, tmp_path_factory):
    """A zip of fold 1."""
    folder = tmp_path_factory.mktemp("source")
    write_zip(folder, 1, fold)
    return folder


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    """A dataset prepared without interruption."""
    return prepare_pannuke(source, tmp_path_factory.mktemp("prepared") / "pannuke")


def one_tile(fold, i):
    return FoldArrays(*(array[i : i + 1] for array in fold))


def array(folder, fold, name):
    return np.load(folder / fold / f"{name}.npy", mmap_mode="r")


def refusal(source, target):
    with pytest.raises(InputError) as caught:
        prepare_pannuke(source, target)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_published_numbers_of_the_folds_add_up_to_those_of_the_whole():
    assert sum(fold.tiles for fold in FOLDS.values()) == 7901
    assert [sum(fold.nuclei) for fold in FOLDS.values()] == [63218, 59872, 66654]
    assert np.sum([fold.nuclei for fold in FOLDS.values()], axis=0).tolist() == [77403, 32276, 50585, 2908, 26572]


def test_a_zip_of_floats_becomes_arrays_that_hold_the_same(prepared, fold):
    assert np.array_equal(array(prepared, "fold1", "images"), fold.images)
    classes, instances = array(prepared, "fold1", "classes"), array(prepared, "fold1", "instances")
    for c in range(5):
        assert np.array_equal(classes == c + 1, fold.masks[..., c] > 0)
    for here, masks in zip(instances, fold.masks, strict=True):
        numbers = [(c, i) for c in range(5) for i in sorted(set(masks[..., c].flat) - {0})]
        for number, (c, i) in enumerate(numbers, start=1):
            assert np.array_equal(here == number, masks[..., c] == i)


@pytest.mark.parametrize("write", [write_folders, write_parquet], ids=["folders", "parquet"])
def test_every_form_of_source_gives_the_same_arrays(prepared, fold, tmp_path, write):
    write(tmp_path / "source", 1, fold)
    other = contents(prepare_pannuke(tmp_path / "source", tmp_path / "pannuke"))
    arrays = {path: data for path, data in contents(prepared).items() if path.endswith(".npy")}
    assert {path: other[path] for path in arrays} == arrays


def test_arrays_are_a_twelfth_of_the_published_ones(prepared, fold):
    header = 128
    written = sum(path.stat().st_size - header for path in prepared.glob("fold1/*.npy"))
    assert fold.images.nbytes + fold.masks.nbytes == 12 * written


def test_items_have_tissue_and_index_in_the_source(prepared, fold):
    items = Tiles(prepared).items(["fold1"])
    assert [(item["tissue"], item["source"]) for item in items] == [(t, f"tile {i}") for i, t in enumerate(fold.types)]


def test_three_folds_have_the_published_splits(tmp_path, fold):
    for number in (1, 2, 3):
        write_folders(tmp_path / "source", number, one_tile(fold, number - 1), "folder")
    tiles = Tiles(prepare_pannuke(tmp_path / "source", tmp_path / "pannuke"))
    protocol = {
        split: [tiles.split(split, part) for part in ("train", "validation", "test")] for split in sorted(tiles.splits)
    }
    assert protocol == {
        "1": [["fold1"], ["fold2"], ["fold3"]],
        "2": [["fold2"], ["fold1"], ["fold3"]],
        "3": [["fold3"], ["fold2"], ["fold1"]],
    }
    for number in (1, 2, 3):
        assert np.array_equal(array(tiles.dir, f"fold{number}", "images")[0], fold.images[number - 1])


def test_two_folds_have_the_splits_that_train_and_validate_on_them(tmp_path, fold):
    for number in (2, 3):
        write_folders(tmp_path / "source", number, one_tile(fold, 0), "folder")
    tiles = Tiles(prepare_pannuke(tmp_path / "source", tmp_path / "pannuke"))
    assert tiles.splits == {"3": {"train": ["fold3"], "validation": ["fold2"]}}


def test_one_fold_has_no_splits_and_says_so(prepared):
    with pytest.raises(InputError, match="none, since it has only fold1"):
        Tiles(prepared).split(1, "train")


def test_the_manifest_names_source_licence_and_the_rule_for_overlaps(prepared):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert manifest["name"] == "PanNuke"
    assert OFFICIAL["masks"] in manifest["source"]
    assert manifest["license"].startswith("CC BY-NC-SA 4.0")
    assert "where two classes overlap, the later channel's" in manifest["labels"]


def test_the_card_is_saved_and_printed(tmp_path, source, capsys):
    prepare_pannuke(source, tmp_path / "pannuke")
    card = (tmp_path / "pannuke" / "card.md").read_text()
    assert card in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "pannuke").iterdir()} == {
        "card.md", "contact_sheet.png", "fold1", "manifest.json", "tissue_by_class.png",
    }  # fmt: skip


def spoiled(fold):
    """A fold with one of each oddity that the published files have."""
    images, masks = fold.images.copy(), fold.masks.copy()
    masks[:] = 0
    masks[0, 10:20, 10:20, 0] = masks[0, 15:25, 10:20, 4] = 1
    masks[0, 40:50, 40:50, 2] = masks[0, 60:70, 60:70, 2] = 2
    masks[0, 100:102, 100:102, 3] = 3
    images[2] = images[1]
    return FoldArrays(images, masks, fold.types)


SPOILED = [
    "fold1: 3 tiles, 4 nuclei, 2 tiles without any",
    "fold1: 50 overlap pixels",
    "fold1: 1 nuclei in pieces",
    "fold1: 1 small nuclei",
    f"fold1: {3 * 65536 - 150 - 200 - 4:,} void pixels",
    "fold1: 1 shared ids",
    "images that occur more than once: 1, in more than one fold: 0",
]


def test_oddities_of_the_published_files_are_counted_in_the_card(tmp_path, fold):
    write_folders(tmp_path / "source", 1, spoiled(fold))
    card = (prepare_pannuke(tmp_path / "source", tmp_path / "pannuke") / "card.md").read_text()
    assert [line for line in SPOILED if f"- {line}\n" not in card] == []


def test_the_doctor_finds_what_preparation_finds_and_writes_nothing(tmp_path, fold):
    write_folders(tmp_path / "source", 1, spoiled(fold))
    before = contents(tmp_path)
    assert [line for line in SPOILED if line not in examine_source(tmp_path / "source")] == []
    assert contents(tmp_path) == before


def test_the_same_image_in_two_folds_is_reported(tmp_path, fold):
    for number in (1, 2):
        write_folders(tmp_path, number, fold if number == 1 else one_tile(fold, 2))
    findings = examine_source(tmp_path)
    assert "images that occur more than once: 1, in more than one fold: 1" in findings
    assert "the same image: fold1#2, fold2#0" in findings


def without_masks(folder, fold):
    write_folders(folder, 1, fold)
    (folder / OFFICIAL["masks"]).unlink()


def damaged_at_the_end(folder, fold):
    masks = fold.masks.copy()
    masks[-1, -1, -1, 0] = np.nan
    write_folders(folder, 1, fold._replace(masks=masks))


def with_five_channels(folder, fold):
    write_folders(folder, 1, fold._replace(masks=fold.masks[..., :5]))


FAULTS = {
    "is no whole zip archive": lambda folder, fold: os.truncate(write_zip(folder, 1, fold), 100_000),
    "has no masks.npy": without_masks,
    "expected [N, 256, 256, 6]": with_five_channels,
    "none of PanNuke's nineteen": lambda folder, fold: write_folders(
        folder, 1, fold._replace(types=np.array(["Brain"] * 3))
    ),
    "are they swapped?": lambda folder, fold: write_zip(folder, 1, fold).rename(folder / "fold_2.zip"),
    "masks.npy#2: masks hold values that are no instance ids": damaged_at_the_end,
    "the images look BGR": lambda folder, fold: write_folders(
        folder, 1, fold._replace(images=fold.images[..., ::-1].copy())
    ),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_faulty_source_is_refused_in_one_line_and_leaves_nothing(tmp_path, fold, message):
    (tmp_path / "source").mkdir()
    FAULTS[message](tmp_path / "source", fold)
    assert message in refusal(tmp_path / "source", tmp_path / "pannuke")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_dataset_in_the_way_is_refused_and_kept(source, prepared):
    before = contents(prepared)
    assert "exists already" in refusal(source, prepared)
    assert contents(prepared) == before


def killed_at(monkeypatch, module, name, call):
    """Lets the process kill itself when the function is called for the given time."""
    real, calls = getattr(module, name), iter(range(1000))

    def kill(*arguments):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    monkeypatch.setattr(module, name, kill)


def remembering(starts):
    real = sources.ArrayFold.tiles

    def tiles(fold, start=0):
        starts.append(start)
        return real(fold, start)

    return tiles


MOMENTS = [(sources, "decode", 0), (sources, "decode", 1), (sources, "decode", 2), (prepare, "write_card", 0)]


@pytest.mark.parametrize(("module", "name", "call"), MOMENTS, ids=["tile 0", "tile 1", "tile 2", "card"])
def test_killed_work_is_gone_on_with_to_the_same_bytes(tmp_path, source, prepared, monkeypatch, module, name, call):
    target = tmp_path / "pannuke"
    with monkeypatch.context() as patch:
        killed_at(patch, module, name, call)
        assert in_child(lambda: prepare_pannuke(source, target)).exitcode == -signal.SIGKILL
    assert not target.exists()
    assert (tmp_path / ".pannuke.partial").is_dir()
    with pytest.raises(InputError, match="is not a folder"):
        Tiles(target)
    asked = []
    monkeypatch.setattr(sources.ArrayFold, "tiles", remembering(asked))
    prepare_pannuke(source, target)
    assert asked == [call if name == "decode" else 3]
    assert contents(target) == contents(prepared)


def test_work_begun_with_another_source_is_not_gone_on_with(tmp_path, source, fold, monkeypatch):
    target = tmp_path / "pannuke"
    with monkeypatch.context() as patch:
        killed_at(patch, sources, "decode", 2)
        assert in_child(lambda: prepare_pannuke(source, target)).exitcode == -signal.SIGKILL
    write_folders(tmp_path / "other", 1, make_fold(3, seed=1))
    prepare_pannuke(tmp_path / "other", target)
    assert np.array_equal(array(target, "fold1", "images"), make_fold(3, seed=1).images)


def test_a_target_inside_the_source_can_be_gone_on_with(tmp_path, fold, monkeypatch):
    write_folders(tmp_path, 1, fold)
    with monkeypatch.context() as patch:
        killed_at(patch, sources, "decode", 1)
        assert in_child(lambda: prepare_pannuke(tmp_path, tmp_path / "out")).exitcode == -signal.SIGKILL
    prepare_pannuke(tmp_path, tmp_path / "out")
    assert np.array_equal(array(tmp_path / "out", "fold1", "images"), fold.images)


def script(source, target, **settings):
    command = [sys.executable, SCRIPT, "--source", source, "--out", target]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


@pytest.mark.slow
def test_the_command_killed_midway_and_run_again_gives_the_same_bytes(tmp_path, fold):
    many = FoldArrays(*(np.concatenate([array] * 10) for array in fold))
    write_folders(tmp_path / "source", 1, many)
    table = tmp_path / ".out.partial" / "fold1" / "tiles.csv"
    with script(tmp_path / "source", tmp_path / "out") as process:
        while process.poll() is None and not (table.exists() and table.stat().st_size):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = table.read_bytes().count(b"\r\n") - 1
    assert 0 < done < 30
    with script(tmp_path / "source", tmp_path / "out") as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"resuming the interrupted work in {tmp_path / '.out.partial'}" in errors
    assert output.startswith("# PanNuke")
    assert contents(tmp_path / "out") == contents(prepare_pannuke(tmp_path / "source", tmp_path / "whole"))


@pytest.mark.slow
def test_the_command_ends_with_one_line_and_a_failing_exit_code(tmp_path, fold):
    with_five_channels(tmp_path / "source", fold)
    with script(tmp_path / "source", tmp_path / "out") as process:
        output, errors = process.communicate()
    assert process.returncode == 1
    assert errors == (
        f"ERROR: {tmp_path / 'source' / OFFICIAL['masks']} has shape [3, 256, 256, 5]; expected [N, 256, 256, 6]\n"
    )
    assert output == ""
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
