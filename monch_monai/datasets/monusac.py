"""MoNuSAC, H&E of four organs at 0.25 µm/px with some nuclei outlined and typed (Verma et al., 2021).

The zips unpacked hold a folder for each patient, with `NAME.svs`, `NAME.tif` and `NAME.xml`. Fields are of any size.

| annotation | label |
|---|---|
| Epithelial | epithelial: neoplastic or epithelial, not known which |
| Lymphocyte | lymphocyte: inflammatory |
| Neutrophil | neutrophil: inflammatory |
| Macrophage | 255, since whole cells are outlined |
| Ambiguous | 255 |

Stroma, vessels and doubtful nuclei have no label. So pixels without a label are 255 too, but for those that are
certainly of no nucleus (`monch_monai.datasets.haematoxylin`).
"""

from pathlib import Path

from monch_monai.class_table import IGNORE_INDEX, PANNUKE, Vocabulary
from monch_monai.datasets.aperio import find_fields, read_field
from monch_monai.datasets.field_dataset import write_fields
from monch_monai.datasets.fields import Labelled
from monch_monai.datasets.haematoxylin import without_unlabelled
from monch_monai.datasets.patients import VALIDATION, Validation

VOCABULARY = Vocabulary.of_nuclei(
    PANNUKE,
    {"epithelial": ("neoplastic", "epithelial"), "lymphocyte": ("inflammatory",), "neutrophil": ("inflammatory",)},
)
VALUE_OF = {"epithelial": 1, "lymphocyte": 2, "neutrophil": 3, "macrophage": IGNORE_INDEX, "ambiguous": IGNORE_INDEX}
"""Label by the name of an annotation."""


def prepare_monusac(source: str | Path, output_dir: str | Path, validation: Validation = VALIDATION) -> Path:
    """Writes MoNuSAC as a prepared dataset, split by patient; see `write_fields` for its folds.

    Args:
        source: the folder with the unpacked zips. Fields in a subfolder with `test` in its name are the test part.
        output_dir: the folder to make.
        validation: share of the patients held out, or names of patients or fields.

    Raises:
        InputError: a picture or its outlines are missing, damaged or there twice, or `write_fields` refuses them.
    """
    return write_fields(
        output_dir,
        find_fields(source, _read),
        VOCABULARY,
        validation,
        name="MoNuSAC",
        license="CC BY-NC-SA 4.0 (MoNuSAC, Verma et al. 2021); not for commercial use",
        labels="by hand, not exhaustive: pixels without a label count as background only far from any haematoxylin",
    )


def _read(picture: Path, outlines: Path) -> Labelled:
    field = read_field(picture, outlines, VALUE_OF)
    return field._replace(classes=without_unlabelled(field.image, field.classes, field.instances))
