import json

import pytest

from monch_monai.errors import InputError
from monch_monai.segmentation import GivenNuclei


def written(path, *rings):
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def test_an_outline_with_a_spike_keeps_its_area_and_loses_the_spike(tmp_path):
    spike = [[0, 0], [10, 0], [10, 10], [10, 20], [10, 10], [0, 10], [0, 0]]
    (polygon,) = GivenNuclei.read(written(tmp_path / "n.geojson", spike)).polygons
    assert (polygon.geom_type, polygon.area, polygon.bounds) == ("Polygon", 100, (0, 0, 10, 10))


def test_an_outline_that_crosses_itself_becomes_its_parts(tmp_path):
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    (polygon,) = GivenNuclei.read(written(tmp_path / "n.geojson", bow)).polygons
    assert (polygon.geom_type, polygon.area) == ("MultiPolygon", 50)


def test_an_outline_without_an_area_is_refused(tmp_path):
    with pytest.raises(InputError, match="without an area"):
        GivenNuclei.read(written(tmp_path / "n.geojson", [[0, 0], [10, 0], [0, 0], [0, 0]]))
