"""Image-bootstrap intervals (Efron's percentile interval): how much a score hangs on which images were tested."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monch_monai.metrics.pixels import Floats

RESAMPLES = 1000
LEVEL = 0.95


class Interval(NamedTuple):
    """Ends of an interval, each `[...]`, and the share of resamples in which the score was defined."""

    low: Floats
    high: Floats
    defined: Floats


def draws(images: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each image is drawn in each resample, `[R, N]`: N images out of N, with replacement.

    The same number of images and seed give the same draws.

    Raises:
        ValueError: `images` is below 1.

    Examples:
        >>> draws(images=4, resamples=2).sum(axis=1).tolist()
        [4, 4]
    """
    if images < 1:
        raise ValueError(f"{images} images: at least one is needed to resample")
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)


def resample(counts: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Sums of resampled images' counts, `[R, ...]`, whole numbers exactly.

    Args:
        counts: `[N, ...]`, such as one confusion matrix an image; sums stay exact below 2^53.
        resamples: R.
        seed: of the draws.

    Raises:
        ValueError: `counts` has no image.

    Examples:
        >>> resample([[[5, 1], [2, 8]]], resamples=2).tolist()  # of one image: that image each time
        [[[5.0, 1.0], [2.0, 8.0]], [[5.0, 1.0], [2.0, 8.0]]]
    """
    per_image = np.asarray(counts, dtype=np.float64)
    drawn = draws(len(per_image), resamples, seed).astype(np.float64)
    return (drawn @ per_image.reshape(len(per_image), -1)).reshape(-1, *per_image.shape[1:])


def interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Percentile interval of a score over resamples.

    Resamples in which the score is not defined (a rare class was not drawn) are left out; `defined` is the share of the
    others. The ends of a score that was never defined are NaN.

    Args:
        values: `[R, ...]`, the score of each resample.
        level: share of the resamples between the ends.

    Examples:
        >>> low, high, defined = interval([0.1, 0.2, 0.3, np.nan], level=1)
        >>> float(low), float(high), float(defined)
        (0.1, 0.3, 0.75)
    """
    scores = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(scores)
    ends = np.full((2, *scores.shape[1:]), np.nan)
    some = known.any(axis=0)
    tail = (1 - level) / 2
    if some.any():
        ends[:, some] = np.nanquantile(scores[:, some], [tail, 1 - tail], axis=0)
    return Interval(ends[0], ends[1], known.mean(axis=0))
