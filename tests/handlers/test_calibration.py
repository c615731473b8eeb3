import json
import warnings

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monch_monai.class_table import PANNUKE
from monch_monai.handlers import Calibration
from monch_monai.handlers.calibration import BINS, calibration_counts, expected_calibration_error
from tests.fakes.labels import PLAIN


def counts_of(probability, label, c=1):
    """Counts of one class that is predicted with `probability [H, W]`."""
    probs = np.zeros((5, *np.shape(label)))
    probs[c - 1] = probability
    return calibration_counts(probs, np.asarray(label, np.uint8), PLAIN)[c - 1]


def evaluate(folder, *batches):
    """Calibration of batches of tiles (name, probs, label)."""

    def step(engine, batch):
        return [
            {
                "image": MetaTensor(torch.zeros(1), meta={"filename_or_obj": name}),
                "probs": torch.from_numpy(probs),
                "label": torch.from_numpy(label)[None],
            }
            for name, probs, label in batch
        ]

    evaluator = Engine(step)
    Calibration(folder, PLAIN).attach(evaluator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluator.run(list(batches))
    return json.loads((folder / "calibration.json").read_text())


def random_tile(seed, name=None, dtype=np.float32):
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, 4, 5, 255], (9, 7)).astype(np.uint8)
    return name or f"images.npy#{seed}", rng.random((5, 9, 7)).astype(dtype), label


def test_a_pixel_counts_in_the_bin_of_its_probability():
    counts = counts_of([[0.0, 0.5, 0.07, 1.0]], [[0, 1, 1, 1]])
    assert counts.shape == (BINS, 3)
    assert counts[:, 0].nonzero()[0].tolist() == [0, 1, 7, 14]
    assert counts[7].tolist() == [1, 0.5, 1]
    assert counts[0].tolist() == [1, 0, 0]


def test_a_probability_of_exactly_one_is_in_the_last_bin():
    counts = counts_of(np.ones((2, 3)), np.ones((2, 3)))
    assert counts[14].tolist() == [6, 6, 6]
    assert counts[:14].sum() == 0


def test_ignored_pixels_count_nowhere():
    counts = counts_of([[0.9, 0.9, 0.1]], [[255, 1, 255]])
    assert counts[:, 0].sum() == 1
    assert counts[13].tolist() == [1, 0.9, 1]


def test_each_class_counts_its_own_pixels():
    label = np.array([[0, 1, 2, 3, 4, 5, 5]], np.uint8)
    counts = calibration_counts(np.full((5, 1, 7), 0.5, np.float16), label, PLAIN)
    assert counts[:, 7].tolist() == [[7, 3.5, n] for n in (1, 1, 1, 1, 2)]


def test_probabilities_that_come_true_have_no_error():
    label = np.zeros((10, 10))
    label[:3] = 1
    assert expected_calibration_error(counts_of(np.full((10, 10), 0.3), label)) == pytest.approx(0, abs=1e-12)
    certain = counts_of(label, label)
    assert expected_calibration_error(certain) == 0


@pytest.mark.parametrize("share", [0, 1, 3, 10])
def test_always_one_half_is_off_by_the_distance_of_the_share(share):
    label = np.zeros((1, 10))
    label[0, :share] = 1
    assert expected_calibration_error(counts_of(np.full((1, 10), 0.5), label)) == pytest.approx(abs(0.5 - share / 10))


def test_the_error_weights_bins_by_their_pixels():
    probability = np.array([[0.9] * 3 + [0.2]])  # 3 pixels of which 1 is right, 1 pixel that is
    error = expected_calibration_error(counts_of(probability, [[1, 0, 0, 1]]))
    assert error == pytest.approx(3 / 4 * abs(0.9 - 1 / 3) + 1 / 4 * abs(0.2 - 1))


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_error_agree_with_a_loop_over_pixels(seed):
    _, probs, label = random_tile(seed)
    counts = calibration_counts(probs, label, PLAIN)
    for c in PANNUKE.nuclei:
        pairs = [(p, t == c.index) for p, t in zip(probs[c.index - 1].ravel(), label.ravel(), strict=True) if t != 255]
        bins = [[pair for pair in pairs if b / 15 <= pair[0] < (b + 1) / 15] for b in range(15)]
        assert counts[c.index - 1, :, 0].tolist() == [len(b) for b in bins]
        gaps = [abs(np.mean([p for p, _ in b]) - np.mean([t for _, t in b])) * len(b) for b in bins if b]
        assert expected_calibration_error(counts[c.index - 1]) == pytest.approx(sum(gaps) / len(pairs), abs=1e-6)


def test_the_file_has_means_and_shares_by_bin_and_null_for_empty_ones(tmp_path):
    probs, label = np.zeros((5, 1, 4), np.float32), np.array([[1, 1, 0, 255]], np.uint8)
    probs[0] = [[0.75, 0.75, 0.75, 0.25]]
    written = evaluate(tmp_path / "new", [("a", probs, label)])
    assert written["bins"] == 15
    assert list(written["classes"]) == [c.name for c in PANNUKE.nuclei]
    row = written["classes"]["neoplastic"]
    assert row["pixels"] == [3 if b == 11 else 0 for b in range(15)]
    assert row["probability"] == [0.75 if b == 11 else None for b in range(15)]
    assert row["share"] == [pytest.approx(2 / 3) if b == 11 else None for b in range(15)]
    assert row["expected_calibration_error"] == pytest.approx(0.75 - 2 / 3)
    assert written["classes"]["dead"]["expected_calibration_error"] == 0  # never said, never there


def test_nothing_counted_has_no_error(tmp_path):
    written = evaluate(tmp_path, [("a", np.zeros((5, 2, 2), np.float32), np.full((2, 2), 255, np.uint8))])
    assert written["classes"]["dead"] == {
        "pixels": [0] * 15, "probability": [None] * 15, "share": [None] * 15, "expected_calibration_error": None,
    }  # fmt: skip


def test_several_batches_count_as_one_and_a_tile_seen_twice_once(tmp_path):
    tiles = [random_tile(seed, dtype=np.float16) for seed in range(5)]
    together = evaluate(tmp_path / "a", tiles)
    assert evaluate(tmp_path / "b", tiles[:2], tiles[2:4], [*tiles[4:], tiles[0]]) == together
    total = sum((label != 255).sum() for _, _, label in tiles)
    assert {sum(row["pixels"]) for row in together["classes"].values()} == {total}


def test_each_epoch_counts_anew(tmp_path):
    handler = Calibration(tmp_path, PLAIN)
    handler.records = {"old": np.ones((5, 15, 3))}
    handler.start(Engine(lambda *_: None))
    assert handler.records == {}
