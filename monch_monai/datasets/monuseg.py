"""MoNuSeg, H&E of several organs at 0.25 µm/px with every nucleus outlined (Kumar et al., 2017 and 2020).

The zips unpacked hold `Tissue Images/NAME.tif` and `Annotations/NAME.xml` to train on, and `NAME.tif` beside `NAME.xml`
to test. Fields are of 1000x1000 px. Nuclei have no class: each is of any.
"""

from functools import partial
from pathlib import Path

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.datasets.aperio import find_fields, read_field
from monch_monai.datasets.field_dataset import write_fields
from monch_monai.datasets.patients import VALIDATION, Validation

VOCABULARY = Vocabulary.of_nuclei(PANNUKE, {"nucleus": None})


def prepare_monuseg(source: str | Path, output_dir: str | Path, validation: Validation = VALIDATION) -> Path:
    """Writes MoNuSeg as a prepared dataset, split by patient; see `write_fields` for its folds.

    Args:
        source: the folder with the unpacked zips. Fields in a subfolder with `test` in its name are the test part.
        output_dir: the folder to make.
        validation: share of the patients held out, or names of patients or fields.

    Raises:
        InputError: a picture or its outlines are missing, damaged or there twice, or `write_fields` refuses them.
    """
    return write_fields(
        output_dir,
        find_fields(source, partial(read_field, value_of=1)),
        VOCABULARY,
        validation,
        name="MoNuSeg",
        license="CC BY-NC-SA 4.0 (MoNuSeg, Kumar et al. 2017 and 2020); not for commercial use",
        labels="by hand; nuclei have no class",
    )
