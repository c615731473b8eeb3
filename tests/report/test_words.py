import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monch_monai.class_table import PANNUKE, ClassTable, NucleusClass
from monch_monai.data import Tiles
from monch_monai.errors import InputError
from monch_monai.networks.prompt_decoder import CrossAttention
from monch_monai.report import draw_picture_words, draw_words, words, write_report
from monch_monai.report.word_figure import draw_word_maps
from monch_monai.report.word_maps import attention_weights, word_maps
from tests.fakes.evaluations import Page, write_evaluation
from tests.fakes.network import SmallText, noise, small_monch
from tests.fakes.tiny import write
from tests.fakes.trained import tissue, write_small_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
WITHOUT_WORDS = {"q_t off": {"queries": ["high", "conv", "text"]}, "no decoder": {"ppd": False}}


def table_of(classes, sentence="Kind {}, of which this is the number {}.", kind="kind"):
    """A table of other classes than PanNuke's."""
    names = ["background", *(f"{kind} {i}" for i in range(1, classes))]
    made = (
        NucleusClass(i, name, (i, 25 * i, 255 - 25 * i), tuple(sentence.format(i, s) for s in range(3)))
        for i, name in enumerate(names)
    )
    return ClassTable("kinds", tuple(made))


def described(table=PANNUKE, words="attributes", **settings):
    network = small_monch(k=4, dilation=1, **settings)  # takes images from 64 pixels
    network.describe(table, SmallText(), words)
    return network.eval()


@pytest.mark.parametrize("table", [PANNUKE, table_of(3)], ids=["PanNuke's", "three classes"])
def test_attention_sums_to_one_over_the_sentences_at_each_place(table):
    maps = word_maps(described(table), noise(1, 3, 64, 96))
    assert maps.attention.shape == (len(table), 3, 8, 12)
    assert np.allclose(maps.attention.sum(axis=(0, 1)), 1, atol=1e-6)
    assert np.allclose(maps.class_attention.sum(axis=0), 1, atol=1e-6)
    assert np.array_equal(maps.class_attention, maps.attention.sum(axis=1))
    assert maps.attention.std() > 0


def test_the_weights_are_those_that_the_stage_attends_by():
    torch.manual_seed(0)
    stage, query, source = CrossAttention(32, 24, num_heads=1), noise(2, 10, 32), noise(2, 5, 24, seed=1)
    weights = attention_weights(stage, query, source)
    values = stage.g_v(stage.norm_source(source))
    assert torch.allclose(query + stage.out(weights @ values), stage(query, source), atol=1e-6)


def test_heads_that_each_attend_to_one_sentence_share_the_attention():
    stage = CrossAttention(4, 4, num_heads=2)
    with torch.no_grad():
        for layer in (stage.g_q, stage.g_k):
            layer.weight.zero_()
            layer.bias.zero_()
        stage.g_q.bias.fill_(100)
        stage.g_k.weight[0, 0] = stage.g_k.weight[2, 1] = 1  # the first head takes what has feature 0, the second 1
    source = torch.eye(4)[None, :3]
    weights = attention_weights(stage, noise(1, 6, 4), source)
    assert torch.allclose(weights, torch.tensor([0.5, 0.5, 0.0]).expand(1, 6, 3), atol=1e-6)


def test_a_query_that_asks_nothing_attends_to_all_sentences_alike():
    network = described()
    torch.nn.init.zeros_(network.decoder.attend["topo"].g_q.weight)
    torch.nn.init.zeros_(network.decoder.attend["topo"].g_q.bias)
    assert np.allclose(word_maps(network, noise(1, 3, 64, 64)).attention, 1 / 18)


def test_a_class_responds_to_its_own_words_alone():
    network = described(words="fixed")
    with torch.no_grad():
        network.text_features.zero_()
        network.text_features[2 * 3 + 1, 5] = 1  # of the third class's sentences the second
        network.text_axes.zero_()[1:25] = torch.eye(24)
        network.head.text.weight[:, :5] = network.head.text.weight[:, 6:] = 0
        network.head.text.weight[-1] = 0  # its bias
    maps = word_maps(network, noise(1, 3, 64, 64))
    moved = maps.responses.std(axis=(2, 3)) > 1e-4
    assert np.argwhere(moved).tolist() == [[2, 1]]
    assert np.argwhere(maps.logits.std(axis=(1, 2)) > 1e-4).tolist() == [[2]]
    others = np.delete(maps.responses, 2, axis=0)
    priors = np.delete(network.head.prior[:6].numpy(), 2)
    assert np.allclose(others, priors[:, None, None, None])


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (33, 17)])
def test_responses_are_of_the_images_size_and_their_mean_is_the_logit_of_a_class_of_directions(size):
    network, image = small_monch(k=4, dilation=1), noise(1, 3, *size)
    maps = word_maps(network, image)
    with torch.inference_mode():
        assert np.array_equal(maps.logits, network(image)[0].numpy())
    assert maps.responses.shape == (6, 3, *size)
    assert np.allclose(maps.responses.mean(axis=1), maps.logits, atol=1e-5)
    assert maps.attention.shape[2:] == tuple(-(-n // 8) for n in size)


def test_sentences_have_their_text_names_their_name_and_directions_a_number():
    image = noise(1, 3, 64, 64)
    assert word_maps(described(words="fixed"), image).captions == tuple(c.sentences[:3] for c in PANNUKE.classes)
    assert word_maps(described(words="names"), image).captions == tuple((c.name,) for c in PANNUKE.classes)
    random = small_monch(k=4, dilation=1, class_table=table_of(4))
    assert word_maps(random, image).captions == (("direction 1", "direction 2", "direction 3"),) * 4


@pytest.mark.parametrize("settings", WITHOUT_WORDS.values(), ids=WITHOUT_WORDS)
def test_a_network_that_attends_to_no_words_has_no_columns_of_attention(settings):
    maps = word_maps(described(**settings), noise(1, 3, 64, 64))
    assert maps.attention is maps.class_attention is None
    figure = draw_word_maps(np.zeros((64, 64, 3), np.uint8), maps, PANNUKE)
    assert len(figure.axes) == 6 * (2 + 3) + 2
    assert not [text for text in texts(figure) if "attention" in text.get_text()]


def test_a_folded_network_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^the network is folded, which keeps no words: use [^\n]*$"):
        word_maps(described().folded(), noise(1, 3, 64, 64))


@pytest.mark.parametrize("settings", [{}, *WITHOUT_WORDS.values()])
def test_looking_changes_no_prediction_and_leaves_no_hook(settings):
    network, image = described(**settings), noise(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(image)
        word_maps(network, image)
        assert torch.equal(network(image), before)
    assert [name for name, part in network.named_modules() if part._forward_hooks] == []


def texts(figure):
    return [*figure.texts, *(axes.xaxis.label for axes in figure.axes), *(axes.title for axes in figure.axes)]


@pytest.mark.parametrize("words", ["attributes", "names"])
@pytest.mark.parametrize("attends", [True, False])
def test_no_text_of_nine_classes_lies_on_another_or_outside(words, attends):
    longest = "Words {} without an end, number {}, " + "and more of them " * 25
    table = table_of(9, longest, kind="W" * 38)
    maps = word_maps(described(table, words, **({} if attends else WITHOUT_WORDS["q_t off"])), noise(1, 3, 64, 64))
    figure = draw_word_maps(np.full((64, 64, 3), 200, np.uint8), maps, table)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts(figure) if text.get_text()]
    assert len(boxes) >= 9 * (1 + len(maps.captions[0]))
    cells = [axes.get_window_extent() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not [other for other in (*boxes[:i], *cells) if box.overlaps(other)]


def test_scales_are_stated_and_a_map_without_structure_is_drawn_flat():
    network = described()
    torch.nn.init.zeros_(network.decoder.attend["topo"].g_q.weight)
    maps = word_maps(network, noise(1, 3, 64, 64))
    figure = draw_word_maps(np.zeros((64, 64, 3), np.uint8), maps, PANNUKE)
    spans = [axes.images[0].get_clim() for axes in figure.axes if axes.get_xlabel()]
    assert len(spans) == 6 * 4
    assert all(most - least == pytest.approx(0.01, abs=1e-6) for least, most in spans)
    stated = " ".join(text.get_text() for text in texts(figure))
    assert "equal shares: 0.056 a sentence" in stated
    assert "logit, ±6 and beyond" in stated


def test_an_evaluation_draws_the_words_of_a_tile(tmp_path):
    tiles = Tiles(write(tmp_path / "tiles"))
    items = tiles.items(["a", "b"])
    dataset = [{"image": MetaTensor(torch.zeros(3, 16, 16), meta={"filename_or_obj": item["image"]})} for item in items]
    path = draw_words(tmp_path / "out", described(), dataset, tiles, ["a", "b"])
    assert path == tmp_path / "out" / "figures" / "words.png"
    with Image.open(path) as picture:
        assert 1000 < picture.width <= 1600  # the page makes none smaller


def test_the_report_has_the_picture_with_its_explanation(tmp_path):
    write_evaluation(tmp_path)
    before = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Seeing words" not in before.text
    Image.new("RGB", (600, 300), (10, 200, 10)).save(tmp_path / "figures" / "words.png")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(page.pictures) == len(before.pictures) + 1
    assert (600, 300) in [picture.size for picture, _ in page.pictures]
    assert "Seeing words Where the words act in one tile." in page.text


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory):
    """A bundle of a small network, and a picture."""
    network = small_monch()
    network.describe(table_of(4), SmallText())
    network.reference_density.copy_(torch.tensor([0.12, 0.36, 0.2]))
    folder = write_small_bundle(tmp_path_factory.mktemp("bundle"), network)
    Image.fromarray(tissue(0, 300, 280, 20).image).save(folder / "picture.png")
    return folder


def run(folder, *arguments):
    command = [sys.executable, "-m", "monch_monai", "words", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_command_draws_a_tile_of_a_picture(small_bundle):
    done = run(small_bundle, "picture.png", "seen/words.png", "--x", 100, "--y", 20, "--mpp", 0.25)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "seen/words.png"
    with Image.open(small_bundle / "seen" / "words.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_a_tile_at_the_edge_is_moved_inside_the_picture(small_bundle, monkeypatch):
    shown = []
    draw = words.draw_word_maps
    monkeypatch.setattr(words, "draw_word_maps", lambda image, *of: shown.append(image) or draw(image, *of))
    monkeypatch.chdir(small_bundle)
    pixels = np.asarray(Image.open("picture.png"))
    Image.fromarray(np.repeat(pixels.repeat(2, axis=0), 2, axis=1)).save("twice.png")
    lightened = []
    for picture, mpp, x, y in (
        ("picture.png", 0.25, 299, 0),
        ("twice.png", 0.125, 598, 0),
        ("picture.png", 0.25, 0, 0),
    ):
        draw_picture_words(picture, "edge.png", mpp=mpp, x=x, y=y)
        lightened.append(shown.pop().astype(int))
    at_edge, twice, first = lightened
    assert at_edge.shape == twice.shape == (256, 256, 3)
    assert np.array_equal(at_edge[:, : 256 - 44], first[:, 44:])
    assert np.abs(at_edge[8:-8, 8:-8] - twice[8:-8, 8:-8]).mean() < 12  # resampled, so smoother


@pytest.mark.parametrize("size", [(32, 64), (64, 32)])
def test_maps_of_a_narrow_tile_keep_their_shape(size):
    maps = word_maps(described(words="names"), noise(1, 3, *size))
    figure = draw_word_maps(np.zeros((*size, 3), np.uint8), maps, PANNUKE)
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.images][: 6 * 5]
    assert all(box.height / box.width == pytest.approx(size[0] / size[1], rel=0.01) for box in boxes)
    assert figure.bbox.height < 6 * 250


def test_the_command_refuses_what_it_cannot_use_in_one_line(small_bundle, monkeypatch):
    monkeypatch.chdir(small_bundle)
    refused = {
        ("picture.png", "out.jpg"): "OUT is out.jpg; give the name of a .png",
        ("picture.png", "./picture.png"): "OUT is ./picture.png",
        ("models", "out.png"): "models is a folder: give one picture",
        ("absent.png", "out.png"): "absent.png is neither",
    }
    for arguments, message in refused.items():
        with pytest.raises(InputError, match=message):
            draw_picture_words(*arguments)
    Path("damaged.json").write_text("{")
    Path("another.json").write_text('{"epochs": 3}')
    for settings, message in {
        "x": ({"x": -1}, "x is -1; give a whole number"),
        "y": ({"y": 280}, "x, y are 0, 280; the picture is of 300x280 px: give a place inside it"),
        "config": ({"config_file": "none.json"}, "none.json does not exist: run this beside the bundle"),
        "damaged": ({"config_file": "damaged.json"}, r"config \['damaged.json'\] cannot be read"),
        "another": ({"config_file": "another.json"}, r"config \['another.json'\] has no weights: give inference.json"),
    }.values():
        with pytest.raises(InputError, match=message):
            draw_picture_words("picture.png", "out.png", **settings)
    done = run(small_bundle, "picture.png", "out.png", "--checkpoint", "none.pt")
    expected = "ERROR: checkpoint none.pt does not exist: give --checkpoint the file of a trained model"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, expected)
    assert not Path("out.png").exists()
