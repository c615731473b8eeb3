"""The image that DICOM results refer to: the slide's own series, or a stand-in that states what is not known."""

import hashlib
import json
import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

from highdicom import AlgorithmIdentificationSequence
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.uid import VLWholeSlideMicroscopyImageStorage, generate_uid

import monch_monai
from monch_monai.slides import dicom_files
from monch_monai.writers.dicom_codes import scheme_item
from monch_monai.writers.source import Source

logging.getLogger("highdicom").setLevel(logging.WARNING)  # it logs each attribute that it copies
warnings.filterwarnings("ignore", "The string .* is unlikely to represent the intended person name")  # the slide's own

THICKNESS = 0.004
"""Of a section whose thickness is not known, mm: the usual one."""
UNKNOWN = "Source is no DICOM: patient, study, slide UIDs are placeholders"
"""In files of slides that are no DICOM, as description of their content and of their series."""
EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""What may be empty in an image, and is written into everything that refers to it."""


def source_image(source: Source) -> Dataset:
    """The instance that results refer to, without its pixels.

    That is the level 0 of the slide where it is DICOM. Else a dataset whose UIDs follow from the slide's name and
    contents, so that all results of a slide agree in them, and those of the image from its resolution too; its
    description is `UNKNOWN`.
    """
    path = source.path
    is_dicom = path.is_dir() or path.suffix.lower() == ".dcm"
    found = _level0(dicom_files(path if path.is_dir() else path.parent), source) if is_dicom else None
    image = found if found is not None else _stand_in(source)
    for name in EMPTY:
        if name not in image or image.get(name) is None:
            setattr(image, name, "")
    if image.PatientSex not in ("M", "F", "O"):
        image.PatientSex = ""
    image.SpecificCharacterSet = "ISO_IR 192"  # text is decoded already, and names of classes may be of any script
    return image


def description(source: Source, image: Dataset) -> str:
    """What a file states of its source, in words."""
    lines = "Coordinates are of its Total Pixel Matrix."
    if image.get("SeriesDescription") != UNKNOWN:
        return f"The source is the DICOM image that is referred to. {lines}"
    unknown = "which is no DICOM: its patient, study, specimen and place on the glass are not known"
    made = "UIDs of study, frame of reference and image are placeholders made of the file's name and digest"
    return f"The source is {source.name[:200]}, {unknown}; {made}. {lines}"


def uid(source: Source, *what: str) -> str:
    """A UID that follows from the slide and `what`: the same work gives the same."""
    return str(generate_uid(entropy_srcs=[json.dumps([source.digest, source.name, *what])]))


def algorithm(source: Source) -> AlgorithmIdentificationSequence:
    """What made the results; its parameters are the provenance as JSON, of the class table names and SHA-256."""
    made = AlgorithmIdentificationSequence(
        "MONCH", codes.DCM.ArtificialIntelligence, monch_monai.__version__, source="monch_monai"
    )
    about = {name: value for name, value in source.about.items() if name != "class_table"}
    table = json.dumps(source.class_table.to_dict(), sort_keys=True)
    about["class_table_sha256"] = hashlib.sha256(table.encode()).hexdigest()
    made[0].AlgorithmParameters = json.dumps(about)
    return made


def header(source: Source, image: Dataset, kind: str, number: int, content: str) -> dict[str, Any]:
    """Arguments that highdicom's constructors share: series, instance, equipment and description.

    The date is that of `SOURCE_DATE_EPOCH` (seconds since 1970) where the environment has it, so that the same work can
    be made the same bytes; else now, in UTC.

    Args:
        source: of the results.
        image: by `source_image`.
        kind: `ANN` or `SEG`.
        number: of the series.
        content: digest of what the file holds, which its instance UID follows from too.
    """
    now = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time()))
    date, moment = time.strftime("%Y%m%d", now), time.strftime("%H%M%S", now)
    unknown = UNKNOWN if image.get("SeriesDescription") == UNKNOWN else None
    return {
        "series_instance_uid": uid(source, "series", kind, source.identity),
        "series_number": number,
        "sop_instance_uid": uid(source, "instance", kind, source.identity, content, date, moment),
        "instance_number": 1,
        "manufacturer": "MONCH",
        "manufacturer_model_name": "monch_monai",
        "software_versions": monch_monai.__version__,
        "device_serial_number": next(iter(source.about.get("weights_sha256", ())), "unknown"),
        "content_label": f"MONCH_{kind}",
        "content_description": unknown or "Nuclei by class, found by MONCH",
        "series_description": unknown or "MONCH nuclei",
        "content_date": date,
        "content_time": moment,
        "coding_schemes": [scheme_item()],
    }


def finish(dataset: Any) -> None:
    """Replaces the times that highdicom took from the clock by the date of the content."""
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = dataset.ContentDate, dataset.ContentTime
    for item in dataset.ContributingEquipmentSequence:
        if item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = f"{dataset.ContentDate:%Y%m%d}{dataset.ContentTime:%H%M%S}"


def _level0(files: list[Path], source: Source) -> Dataset | None:
    """Header of the volume image of level 0; of a file that is a slide, only of its own series."""
    series = None
    for path in [source.path, *files] if source.path.is_file() else files:
        try:
            image = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        series = series or (image.get("SeriesInstanceUID") if path == source.path else None)
        size = image.get("TotalPixelMatrixColumns"), image.get("TotalPixelMatrixRows")
        if (
            image.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage
            and size == tuple(source.size)
            and "VOLUME" in image.get("ImageType", ())
            and series in (None, image.get("SeriesInstanceUID"))
        ):
            return image
    return None


def _stand_in(source: Source) -> Dataset:
    """A whole-slide image that no file holds: what highdicom asks of one."""
    name, pixels = source.name[:64], f"{source.size} {source.mpp}"
    image, spacing, path, specimen, place, shared = (Dataset() for _ in range(6))
    image.SOPClassUID, image.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, uid(source, "image", pixels)
    image.StudyInstanceUID, image.SeriesInstanceUID = uid(source, "study"), uid(source, "source series", pixels)
    image.FrameOfReferenceUID = uid(source, "frame of reference", pixels)
    image.PositionReferenceIndicator = "SLIDE_CORNER"
    image.SeriesDescription, image.Modality, image.ImageType = UNKNOWN, "SM", ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    image.ContainerIdentifier = name
    image.IssuerOfTheContainerIdentifierSequence = image.ContainerTypeCodeSequence = []
    specimen.SpecimenIdentifier, specimen.SpecimenUID = name, uid(source, "specimen")
    specimen.IssuerOfTheSpecimenIdentifierSequence = specimen.SpecimenPreparationSequence = []
    image.SpecimenDescriptionSequence = [specimen]
    image.Rows, image.Columns, image.NumberOfFrames = min(source.size.height, 65535), min(source.size.width, 65535), 1
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = source.size
    image.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = 0
    image.TotalPixelMatrixOriginSequence = [place]
    spacing.PixelSpacing, spacing.SliceThickness = [source.mpp.y / 1000, source.mpp.x / 1000], THICKNESS
    shared.PixelMeasuresSequence = [spacing]
    image.SharedFunctionalGroupsSequence = [shared]
    path.OpticalPathIdentifier = "1"
    image.OpticalPathSequence = [path]
    image.BurnedInAnnotation, image.LossyImageCompression = "NO", "00"
    return image
