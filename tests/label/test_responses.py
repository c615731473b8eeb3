from dataclasses import replace
from pathlib import Path
from xml.dom import minidom

import pyarrow as pa
import pytest
import shapely

from monch_monai.geometry import Level0Box
from monch_monai.label.annotations import read_annotations
from monch_monai.label.segmenter import Segmented
from tests.fakes.labels import some_classes

pytestmark = pytest.mark.label
PART = Level0Box(0, 0, 40, 30)
SQUARES = [shapely.box(2, 3, 12, 13), shapely.box(20, 5, 30, 15)]


@pytest.fixture
def found():
    """Two nuclei of classes whose names need escaping in XML."""
    table = some_classes(3)
    names = ["background", "T & NK", "5 µm"]
    table = replace(table, classes=tuple(replace(c, name=n) for c, n in zip(table.classes, names, strict=True)))
    return Segmented(PART, pa.table({"class_name": names[1:], "geometry": shapely.to_wkb(SQUARES)}), table, None)


@pytest.mark.parametrize("output", ["asap", "dsa"])
def test_files_of_outlines_are_read_back_whatever_the_names_of_classes(found, output):
    from monch_monai.label.responses import outline_response

    file, response = outline_response([found], output, "monch")
    read = read_annotations(file, found.class_table).outlines
    assert [outline.name for outline in read] == ["T & NK", "5 µm"]
    assert all(a.polygon.equals(b) for a, b in zip(read, SQUARES, strict=True))
    (annotation,) = response["annotations"]
    assert [element["label"] for element in annotation["annotation"]["elements"]] == ["T & NK", "5 µm"]
    assert annotation["annotation"]["labels"] == {"T & NK": [10, 254, 3], "5 µm": [20, 253, 6]}
    if output == "asap":
        shown = minidom.parseString(Path(file).read_text(encoding="utf-8")).getElementsByTagName("Annotation")
        assert [each.attributes["Color"].value for each in shown] == ["#0afe03", "#14fd06"]
