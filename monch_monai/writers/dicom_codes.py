"""Codes of what DICOM files hold: SNOMED CT where it has one, else this package's own scheme.

The SNOMED CT codes of nucleus and anatomical structure are of DICOM PS3.16 (CID 8135, CID 7150), those of cells of
SNOMED CT's branch Cell. Classes that it has no one code for, such as inflammatory or dead cells, keep a code of ours.
"""

import hashlib
import re

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from monch_monai.class_table import NucleusClass
from monch_monai.segmentation import Quantity

SCHEME = "99MONCH"
CATEGORY = CodedConcept("91723000", "SCT", "Anatomical Structure")
CELLS = {
    "neoplastic": ("252987004", "Tumor cell"),
    "epithelial": ("4212006", "Epithelial cell"),
    "lymphocyte": ("56972008", "Lymphocyte"),
    "leukocyte": ("52501007", "Leukocyte"),
    "eosinophil": ("14793004", "Eosinophil"),
}
"""SNOMED CT code and meaning of cells, by the name of a class."""


def scheme_item() -> CodingSchemeIdentificationItem:
    """What a file states of our scheme."""
    return CodingSchemeIdentificationItem(SCHEME, name="Codes of MONCH", responsible_organization="MONCH")


def nucleus(c: NucleusClass, modifier: str) -> CodedConcept:
    """A nucleus, with the kind of cell that its class is of as `modifier`, the keyword of a sequence."""
    value, meaning = CELLS.get(c.name.casefold(), ("", ""))
    cell = CodedConcept(value, "SCT", meaning) if value else CodedConcept(code_value(c.name), SCHEME, c.name)
    made = CodedConcept("84640000", "SCT", "Nucleus")
    setattr(made, modifier, [cell])
    return made


def concept(quantity: Quantity) -> CodedConcept:
    """What a number of a nucleus is."""
    if quantity.sct:
        return CodedConcept(quantity.sct, "SCT", quantity.meaning)
    return CodedConcept(code_value(quantity.column), SCHEME, quantity.meaning[:64])


def unit(quantity: Quantity) -> CodedConcept:
    """Its unit."""
    return CodedConcept(quantity.unit, "UCUM", "no units" if quantity.unit == "1" else quantity.unit)


def code_value(name: str) -> str:
    """A code of at most 16 characters: the name in capitals, or a digest where it is too long or not plain."""
    plain = re.sub(r"[ -]", "_", name).upper()
    if re.fullmatch(r"[A-Z0-9_]{1,16}", plain):
        return plain
    return f"N_{hashlib.sha256(name.encode()).hexdigest()[:12].upper()}"
