import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from monch_monai.__main__ import Commands
from monch_monai.class_table import PANNUKE, LabelSets
from monch_monai.errors import InputError
from monch_monai.report import EvaluatedRun
from monch_monai.report.compared import draw_f1, draw_segmentations
from monch_monai.report.groups import group_runs
from monch_monai.report.paper import TABLE_1, TABLE_2
from tests.fakes.evaluations import write_evaluation
from tests.fakes.labels import some_classes

NAMES = ["Breast, slide 1", "Lung, slide 2"]


def keep_tiles(folder, shift=0, tiles=2, seed=0):
    """Tiles with a square nucleus of class 1; the prediction has it `shift` px further right, of class 2."""
    rng = np.random.default_rng(seed)
    arrays = {"names": np.array(NAMES[:tiles]), "colors": np.array([c.color for c in PANNUKE.classes])}
    for row in range(tiles):
        square = np.zeros((32, 32), np.int32)
        square[8:20, 4:16] = 1
        moved = np.roll(square, shift, axis=1)
        arrays |= {
            f"{row}_image": rng.integers(100, 200, (32, 32, 3), np.uint8), f"{row}_truth": square.astype(np.uint8),
            f"{row}_true_nuclei": square, f"{row}_predicted": (2 * moved).astype(np.uint8), f"{row}_nuclei": 5 * moved,
        }  # fmt: skip
    np.savez_compressed(folder / "compared_tiles.npz", **arrays)
    return folder


def evaluation(folder, target="", shift=0, seed=0, kept_seed=0, **record):
    network = {"_target_": f"monch_monai.baselines.{target}"} if target else None
    return keep_tiles(write_evaluation(folder, seed=seed, network=network, **record), shift, seed=kept_seed)


def systems(*folders):
    return group_runs([EvaluatedRun.read(folder) for folder in folders], "system")


def test_each_tile_is_a_row_with_the_truth_first_in_class_colours(tmp_path):
    folders = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", "TsfdNet", shift=10)
    figure = draw_segmentations(systems(*folders))
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "truth", "MONCH", "TSFD-Net"]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == NAMES
    pictures = [axes.images[0].get_array() for axes in figure.axes[:4]]
    for picture, corner, value in zip(pictures[1:], (4, 4, 14), (1, 2, 2), strict=True):
        assert tuple(picture[8, corner]) == PANNUKE.classes[value].color
        changed = (picture != pictures[0]).any(axis=2)
        assert changed[8:20, corner : corner + 12].any()
        assert not changed[:, : corner - 1].any()  # a halo is one px wide
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [c.name for c in PANNUKE.nuclei]


def test_f1_has_every_system_by_organ_and_class_and_the_papers_hollow(tmp_path):
    folders = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", "TsfdNet", seed=3)
    left, right = draw_f1(systems(*folders)).axes
    runs = [EvaluatedRun.read(folder) for folder in folders]
    filled = {
        (line.get_label(), round(float(line.get_ydata()[0]))): float(line.get_xdata()[0])
        for line in left.lines
        if line.get_marker() == "o"
    }
    organs = [tick.get_text() for tick in left.get_yticklabels()]
    assert organs == ["Breast", "Lung"]
    for run in runs:
        for y, organ in enumerate(organs):
            assert filled[run.system, y] == run.scores["organs"][organ]["f1_of_means_with_background"]
    hollow = {line.get_label(): line for line in left.lines if line.get_marker() == "D" and line.get_ydata()[0] == 0}
    assert {label: float(line.get_xdata()[0]) for label, line in hollow.items()} == {
        f"{name}, as the paper prints it": TABLE_2[name]["Breast"][2] for name in ("TSFD-Net", "MONCH")
    }
    ours = {line.get_label(): to_rgb(line.get_color()) for line in left.lines if line.get_marker() == "o"}
    assert to_rgb(hollow["TSFD-Net, as the paper prints it"].get_color()) == ours["TSFD-Net"]
    dead = [float(line.get_xdata()[0]) for line in right.lines if line.get_marker() == "D" and line.get_ydata()[0] == 4]
    assert sorted(dead) == sorted(TABLE_1[name][4][2] for name in ("MONCH", "TSFD-Net"))


def test_the_command_draws_both_and_runs_of_one_method_are_one_system(tmp_path, capsys):
    record = {"settings": {"split": 1}}
    folders = [evaluation(tmp_path / name, seed=i, **record) for i, name in enumerate("ab")]
    Commands().figures(*folders, out=tmp_path / "new" / "figures")
    assert [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()] == ["segmentations.png", "f1.png"]
    for name in ("segmentations", "f1"):
        with Image.open(tmp_path / "new" / "figures" / f"{name}.png") as picture:
            picture.load()
    assert len(systems(*folders)) == 1


CASES = {
    "other data": ({"data_fingerprint": "beef"}, r"b was evaluated on another data \(beef beside f00d of .*a\)"),
    "other split": (
        {"settings": {"split": 3, "amp": False}},
        r"b was evaluated on another split or part \(split 3 test beside split 2",
    ),
    "other tiles": ({"kept_seed": 9}, r"b keeps other tiles than .*a: evaluate both on the same split"),
    "other classes": ({"labels": LabelSets(some_classes(3))}, r"b was evaluated on another classes"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_cannot_be_compared_is_refused_by_name(case, tmp_path):
    changes, message = CASES[case]
    folders = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", "TsfdNet", **changes)
    with pytest.raises(InputError, match=message) as caught:
        Commands().figures(*folders, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "keeps no tiles to compare"), (b"PK\x03\x04", "cannot be read")]
)
def test_a_run_without_tiles_is_refused_by_name(content, message, tmp_path):
    folders = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", "TsfdNet")
    (folders[1] / "compared_tiles.npz").unlink()
    if content is not None:
        (folders[1] / "compared_tiles.npz").write_bytes(content)
    with pytest.raises(InputError, match=f"b.*{message}.*: evaluate again"):
        Commands().figures(*folders, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["1_truth", "0_predicted", "colors"])
def test_tiles_without_one_of_their_arrays_are_refused(part, tmp_path):
    folders = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", "TsfdNet")
    with np.load(folders[1] / "compared_tiles.npz") as file:
        kept = dict(file)
    del kept[part]
    np.savez_compressed(folders[1] / "compared_tiles.npz", **kept)
    with pytest.raises(InputError, match=r"b.compared_tiles.npz cannot be read \(KeyError\): evaluate again"):
        Commands().figures(*folders, out=tmp_path / "out")


def test_runs_of_one_method_on_other_data_are_no_one_system(tmp_path):
    folders = evaluation(tmp_path / "a"), evaluation(tmp_path / "b", data_fingerprint="beef")
    with pytest.raises(InputError, match=r"b was evaluated on another data \(beef, f00d beside f00d of .*a\)"):
        Commands().figures(*folders, out=tmp_path / "out")


def test_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run is given"):
        Commands().figures(out=tmp_path)
