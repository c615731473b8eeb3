"""A DICOM whole-slide image of one level, uncompressed, made by code."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid


def write_dicom(folder, pixels, mpp=0.25, tile=64):
    """Writes `[H, W, 3]` into a folder, as one file of tiles."""
    folder.mkdir()
    height, width, _ = pixels.shape
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.pad(pixels, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")
    frames = padded.reshape(rows, tile, columns, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made = dataset(
        SOPClassUID=VLWholeSlideMicroscopyImageStorage, SOPInstanceUID=generate_uid(), Modality="SM", ImageType=kind,
        StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid(),
        DimensionOrganizationSequence=[dataset(DimensionOrganizationUID=generate_uid())],
        DimensionOrganizationType="TILED_FULL", PatientID="none", PatientName="none", PatientBirthDate="",
        PatientSex="", StudyDate="", StudyTime="", ReferringPhysicianName="", StudyID="", AccessionNumber="",
        SeriesNumber=1, InstanceNumber=1, Manufacturer="none", ManufacturerModelName="none", DeviceSerialNumber="0",
        SoftwareVersions="0", ContentDate="20200101", ContentTime="000000", AcquisitionDateTime="20200101000000",
        ContainerIdentifier="0", PositionReferenceIndicator="SLIDE_CORNER", SamplesPerPixel=3,
        PhotometricInterpretation="RGB", PlanarConfiguration=0, Rows=tile, Columns=tile, NumberOfFrames=len(frames),
        BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, BurnedInAnnotation="NO",
        LossyImageCompression="00", VolumetricProperties="VOLUME", SpecimenLabelInImage="NO", FocusMethod="AUTO",
        ExtendedDepthOfField="NO", TotalPixelMatrixColumns=width, TotalPixelMatrixRows=height,
        TotalPixelMatrixFocalPlanes=1, ImagedVolumeWidth=width * mpp / 1000, ImagedVolumeHeight=height * mpp / 1000,
        ImagedVolumeDepth=0.001, ImageOrientationSlide=[0, -1, 0, -1, 0, 0], NumberOfOpticalPaths=1,
        TotalPixelMatrixOriginSequence=[dataset(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)],
        SharedFunctionalGroupsSequence=[dataset(
            PixelMeasuresSequence=[dataset(PixelSpacing=[mpp / 1000, mpp / 1000], SliceThickness=0.001)],
            WholeSlideMicroscopyImageFrameTypeSequence=[dataset(FrameType=kind)],
        )],
        OpticalPathSequence=[dataset(
            OpticalPathIdentifier="1",
            IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")],
            IlluminationColorCodeSequence=[code("414298005", "SCT", "Full Spectrum")],
        )],
        PixelData=frames.tobytes(),
    )  # fmt: skip
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.save_as(folder / "level_0.dcm", enforce_file_format=True)
    return folder


def dataset(**elements):
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def code(value, scheme, meaning):
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
