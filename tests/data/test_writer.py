import errno
import os
import resource
import shutil
import signal
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest

from monch_monai.data import Fold, Tiles
from monch_monai.errors import InputError
from tests.fakes.processes import in_child
from tests.fakes.tiny import SEEDS, SIZE, contents, fold_of, tile, write

TILE_BYTES = {"images": SIZE * SIZE * 3, "classes": SIZE * SIZE, "instances": SIZE * SIZE * 2}
NOBODY = 65534


class Interrupted(Exception):
    """Ends the process midway, as a kill would."""


def partial(folder):
    return folder / ".dataset.partial"


def breaking(seeds, after, error=Interrupted):
    """A fold whose source raises when `after` tiles of it were given."""

    def tiles(start):
        for i in range(start, len(seeds)):
            if i >= after:
                raise error(f"tile {i} cannot be read")
            yield tile(seeds[i])

    return Fold(len(seeds), tiles, SIZE)


def interrupt(folder, after=2, **changes):
    """Leaves work that was ended in fold b."""
    folds = {"a": fold_of(SEEDS["a"]), "b": breaking(SEEDS["b"], after)}
    with pytest.raises(Interrupted):
        write(folder / "dataset", folds=folds, **changes)
    return partial(folder)


def recording(seeds):
    """A fold, and the list of starts from which its tiles were asked for."""
    starts = []

    def tiles(start):
        starts.append(start)
        yield from map(tile, seeds[start:])

    return Fold(len(seeds), tiles, SIZE), starts


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Files of a dataset that was written without interruption."""
    return contents(write(tmp_path_factory.mktemp("whole") / "dataset"))


def test_six_bytes_a_pixel_are_written(whole):
    arrays = {path: data for path, data in whole.items() if path.endswith(".npy")}
    assert sum(map(len, arrays.values())) - 128 * len(arrays) == 5 * SIZE * SIZE * 6


def test_nothing_but_the_dataset_is_left(tmp_path, whole):
    write(tmp_path / "dataset")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    arrays = ("classes.npy", "images.npy", "instances.npy", "tiles.csv")
    assert sorted(whole) == [*(f"{fold}/{name}" for fold in "ab" for name in arrays), "manifest.json"]


def test_what_finish_adds_is_part_of_the_dataset(tmp_path):
    write(tmp_path / "dataset", finish=lambda folder: (folder / "card.md").write_text("a card"))
    assert (tmp_path / "dataset" / "card.md").read_text() == "a card"


def test_finish_sees_all_tiles_and_no_manifest(tmp_path):
    seen = []
    write(tmp_path / "dataset", finish=lambda folder: seen.extend(contents(folder)))
    assert {"a/images.npy", "b/tiles.csv"} <= set(seen)
    assert "manifest.json" not in seen


@pytest.mark.parametrize("after", [0, 1, 2])
def test_interrupted_work_is_no_dataset(tmp_path, after):
    interrupt(tmp_path, after)
    assert not (tmp_path / "dataset").exists()
    assert (tmp_path / ".dataset.partial").is_dir()
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        Tiles(partial(tmp_path))


@pytest.mark.parametrize("after", [0, 1, 2])
def test_work_goes_on_from_the_tile_where_it_was_interrupted(tmp_path, whole, after):
    interrupt(tmp_path, after)
    (a, asked_of_a), (b, asked_of_b) = (recording(seeds) for seeds in SEEDS.values())
    write(tmp_path / "dataset", folds={"a": a, "b": b})
    assert (asked_of_a, asked_of_b) == ([2], [after])
    assert contents(tmp_path / "dataset") == whole
    assert not partial(tmp_path).exists()


CUTS = [
    *(("images", cut) for cut in (0, 1, 127, 128, 129, 128 + 2 * TILE_BYTES["images"] - 1)),
    *(("classes", cut) for cut in (0, 64, 128 + TILE_BYTES["classes"] // 2, 128 + TILE_BYTES["classes"])),
    *(("instances", cut) for cut in (10, 128 + TILE_BYTES["instances"] + 1)),
]


@pytest.mark.parametrize(("name", "cut"), CUTS)
def test_an_array_cut_off_anywhere_is_completed(tmp_path, whole, name, cut):
    os.truncate(interrupt(tmp_path) / "b" / f"{name}.npy", cut)
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


def test_a_table_cut_off_anywhere_is_completed(tmp_path, whole):
    shutil.copytree(interrupt(tmp_path), tmp_path / "kept")
    shutil.rmtree(partial(tmp_path))
    length = (tmp_path / "kept" / "b" / "tiles.csv").stat().st_size
    header = whole["b/tiles.csv"].index(b"\r\n")
    for cut in (
        0,
        1,
        header,
        header + 1,
        header + 2,
        header + 3,
        *range(header + 9, length, 17),
        length - 2,
        length - 1,
    ):
        shutil.copytree(tmp_path / "kept", partial(tmp_path))
        os.truncate(partial(tmp_path) / "b" / "tiles.csv", cut)
        write(tmp_path / "dataset")
        assert contents(tmp_path / "dataset") == whole, cut
        shutil.rmtree(tmp_path / "dataset")


def test_what_follows_the_last_whole_tile_is_written_anew(tmp_path, whole):
    folder = interrupt(tmp_path, after=1) / "b"
    for name in TILE_BYTES:
        with (folder / f"{name}.npy").open("ab") as file:
            file.write(b"half a tile" * 20)
    with (folder / "tiles.csv").open("ab") as file:
        file.write(b"tissue 11,slide")
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


def test_a_missing_file_is_made_anew(tmp_path, whole):
    (interrupt(tmp_path) / "b" / "classes.npy").unlink()
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


@pytest.mark.parametrize("keep", [0, 1, 50])
def test_a_draft_cut_off_starts_anew(tmp_path, whole, keep):
    os.truncate(interrupt(tmp_path) / "draft.json", keep)
    a, starts = recording(SEEDS["a"])
    write(tmp_path / "dataset", folds={"a": a, "b": fold_of(SEEDS["b"])})
    assert starts == [0]
    assert contents(tmp_path / "dataset") == whole


@pytest.mark.parametrize("draft", [True, False])
def test_work_that_ended_before_the_last_step_is_completed(tmp_path, whole, draft):
    folder = interrupt(tmp_path)
    kept = (folder / "draft.json").read_bytes()
    shutil.rmtree(folder)
    write(tmp_path / "dataset")
    (tmp_path / "dataset").rename(folder)
    if draft:
        (folder / "draft.json").write_bytes(kept)
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


def test_an_interrupted_finish_leaves_no_file_behind(tmp_path, whole):
    def finish(folder):
        (folder / ".part-picture.png").write_text("half a picture")
        raise Interrupted

    with pytest.raises(Interrupted):
        write(tmp_path / "dataset", finish=finish)
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


CHANGES = [
    {"source": "another"},
    {"name": "another name"},
    {"splits": {"1": {"train": ["b"], "validation": ["a"]}}},
    {"folds": {"a": fold_of(SEEDS["a"]), "b": fold_of(range(20, 24))}},
    {"folds": {"b": fold_of(SEEDS["b"])}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_other_work_than_was_interrupted_starts_anew(tmp_path, changes):
    interrupt(tmp_path, source="one")
    write(tmp_path / "dataset", **({"source": "one"} | changes))
    undisturbed = write(tmp_path / "undisturbed", **({"source": "one"} | changes))
    assert contents(tmp_path / "dataset") == contents(undisturbed)


def test_another_source_is_not_mixed_with_the_interrupted_one(tmp_path):
    interrupt(tmp_path, source="one")
    folds = {"a": fold_of([7, 8]), "b": fold_of([20, 21, 22])}
    write(tmp_path / "dataset", folds=folds, source="two")
    assert [item["tissue"] for item in Tiles(tmp_path / "dataset").items(["a", "b"])] == [
        f"tissue {seed}" for seed in (7, 8, 20, 21, 22)
    ]


def test_another_process_at_work_is_left_alone(tmp_path, whole):
    folder = interrupt(tmp_path)
    before = contents(folder)
    with filelock.FileLock(tmp_path / ".dataset.lock"):
        ended = in_child(lambda: write(tmp_path / "dataset"))
        assert contents(folder) == before
    assert ended == (0, f"{folder} is being written by another process: wait for it to end")
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_killed_process_leaves_work_to_go_on_with(tmp_path, whole, after):
    def killed():
        def tiles(start):
            yield from map(tile, SEEDS["b"][start:after])
            os.kill(os.getpid(), signal.SIGKILL)

        write(tmp_path / "dataset", folds={"a": fold_of(SEEDS["a"]), "b": Fold(3, tiles, SIZE)})

    assert in_child(killed).exitcode == -signal.SIGKILL
    assert not (tmp_path / "dataset").exists()
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


LIMITS = [100, 128 + TILE_BYTES["images"] - 1, 128 + 2 * TILE_BYTES["images"], 128 + 3 * TILE_BYTES["images"] - 1]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_full_disk_ends_in_one_line_and_what_was_kept_is_resumed(tmp_path, whole, limit):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        write(tmp_path / "dataset")

    exitcode, message = in_child(limited)
    assert exitcode == 0
    assert message == (
        f"{tmp_path / 'dataset'} could not be written to the end ([Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}): "
        f"remove the cause and run the same command again, which resumes the work kept in {partial(tmp_path)}"
    )
    assert max(len(data) for data in contents(partial(tmp_path)).values()) == limit
    assert not (tmp_path / "dataset").exists()
    write(tmp_path / "dataset")
    assert contents(tmp_path / "dataset") == whole


@pytest.fixture
def public():
    """A folder that any user can enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(("rights", "what"), [(0o555, "could not be written to the end"), (0, "cannot be listed")])
def test_a_folder_without_rights_ends_in_one_line(public, rights, what):
    parent = public / "parent"
    parent.mkdir(mode=rights)

    def unprivileged():
        if os.getuid() == 0:
            os.setuid(NOBODY)
        write(parent / "dataset")

    exitcode, message = in_child(unprivileged)
    assert exitcode == 0
    assert message.startswith(f"{parent / 'dataset'} {what} ([Errno {errno.EACCES}]")
    assert len(message.splitlines()) == 1
    assert stat.S_IMODE(parent.stat().st_mode) == rights
    assert list(parent.iterdir()) == []


def test_a_file_in_the_place_of_the_parent_ends_in_one_line(tmp_path):
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(InputError, match="could not be written to the end"):
        write(tmp_path / "file" / "dataset")
    assert (tmp_path / "file").read_text() == "years of work"


def test_a_source_at_fault_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="tile 2 cannot be read"):
        write(tmp_path / "dataset", folds={"a": fold_of(SEEDS["a"]), "b": breaking(SEEDS["b"], 2, InputError)})
    assert list(tmp_path.iterdir()) == []


def test_tiles_that_finish_refuses_leave_nothing(tmp_path):
    def refuse(folder):
        raise InputError("the images look BGR")

    with pytest.raises(InputError, match="the images look BGR"):
        write(tmp_path / "dataset", finish=refuse)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [0, 1, 3])
def test_another_number_of_tiles_than_announced_makes_no_dataset(tmp_path, given):
    miscounted = replace(fold_of(range(given)), count=2)
    with pytest.raises(ValueError, match=f"fold a was to hold 2 tiles; got ({given}|more)"):
        write(tmp_path / "dataset", folds={"a": miscounted})
    assert not (tmp_path / "dataset").exists()


def test_a_tile_of_another_size_makes_no_dataset(tmp_path):
    with pytest.raises(ValueError, match=r"images.npy takes tiles of shape \(17, 17, 3\); got \(16, 16, 3\)"):
        write(tmp_path / "dataset", folds={"a": replace(fold_of([0]), tile_size=17)})
    assert not (tmp_path / "dataset").exists()


def test_arrays_are_written_in_rows_whatever_their_layout_in_memory(tmp_path):
    made = tile(0)
    turned = made._replace(image=np.asfortranarray(made.image), classes=np.asfortranarray(made.classes))
    folder = write(tmp_path / "dataset", folds={"a": Fold(1, lambda start: [turned], SIZE)}, splits={})
    assert np.array_equal(np.load(folder / "a" / "images.npy")[0], made.image)
    assert np.array_equal(np.load(folder / "a" / "classes.npy")[0], made.classes)


def test_line_breaks_in_names_do_not_break_rows(tmp_path):
    broken = tile(0)._replace(tissue="one\ntwo", source="three\r\nfour")
    folder = write(tmp_path / "dataset", folds={"a": Fold(1, lambda start: [broken], SIZE)}, splits={})
    assert [row["tissue"] for row in Tiles(folder).rows(["a"])] == ["one two"]


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="dataset exists already: name another folder, or remove it"):
        write(tmp_path / "dataset")
    assert contents(tmp_path) == {"dataset/thesis.txt": b"years of work"}


def test_a_file_in_the_way_is_refused_and_left_alone(tmp_path):
    (tmp_path / "dataset").write_text("years of work")
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "dataset")
    assert contents(tmp_path) == {"dataset": b"years of work"}


def test_an_empty_folder_is_filled(tmp_path, whole):
    (tmp_path / "dataset").mkdir()
    write(tmp_path / "dataset")
    assert contents(tmp_path) == {f"dataset/{path}": data for path, data in whole.items()}


def test_nothing_is_left_beside_a_finished_dataset(tmp_path):
    interrupt(tmp_path, 1)
    write(tmp_path / "dataset")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_link_to_a_folder_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"link is a link or a mount point, .*: name a new folder inside it"):
        write(tmp_path / "link")
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "link"}
