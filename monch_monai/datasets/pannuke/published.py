"""PanNuke as published: addresses, checksums and counts (Gamper et al., 2020; counts from audits of the files)."""

from typing import NamedTuple


class PublishedFold(NamedTuple):
    """One fold: archive size in bytes, its SHA-256, number of tiles, and nuclei of each class in channel order."""

    archive_bytes: int
    archive_sha256: str
    tiles: int
    nuclei: tuple[int, int, int, int, int]


ADDRESS = "https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke"
"""Where `fold_1.zip`, `fold_2.zip` and `fold_3.zip` lie."""

FOLDS = {
    1: PublishedFold(
        700_275_281,
        "6e19ad380300e8ce9480f9ab6a14cc91fa4b6a511609b40e3d70bdf9c881ed0b",
        2656,
        (26_201, 10_820, 16_388, 967, 8_842),
    ),
    2: PublishedFold(
        658_842_552,
        "5bc540cc509f64b5f5a274d6e5a245527dbd3e6d3155d43555115c5d54709b07",
        2523,
        (22_731, 10_631, 16_756, 884, 8_870),
    ),
    3: PublishedFold(
        717_969_882,
        "c14d372981c42f611ebc80afad01702b89cad8c1b3089daa31931cf5a4b1a39d",
        2722,
        (28_471, 10_825, 17_441, 1_057, 8_860),
    ),
}

SPLITS = {
    "1": {"train": ["fold1"], "validation": ["fold2"], "test": ["fold3"]},
    "2": {"train": ["fold2"], "validation": ["fold1"], "test": ["fold3"]},
    "3": {"train": ["fold3"], "validation": ["fold2"], "test": ["fold1"]},
}
"""The three-fold protocol of the dataset paper."""

LICENSE = "CC BY-NC-SA 4.0 (PanNuke, Gamper et al. 2019 and 2020); not for commercial use"
