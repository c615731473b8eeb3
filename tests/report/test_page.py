import json
import re
from html import escape

import numpy as np
import pytest
from PIL import Image

from monch_monai.__main__ import Commands
from monch_monai.class_table import LabelSets
from monch_monai.errors import InputError
from monch_monai.networks.provenance import Provenance
from monch_monai.report import write_report
from monch_monai.report.sections import WIDEST
from tests.fakes.evaluations import PROVENANCE, RECORD, Page, add_everything, set_score, write_evaluation
from tests.fakes.labels import SEVERAL, some_classes

NASTY = "<b>bold</b> & \"quoted\" 'single' {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Folder of an evaluation with nothing but scores and a record, and its page."""
    folder = write_evaluation(tmp_path_factory.mktemp("bare"))
    return folder, Page(write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Folder of an evaluation with everything, names in it that look like markup, and its page."""
    folder = tmp_path_factory.mktemp("full")
    write_evaluation(folder, tissues=("Skin", NASTY), time=12.5, encoder_weights="clip_rn50: a&b <c>.pt")
    add_everything(folder, tissue=NASTY, source="a&b<c>", name="x<y>&z.npy#3")
    training = folder / "training"
    training.mkdir()
    (training / "history.csv").write_text("epoch,loss,mean_dice\n1,0.5,0.25\n")
    return folder, Page(write_report(folder, training / "best.pt").read_text(encoding="utf-8"))


def test_the_page_lies_beside_the_tables_and_figures(full):
    folder, _ = full
    made = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.parent.name != "training")
    assert made == [
        "calibration.json", "counts.csv", "figures/confusion.png", "figures/f1_by_organ.png",
        "figures/feature_maps.png", "figures/reliability.png", "figures/training.png", "inference_time.json",
        "nuclei.json", "report.html", "run.json", "scores.csv", "scores.json", "scores_by_organ.csv",
        "scores_by_organ_and_class.csv", "tables/table1.csv", "tables/table1.md", "tables/table2.csv",
        "tables/table2.md", "tiles/best_1.png", "tiles/tiles.json", "tiles/worst_1.png",
    ]  # fmt: skip


@pytest.mark.parametrize("which", ["bare", "full"])
def test_the_page_asks_nothing_of_a_network(which, request):
    folder, page = request.getfixturevalue(which)
    assert page.references
    assert all(reference.startswith("data:") for reference in page.references)
    assert "script" not in page.tags
    assert not page.tags & {"iframe", "object", "embed", "base", "form"}
    assert not re.search(r"url\(|@import|expression", page.style)
    assert "://" not in (folder / "report.html").read_text(encoding="utf-8")
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_the_page_says_its_language_encoding_and_title(bare):
    folder, page = bare
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert ("html", {"lang": "en"}) in page.elements
    assert ("meta", {"charset": "utf-8"}) in page.elements
    assert "<title>MONCH: an evaluation</title>" in text
    assert page.text.count("For research only; not for diagnosis.") == 1


def test_every_picture_can_be_opened_and_is_no_wider_than_a_screen(full):
    _, page = full
    pictures = page.pictures
    assert len(pictures) == 7  # five figures, a best tile and a worst
    for picture, caption in pictures:
        picture.load()
        assert picture.format == "JPEG"
        assert 0 < picture.width <= WIDEST
        assert caption
    assert sum(picture.width == WIDEST for picture, _ in pictures) == 3  # those of 2000 pixels


def test_a_picture_keeps_its_shape_and_colours(full):
    _, page = full
    worst = next(picture for picture, caption in page.pictures if "Dice 0.125" in caption)
    assert worst.size == (1600, 80)
    assert np.abs(np.asarray(worst).astype(int) - (200, 10, 10)).max() < 8


def test_texts_are_no_markup(full):
    folder, page = full
    assert "b" not in page.tags
    assert {"x", "y", "c"} & page.tags == set()
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in text
    assert escape(NASTY).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in text
    assert NASTY in page.text
    assert "a&b <c>.pt" in page.text
    assert [caption for _, caption in page.pictures if caption.startswith(f"x<y>&z.npy#3 {NASTY} a&b<c>: mean Dice")]


def test_the_page_has_the_scores(bare):
    folder, page = bare
    scores = json.loads((folder / "scores.json").read_text())
    pooled = scores["organs"]["all images"]
    mean, low, high = (pooled[f"mean_f1_of_nuclei{end}"] for end in ("", "_low", "_high"))
    assert f"mean Dice of nuclei {mean:.4f} [{low:.4f}, {high:.4f}]" in page.text
    dead = scores["classes"]["dead"]
    assert f"dead {dead['dice']:.4f} [{dead['dice_low']:.4f}, {dead['dice_high']:.4f}]" in page.text
    assert f"{dead['pixels']:,} {dead['predicted']:,}" in page.text
    lung = scores["organs"]["Lung"]
    assert f"Lung {lung['mean_iou_with_background']:.4f} {lung['fw_iou']:.4f}" in page.text
    assert "4 tiles, 2026-01-02T03:04:05+0000" in page.text


def test_the_page_has_the_papers_tables_with_our_rows_marked(bare):
    _, page = bare
    assert "MONCH paper 0.6679 0.7898 0.8009" in page.text
    assert "MONCH this software" in page.text
    assert [attrs for tag, attrs in page.elements if tag == "tr" and attrs] == [{"class": "ours"}]


def test_the_page_has_nuclei_and_time_where_they_were_measured(full, bare):
    assert "mPQ, PanNuke's rule 0.4321 [0.2500, 0.7500]" in full[1].text
    assert "bPQ, PanNuke's rule - [0.2500, 0.7500]" in full[1].text
    assert "inference of a tile, median 12.5 ms abacus, float32, batch 1, 256 px" in full[1].text
    assert "dead 0.3000 0.5000 0.6000 - 0.2000 0.7000 0.8000 0.6250 40 30" in full[1].text
    assert "PanNuke's rule" not in bare[1].text
    assert "inference time not measured" in bare[1].text


def test_the_page_has_no_sections_of_what_is_not_there(bare, full):
    nuclei, tiles = ["Nuclei, one by one", "Nuclei by class"], ["The worst tiles", "The best tiles"]
    titles = ["Table 1, beside the paper's", "Table 2, beside the paper's", "Figures"]
    for (folder, _), before, after in ((bare, [], []), (full, nuclei, tiles)):
        html = (folder / "report.html").read_text(encoding="utf-8")
        found = [text.replace("&#39;", "'") for text in re.findall(r"<h2>(.*?)</h2>", html)]
        assert found == ["By class", *before, *titles, *after, "Provenance"]
    assert [caption.split(":")[0].split(" (")[0] for _, caption in bare[1].pictures] == [
        "F1 by organ with the number of tiles", "Confusion of pixels",
    ]  # fmt: skip


def test_tiles_have_a_key_of_the_colours(full):
    _, page = full
    swatches = [attrs["style"] for tag, attrs in page.elements if tag == "i"]
    assert swatches[:2] == ["background:rgb(255, 0, 0)", "background:rgb(0, 255, 0)"]
    assert len(swatches) == 2 * (5 + 3)
    assert "epithelial missed not there of another class" in page.text


def test_the_page_says_where_it_comes_from(bare):
    _, page = bare
    provenance = page.text.partition("Provenance ")[2]
    for name, value in (
        ("network", "MONCH"), ("encoder weights", "file weights.pt, SHA-256 c0dec0dec0de"),
        ("training: learning_rate", "5e-05"), ("checkpoint", "c0ffee"),
        ("data fingerprint", "f00d"), ("seed", "7"), ("split", "2"), ("amp", "False"), ("commit", "abcdef"),
        ("versions", "monch 0.1, torch 2.0"), ("hardware", "machine abacus, gpus []"),
    ):  # fmt: skip
        assert f"{name} {value}" in provenance


def test_a_run_without_checkpoint_or_commit_has_dashes(tmp_path):
    write_evaluation(tmp_path, checkpoint=None, commit=None)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "checkpoint - " in text
    assert "commit - " in text


WARNING = "The image encoder started from random weights, not from CLIP's as in the paper."


@pytest.mark.parametrize(
    ("weights", "warned"),
    [("clip_rn50: random", True), ("clip_rn50: random_crops.pt", False), ("clip_rn50: weights.pt", False)],
)
def test_random_encoders_are_warned_of(weights, warned, tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",), encoder_weights=weights)
    assert (WARNING in Page(write_report(tmp_path).read_text(encoding="utf-8")).text) == warned


def test_scores_that_are_not_defined_are_dashes(tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",), absent=(4,))
    for end in ("", "_low", "_high"):
        set_score(tmp_path, None, "organs", "all images", f"mean_f1_of_nuclei{end}")
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "mean Dice of nuclei - [-, -]" in text
    assert "dead - - - - 0 " in text
    assert "None" not in text
    assert "nan" not in text.split()


def test_the_same_files_give_the_same_page(full):
    folder, _ = full
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    write_report(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_the_command_makes_the_page_of_a_trainings_evaluation(tmp_path, capsys):
    folder = write_evaluation(tmp_path / "evaluation", tissues=("Skin",))
    Commands().report(str(tmp_path))
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert Page((folder / "report.html").read_text(encoding="utf-8")).pictures[0][0].width > 100


def test_the_page_of_an_evaluation_in_a_trainings_folder_tells_of_the_evaluation(tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",), kind="training", checkpoint=None, seed=1)
    (tmp_path / "run_evaluation.json").write_text(json.dumps({**RECORD, "seed": 99}))
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "checkpoint c0ffee" in text
    assert "seed 99" in text


def test_a_folder_without_an_evaluation_is_refused_and_left_empty(tmp_path):
    with pytest.raises(InputError, match=r"holds no scores\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_grey_and_transparent_pictures_are_shown_too(tmp_path):
    folder = add_everything(write_evaluation(tmp_path, tissues=("Skin",)), width=300)
    Image.new("LA", (300, 90)).save(folder / "tiles" / "worst_1.png")
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert [(picture.mode, picture.size) for picture, text in page.pictures if "0.125" in text] == [("RGB", (300, 90))]


@pytest.mark.parametrize("provenance", [PROVENANCE, Provenance("UNet")], ids=["monch", "another network"])
def test_the_page_is_of_the_classes_that_were_evaluated(provenance, tmp_path):
    """Whatever the network records: another than MONCH records none, and words may have been exchanged."""
    table = some_classes(3)
    labels = LabelSets(table, ((1, 2),))
    write_evaluation(tmp_path, tissues=("Skin",), labels=labels, provenance=provenance.to_dict())
    add_everything(tmp_path, class_table=table)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    swatches = [attrs["style"] for tag, attrs in page.elements if tag == "i"]
    assert swatches[:2] == ["background:rgb(10, 254, 3)", "background:rgb(20, 253, 6)"]
    assert len(swatches) == 2 * (2 + 3)
    assert len(page.pictures) == 6
    assert "Table 1" not in page.text
    assert not (tmp_path / "tables").exists()
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert f"class 2 {scores['classes']['class 2']['dice']:.4f}" in page.text


def test_the_page_has_rows_of_labels_that_stand_for_several_classes(tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",), labels=SEVERAL)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    of_both = json.loads((tmp_path / "scores.json").read_text())["classes"]["neoplastic or epithelial"]
    assert f"neoplastic or epithelial {of_both['dice']:.4f} [{of_both['dice_low']:.4f}, " in page.text


def test_scores_of_earlier_versions_have_no_classes_of_their_own(tmp_path):
    write_evaluation(tmp_path, tissues=("Skin",), encoder_weights="clip_rn50: random")
    path = tmp_path / "scores.json"
    scores = {n: v for n, v in json.loads(path.read_text()).items() if n not in ("labels", "class_table")}
    path.write_text(json.dumps(scores))
    add_everything(tmp_path)
    assert len(Page(write_report(tmp_path).read_text(encoding="utf-8")).pictures) == 6
