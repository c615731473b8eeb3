"""Instance maps with known answers."""

import numpy as np

from monch_monai.metrics import Instances


def disc(shape, x, y, radius):
    """Mask of the pixels whose centres lie within `radius` of (x, y)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def discs(places, radius=6, shape=(64, 64), shift=0, classes=None):
    """Discs around (x, y) in order, moved right by `shift`, of class 1 unless told."""
    ids = np.zeros(shape, np.int64)
    for i, (x, y) in enumerate(places, start=1):
        ids[disc(shape, x + shift, y, radius)] = i
    return Instances(ids, np.array([0, *(classes or [1] * len(places))], np.uint8))


def random_instances(seed, shape=(48, 56), most=14):
    """Up to `most` random rectangles and discs of random classes, later ones over earlier ones; maybe none."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(shape, np.int64)
    for i in range(1, int(rng.integers(0, most + 1)) + 1):
        x, y, radius = rng.integers(0, shape[1]), rng.integers(0, shape[0]), rng.integers(1, 9)
        if rng.random() < 0.5:
            ids[disc(shape, x, y, radius)] = i
        else:
            ids[y : y + radius, x : x + radius] = i
    return renumbered(ids, rng)


def disturbed(nuclei, seed):
    """A prediction of them: moved a little, some lost, some new, some of another class."""
    rng = np.random.default_rng(1000 + seed)
    ids = np.roll(nuclei.ids, tuple(rng.integers(-2, 3, 2)), axis=(0, 1))
    ids = np.where(np.isin(ids, rng.integers(1, 15, 2)), 0, ids)
    extra = random_instances(seed + 5000, nuclei.ids.shape, most=4).ids
    ids = np.where((ids == 0) & (extra > 0), extra + 100, ids)
    made = renumbered(ids, rng)
    kept = np.array([nuclei.classes[i] if i < len(nuclei.classes) else 0 for i in np.unique(np.append(ids, 0))])
    return Instances(
        made.ids, np.where((kept > 0) & (rng.random(len(kept)) < 0.7), kept, made.classes).astype(np.uint8)
    )


def renumbered(ids, rng):
    found, numbered = np.unique(np.append(ids, 0), return_inverse=True)
    classes = np.append(0, rng.integers(1, 6, len(found) - 1)).astype(np.uint8)
    return Instances(numbered[:-1].reshape(ids.shape).astype(np.int64), classes)
