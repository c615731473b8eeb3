"""Which patient a field is of, and which patients are held out, so that none is on both sides of a split."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from monch_monai.errors import InputError, shown

TCGA = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)
"""A patient of The Cancer Genome Atlas in the name of a file: the source site, and the patient there."""

VALIDATION = 0.2
"""Share of patients that is held out where nothing else is asked for."""

Validation = float | str | Sequence[str]
"""A share of the patients, or names of patients or fields."""

TISSUE_OF_SITE = {
    "Bladder": "CU DK G2 ZF",
    "Brain": "DB DU FG HT",
    "Breast": "A2 A7 AC AO AR E2 EW S3",
    "Colon": "A6 AY NH",
    "Kidney": "2Z B0 DW F9 GL HE IZ MH UZ",
    "Lung": "18 21 38 44 49 50 55 69 73 78 MP",
    "Prostate": "2A CH EJ G9 HC YL",
    "Stomach": "KB RD",
}
"""Tissue of the source sites of The Cancer Genome Atlas that MoNuSeg and MoNuSAC have fields of."""
UNKNOWN = "unknown"


def patient_of(field: str, pattern: str | None = None) -> str:
    """Patient of the field of a name: TCGA's where the name holds one, else the field itself.

    Args:
        field: its name.
        pattern: a regular expression instead. The patient is its first group, or without groups all that it matches.

    Raises:
        InputError: the pattern is no regular expression, or the name does not match it.
    """
    if pattern is None:
        found = TCGA.search(field)
        return found[0].upper() if found else field
    try:
        match = re.search(pattern, field)
    except re.error as error:
        raise InputError(
            f"patients is {shown(pattern)}, no regular expression ({error}): mend it; ^[^_]+ is one"
        ) from error
    patient = match[match.re.groups and 1] if match else None
    if not patient:
        problem = f"patients is {shown(pattern)}, which finds no patient in the field {field}"
        raise InputError(f"{problem}: give one that does")
    return patient


def tissue_of(patient: str) -> str:
    """Tissue of a patient of TCGA, by the source site; `unknown` where it is no site of `TISSUE_OF_SITE`."""
    site = patient.split("-")[1].upper() if TCGA.match(patient) else ""
    return next((tissue for tissue, sites in TISSUE_OF_SITE.items() if site in sites.split()), UNKNOWN)


def hold_out(patient_of_field: Mapping[str, str], validation: Validation = VALIDATION) -> set[str]:
    """Patients to hold out.

    By a share, those whose name's SHA-256 is below it, as a fraction of the largest. So a patient is on the same side
    in every dataset prepared with one share. Where this would hold out none, the one next to the share is held out.
    Where it would hold out all, the one farthest below stays for training.

    Args:
        patient_of_field: patient by field.
        validation: a share, above 0 and below 1; or names of patients, or of fields, which hold out their patients.

    Raises:
        InputError: the share is out of range, a name is of no patient and no field, or no patient is left to train on.
    """
    patients = sorted(set(patient_of_field.values()), key=lambda patient: (_fraction(patient), patient))
    if isinstance(validation, int) and validation > 1:  # from a patient named 1002 Fire makes a number
        validation = str(validation)
    if isinstance(validation, str | Sequence):
        names = [validation] if isinstance(validation, str) else [str(name) for name in validation]
        known = {patient: patient for patient in patients} | dict(patient_of_field)
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, 1, 0.0)[0]
                raise InputError(f"validation names {shown(name)}, no patient and no field (nearest: {near})")
        held_out = {known[name] for name in names}
    else:
        if not isinstance(validation, float) or not 0 < validation < 1:
            found = f"validation is {shown(validation)}"
            raise InputError(f"{found}; give a share above 0 and below 1, or names of patients")
        below = sum(_fraction(patient) < validation for patient in patients)
        held_out = set(patients[: min(max(below, 1), len(patients) - 1)])
    if not held_out or held_out == set(patients):
        found = f"validation {shown(validation)} holds out {len(held_out)} of {len(patients)} patients"
        raise InputError(f"{found}: hold out at least one, and leave at least one to train on")
    return held_out


def _fraction(patient: str) -> float:
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64
