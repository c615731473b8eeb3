import json
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.report.figures import (
    class_color,
    draw_all,
    draw_confusion,
    draw_feature_maps,
    draw_organs,
    draw_reliability,
    draw_training,
    save,
)
from monch_monai.report.paper import TABLE_2
from monch_monai.tissues import TISSUES
from tests.fakes.evaluations import add_everything, make_calibration, set_score, write_evaluation
from tests.fakes.labels import SEVERAL, some_classes

KEY = "f1_of_means_with_background"


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def organs(*scores, names=TISSUES):
    """Scores of as many organs, with intervals of .1 to both sides and as many images as the organ's number."""
    rows = {
        name: {"images": i, KEY: s, f"{KEY}_low": None if s is None else s - 0.1, f"{KEY}_high": s and s + 0.1}
        for i, (name, s) in enumerate(zip(names, scores, strict=False), 1)
    }
    return {"organs": {**rows, "all images": {"images": 99, KEY: 0.5}}}


def drawn(axes):
    """Points of all lines, by marker."""
    found = {}
    for line in axes.lines:
        found.setdefault(line.get_marker(), []).append([*map(float, np.ravel([line.get_xdata(), line.get_ydata()]))])
    return found


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_organs_have_their_score_their_interval_and_the_papers():
    (axes,) = draw_organs(organs(0.5, 0.625)).axes
    points = drawn(axes)
    assert points["o"] == [[0.5, 0], [0.625, 1]]
    assert points["D"] == [[TABLE_2["MONCH"][organ][2], i] for i, organ in enumerate(TISSUES[:2])]
    assert np.allclose(points["None"], [[0.4, 0.6, 0, 0], [0.525, 0.725, 1, 1]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Adrenal_gland (1)", "Bile-duct (2)"]
    assert axes.yaxis_inverted()
    assert axes.get_xlim() == (0, 1)
    assert legend(axes) == ["this run, 95 % interval", "paper"]


def test_all_nineteen_organs_have_a_line_each():
    figure = draw_organs(organs(*[0.5] * 19))
    assert len(figure.axes[0].get_yticklabels()) == 19
    assert len(drawn(figure.axes[0])["o"]) == 19
    assert figure.get_figheight() > draw_organs(organs(0.5)).get_figheight() + 4


def test_an_organ_without_a_score_has_its_name_alone_and_takes_no_ones_legend():
    (axes,) = draw_organs(organs(None, 0.5)).axes
    assert [point[1] for point in drawn(axes)["o"]] == [1]
    assert len(axes.get_yticklabels()) == 2
    assert legend(axes) == ["this run, 95 % interval", "paper"]


def test_an_organ_that_the_paper_has_not_stands_alone():
    (axes,) = draw_organs(organs(0.5, 0.5, names=("unknown", "Skin"))).axes
    assert drawn(axes)["D"] == [[0.7202, 1]]
    assert legend(axes) == ["this run, 95 % interval", "paper"]
    (axes,) = draw_organs(organs(0.5, names=("unknown",))).axes
    assert legend(axes) == ["this run, 95 % interval"]


def test_a_figure_of_no_score_at_all_has_no_legend(tmp_path):
    figure = draw_organs(organs(None))
    assert figure.axes[0].get_legend() is None
    save(tmp_path / "a.png", figure)


def test_each_row_of_the_confusion_is_shares_of_its_class():
    matrix = np.zeros((6, 6))
    matrix[0, :2] = 30, 10
    matrix[5, 5] = 7
    (axes,) = draw_confusion(matrix, PANNUKE.names, PANNUKE.names).axes
    texts = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert len(texts) == 36
    assert (texts[0, 0][0], texts[1, 0][0], texts[5, 5][0], texts[0, 5][0]) == ("0.750", "0.250", "1.000", "0.000")
    assert (texts[0, 0][1], texts[1, 0][1]) == ("white", "#333333")
    assert {texts[column, 3][0] for column in range(6)} == {"–"}  # not in the truth
    shown = axes.images[0].get_array()
    assert (shown[0, 0], shown[3, 3]) == (0.75, 0)


def test_the_confusion_names_truth_down_and_prediction_across():
    (axes,) = draw_confusion(np.ones((6, 6)), PANNUKE.names, PANNUKE.names).axes
    names = [c.name for c in PANNUKE.classes]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "truth")


def test_the_confusion_has_a_row_for_each_label_and_a_column_for_each_class():
    counts = np.arange(1, 49).reshape(8, 6)
    (axes,) = draw_confusion(counts, SEVERAL.names, PANNUKE.names).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == PANNUKE.names
    assert [tick.get_text() for tick in axes.get_yticklabels()] == SEVERAL.names
    assert axes.images[0].get_array()[6, 5] == counts[6, 5] / counts[6].sum()


def test_figures_are_of_the_classes_of_a_table_in_its_colours(tmp_path):
    table = some_classes(3)
    (axes,) = draw_reliability(make_calibration(class_table=table), table).axes
    file = history(tmp_path / "h.csv", [2.5, 0.5, 0.25], columns=["epoch", "loss", "dice class 1", "dice class 2"])
    _, right = draw_training(file, table).axes
    for lines in (axes.lines[1:], right.lines):
        assert [to_rgb(line.get_color()) for line in lines] == [class_color(c) for c in table.nuclei]
    assert [line.get_label() for line in right.lines] == ["class 1", "class 2"]


def test_reliability_has_a_line_for_each_class_with_pixels():
    (axes,) = draw_reliability(make_calibration(), PANNUKE).axes
    diagonal, *lines = axes.lines
    assert (list(diagonal.get_xdata()), list(diagonal.get_ydata())) == ([0, 1], [0, 1])
    assert [line.get_label() for line in lines] == [
        f"{name} (ECE 0.900)" for name in ("neoplastic", "inflammatory", "connective", "epithelial")
    ]
    for line, c in zip(lines, [c for c in PANNUKE.nuclei if c.name != "dead"], strict=True):
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.0, 0.9], [1.0, 0.0])
        assert to_rgb(line.get_color()) == class_color(c)


def test_reliability_of_nothing_is_the_diagonal():
    (axes,) = draw_reliability(make_calibration(empty=[c.name for c in PANNUKE.nuclei]), PANNUKE).axes
    assert len(axes.lines) == 1
    assert axes.get_legend() is None


COLUMNS = ["epoch", "loss", "next_learning_rate", "seconds", "mean_dice", *(f"dice {c.name}" for c in PANNUKE.classes)]


def history(path, *rows, columns=COLUMNS):
    lines = [columns, *([i, *row, *[""] * (len(columns) - 1 - len(row))] for i, row in enumerate(rows, 1))]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return path


def test_training_has_the_loss_and_the_dice_of_each_class_and_their_mean(tmp_path):
    dice = [[0.9, 0.1, 0.2, 0.3, "", 0.5], [0.9, 0.2, 0.3, 0.4, "", 0.6]]
    file = history(tmp_path / "h.csv", [2.5, 1, 9, 0.275, *dice[0]], [1.5, 1, 9, 0.375, *dice[1]])
    left, right = draw_training(file, PANNUKE).axes
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in left.lines] == [([1, 2], [2.5, 1.5])]
    assert left.get_ylim()[0] == 0
    lines = {line.get_label(): list(line.get_ydata()) for line in right.lines}
    assert list(lines) == ["neoplastic", "inflammatory", "connective", "dead", "epithelial", "mean"]
    assert (lines["neoplastic"], lines["epithelial"], lines["mean"]) == ([0.1, 0.2], [0.5, 0.6], [0.275, 0.375])
    assert np.isnan(lines["dead"]).all()  # not in the truth
    assert to_rgb(right.lines[0].get_color()) == class_color(PANNUKE.classes[1])


def test_epochs_without_validation_leave_gaps(tmp_path):
    file = history(tmp_path / "h.csv", [2.5, 1, 9], [1.5, 1, 9, 0.5])
    _, right = draw_training(file, PANNUKE).axes
    mean = next(line.get_ydata() for line in right.lines if line.get_label() == "mean")
    assert np.array_equal(mean, [np.nan, 0.5], equal_nan=True)


def test_a_training_of_one_epoch_not_validated_has_its_loss(tmp_path):
    left, right = draw_training(history(tmp_path / "h.csv", [2.5, 1, 9], columns=COLUMNS[:4]), PANNUKE).axes
    assert list(left.lines[0].get_ydata()) == [2.5]
    assert list(right.lines) == []
    save(tmp_path / "a.png", left.figure)


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_feature_maps_lie_over_the_image_with_their_names(count, tmp_path):
    image = np.full((40, 60, 3), 7, np.uint8)
    maps = {f"map {i}": np.full((4 + i, 6), i, np.float32) for i in range(count)}
    figure = draw_feature_maps(image, maps)
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["image", *maps]
    assert np.array_equal(shown[0].images[0].get_array(), image)
    for axes, values in zip(shown[1:], maps.values(), strict=True):
        assert np.array_equal(axes.images[0].get_array(), values)
        assert axes.images[0].get_extent() == [0, 60, 40, 0]
    assert not any(axes.axison for axes in figure.axes)
    save(tmp_path / "a.png", figure)


def test_colours_are_darker_than_the_classes_own():
    assert class_color(PANNUKE.classes[4]) == (0.8, 0.8, 0.0)


def test_an_evaluation_gets_what_its_files_allow(tmp_path):
    write_evaluation(tmp_path / "bare")
    draw_all(tmp_path / "bare", PANNUKE, None)
    assert names(tmp_path / "bare") == ["confusion.png", "f1_by_organ.png"]
    add_everything(write_evaluation(tmp_path / "full"))
    draw_all(tmp_path / "full", PANNUKE, history(tmp_path / "h.csv", [2.5, 1, 9, 0.5]))
    assert names(tmp_path / "full") == [
        "confusion.png", "f1_by_organ.png", "feature_maps.png", "reliability.png", "training.png",
    ]  # fmt: skip
    for path in (tmp_path / "full" / "figures").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"


def names(folder):
    return sorted(path.name for path in (folder / "figures").iterdir())


def test_curves_of_another_training_do_not_stay(tmp_path):
    folder = write_evaluation(tmp_path / "run")
    draw_all(folder, PANNUKE, history(tmp_path / "h.csv", [2.5, 1, 9, 0.5]))
    curves = (folder / "figures" / "training.png").read_bytes()
    draw_all(folder, PANNUKE, None)  # not known: left as it is
    assert (folder / "figures" / "training.png").read_bytes() == curves
    draw_all(folder, PANNUKE, tmp_path / "shipped" / "history.csv")
    assert names(folder) == ["confusion.png", "f1_by_organ.png"]


def test_scores_that_are_not_defined_are_drawn_without_them(tmp_path):
    folder = write_evaluation(tmp_path, tissues=("Skin",), absent=(4,))
    set_score(folder, None, "organs", "Skin", KEY)
    draw_all(folder, PANNUKE, None)
    assert json.loads((folder / "scores.json").read_text())["confusion_matrix"][4] == [0] * 6
    assert names(folder) == ["confusion.png", "f1_by_organ.png"]
