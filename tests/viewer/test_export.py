"""A page that opens from disk."""

import base64
import json
import re

import numpy as np
import pytest

from monch_monai.__main__ import Commands
from monch_monai.errors import InputError
from tests.fakes.results import write_image_result


def data_of(folder):
    return json.loads((folder / "data.js").read_text(encoding="utf-8").removeprefix("const EXPORTED = ").rstrip(";\n"))


def test_a_region_has_the_nuclei_whose_centroids_lie_in_it(slides, tmp_path, capsys):
    folder, nuclei = slides
    Commands().view(folder / "out", export=tmp_path / "page", result="one", region="600,700,500,400")
    assert capsys.readouterr().out.strip() == str(tmp_path / "page" / "index.html")
    data = data_of(tmp_path / "page")
    inside = [n for n in nuclei if 600 <= n.x < 1100 and 700 <= n.y < 1100]
    places = np.frombuffer(base64.b64decode(data["rows"]), "<i4", 2 * len(inside)).reshape(-1, 2) / 1000
    assert sorted(map(tuple, places.tolist())) == sorted((n.x, n.y) for n in inside)
    assert data["nuclei"]["total"] == len(data["numbers"]) == len(inside)
    assert sorted(p.name for p in (tmp_path / "page" / "picture" / "2").iterdir()) == [
        "1_1.jpg", "1_2.jpg", "2_1.jpg", "2_2.jpg",
    ]  # fmt: skip
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:src|href)="([^":,]+)"', page):
        assert (tmp_path / "page" / name).is_file()
    assert (tmp_path / "page" / "openseadragon" / "LICENSE.txt").is_file()


def test_an_image_is_exported_whole(tmp_path):
    nuclei = write_image_result(tmp_path, ending="parquet")
    Commands().view(tmp_path / "out", export=tmp_path / "page")
    assert data_of(tmp_path / "page")["nuclei"]["total"] == len(nuclei)


@pytest.mark.parametrize(("settings", "expected"), [
    ({"result": "three"}, "result is 'three'; give --result, one of 2: one, two"), ({}, "give --result"),
    ({"result": "one", "region": "1,2,3"}, "region is '1,2,3'; give X,Y,WIDTH,HEIGHT"),
    ({"result": "one", "region": "5000,0,10,10"}, "lies outside one"),
    ({"result": "one", "export": "full"}, "exists: give a new folder"),
    ({"export": None, "region": "0,0,9,9"}, "region is of --export FOLDER"),
])  # fmt: skip
def test_what_cannot_be_exported_is_one_line_and_nothing_is_written(slides, tmp_path, settings, expected):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine", encoding="utf-8")
    target = settings.get("export", "page")
    settings = {**settings, "export": None if target is None else tmp_path / target}
    with pytest.raises(InputError, match=expected):
        Commands().view(slides[0] / "out", **settings)
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_more_than_a_page_holds_is_refused(slides, tmp_path, monkeypatch):
    monkeypatch.setattr("monch_monai.viewer.static_page.MOST_NUCLEI", 10)
    with pytest.raises(InputError, match="give a smaller --region"):
        Commands().view(slides[0] / "out", export=tmp_path / "page", result="one")
