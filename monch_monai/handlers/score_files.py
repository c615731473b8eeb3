"""Files of scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monch_monai.files import write_json, write_rows
from monch_monai.metrics import ImageCounts, mean_dice, paper_scores, score_rows
from monch_monai.metrics.bootstrap import LEVEL, RESAMPLES
from monch_monai.metrics.rows import class_rows, organ_class_rows, organ_rows, organ_spreads


def write_scores(folder: Path, counts: ImageCounts) -> None:
    """Writes all scores of a set of images.

    - `scores.csv`: a row a class, pooled over all images.
    - `scores_by_organ.csv`: a row an organ, and one of all images.
    - `scores_by_organ_and_class.csv`: a row a class of each organ.
    - `scores_by_dataset.csv`: a row a class of each dataset, where there are several.
    - `counts.csv`: a row an image, its tissue and source, and its pixel counts `TRUTH>PREDICTION`.
    - `scores.json`: the same scores, each dataset's mean Dice and the mean of these, the paper's average, spreads over
      organs, and the class table.

    Beside each score are the ends of its 95 % image-bootstrap interval, `…_low` and `…_high`. An undefined score is an
    empty cell, and null.

    Args:
        folder: made if absent.
        counts: pixel counts of the images, at least one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = counts.labels
    classes = class_rows(counts.matrices, labels)
    organs = organ_rows(counts.matrices, counts.tissues, labels)
    write_rows(folder / "scores.csv", classes)
    write_rows(folder / "scores_by_organ.csv", organs)
    write_rows(folder / "scores_by_organ_and_class.csv", organ_class_rows(counts.matrices, counts.tissues, labels))
    write_rows(folder / "counts.csv", _count_rows(counts))
    of_datasets = folder / "scores_by_dataset.csv"
    of_datasets.unlink(missing_ok=True)
    if len(groups := counts.by_dataset) > 1:
        rows = [{"dataset": name, **r._asdict()} for name, m in groups.items() for r in score_rows(m, labels)]
        write_rows(of_datasets, rows)
    scores = {
        "images": len(counts.images),
        "mean_dice": counts.mean_dice,
        "datasets": {name: mean_dice(matrix, labels) for name, matrix in groups.items()},
        "paper_average": paper_scores(counts.matrix, labels)._asdict(),
        "classes": {row["name"]: _without(row, "name") for row in classes},
        "organs": {row["organ"]: _without(row, "organ") for row in organs},
        "over_organs": {k: v._asdict() for k, v in organ_spreads(counts.matrices, counts.tissues, labels).items()},
        "intervals": {"method": "percentile, images resampled", "level": LEVEL, "resamples": RESAMPLES, "seed": 0},
        "confusion_matrix": counts.matrix.tolist(),
        "labels": labels.names,
        "class_table": labels.table.to_dict(),
    }
    write_json(folder / "scores.json", scores)


def _count_rows(counts: ImageCounts) -> list[dict[str, str | int]]:
    names = [f"{truth}>{guess}" for truth in counts.labels.names for guess in counts.labels.table.names]
    origins = zip(counts.images, counts.tissues, counts.sources, counts.matrices, strict=True)
    return [
        {"image": image, "tissue": tissue, "source": source, **dict(zip(names, matrix.ravel().tolist(), strict=True))}
        for image, tissue, source, matrix in origins
    ]


def _without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}
