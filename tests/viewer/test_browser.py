"""The page in real Chromium, driven as a person would."""

import csv
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from monch_monai.__main__ import Commands
from tests.fakes.results import served, write_slide_result

pytestmark = pytest.mark.slow
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
READY = "() => state.table && state.outlines && view.world.getItemAt(0)?.getFullyLoaded()"
DRAWN = "() => !state.outlines.fetching && !state.outlines.wanted.length && !state.outlines.drawing"
CANVAS = """() => {
  const copy = document.createElement("canvas"), { width, height } = overlay.canvas;
  Object.assign(copy, { width, height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(overlay.canvas, 0, 0);
  const data = context.getImageData(0, 0, width, height).data;
  return data.reduce((sum, value, i) => sum + (i % 4 === 3 && value > 0), 0);
}"""
"""Number of pixels of the overlay that something is drawn on."""


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"]) as browser,
    ):
        yield browser


@pytest.fixture
def page(browser):
    """A page that fails the test for a message in the console, an error or a request to another place."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("requestfailed", lambda request: heard.append(f"failed: {request.url}"))
    page.on("request", lambda request: page.asked.append(request.url))
    page.asked = []
    yield page
    context.close()
    assert heard == []


@pytest.fixture
def opened(page, server):
    page.goto(server.address)
    page.wait_for_function(READY)
    yield page
    assert all(url.startswith((server.address, "data:", "blob:")) for url in page.asked), page.asked


def counts(page):
    """Counts in view by class, once they are settled."""
    page.wait_for_timeout(700)
    texts = page.locator("#classes button .count").all_inner_texts()
    return [int(text.split(" of ")[0].replace("\u202f", "")) for text in texts]


def expected_counts(folder, name="one", least=0.0, within=None):
    table = pq.read_table(folder / "out" / name / "nuclei.parquet")
    rows = [
        c for c, x, y, p in zip(*(table[n].to_pylist() for n in ("class_index", "x", "y", "mean_prob")), strict=True)
        if p >= least and (within is None or within(x, y))
    ]  # fmt: skip
    return np.bincount(rows, minlength=6)[1:].tolist()


def box_of(page):
    return page.evaluate("overlay.box()")


def test_the_whole_slide_is_shown_with_all_its_nuclei(opened, slides):
    assert opened.inner_text("#name") == "one"
    assert counts(opened) == expected_counts(slides[0])
    assert opened.inner_text("#scale-length") == "50 µm"
    opened.wait_for_function(DRAWN)
    assert opened.evaluate(CANVAS) > 1000


def test_zooming_brings_finer_tiles_and_the_counts_of_the_view(opened, slides):
    before = box_of(opened)
    opened.mouse.move(700, 400)
    for _ in range(4):
        opened.mouse.wheel(0, -300)
        opened.wait_for_timeout(200)
    found = counts(opened)
    left, top, right, bottom = box_of(opened)
    assert right - left < (before[2] - before[0]) / 2
    assert found == expected_counts(slides[0], within=lambda x, y: left <= x < right and top <= y < bottom)
    assert sum(found) > 0
    assert any("/picture/2/" in url for url in opened.asked)
    um = float(opened.inner_text("#scale-length").split()[0])
    line = opened.evaluate("document.getElementById('scale-line').getBoundingClientRect().width")
    assert line == pytest.approx(
        um / 0.25 * (1200 - opened.evaluate("byId('panel').offsetWidth")) / (right - left), rel=0.02
    )


def test_classes_probability_and_opacity_change_what_is_drawn(opened, slides):
    opened.keyboard.press("+")
    opened.wait_for_timeout(700)
    opened.wait_for_function(DRAWN)
    whole = opened.evaluate(CANVAS)
    opened.locator("#classes button").first.click()
    opened.keyboard.press("3")
    assert [b.get_attribute("aria-pressed") for b in opened.locator("#classes button").all()] == [
        "false", "true", "false", "true", "true",
    ]  # fmt: skip
    opened.wait_for_timeout(300)
    opened.wait_for_function(DRAWN)
    assert 0 < opened.evaluate(CANVAS) < whole
    opened.fill("#threshold", "70")
    opened.keyboard.press("0")
    opened.wait_for_timeout(700)
    assert counts(opened) == expected_counts(slides[0], least=0.7)
    opened.fill("#opacity", "0")
    opened.wait_for_timeout(300)
    assert opened.evaluate(CANVAS) == 0


def test_the_nucleus_under_the_pointer_has_its_class_and_numbers(opened, slides):
    table = pq.read_table(slides[0] / "out" / "one" / "nuclei.parquet").to_pylist()
    nucleus = min(table, key=lambda row: (row["x"] - 1000) ** 2 + (row["y"] - 1000) ** 2)
    opened.evaluate(f"goTo({{x: {nucleus['x']}, y: {nucleus['y']}, scale: 2}}, true)")
    opened.wait_for_timeout(700)
    opened.wait_for_function(DRAWN)
    stage = opened.locator("#stage").bounding_box()
    for shift in (1, 0):
        opened.mouse.move(stage["x"] + stage["width"] / 2 + shift, stage["y"] + stage["height"] / 2)
        opened.wait_for_timeout(400)
    card = opened.inner_text("#card")
    assert card.startswith(nucleus["class_name"])
    assert f"probability\t{nucleus['mean_prob']:.4g}" in card
    assert f"{nucleus['area_um2']:.4g} µm²" in card


def test_a_link_reopens_the_same_place(opened, browser):
    opened.evaluate("goTo({x: 1234, y: 777, scale: 1.5}, true)")
    for key in ("2", "c", "t", "."):
        opened.keyboard.press(key)
    counted = counts(opened)
    link, box = opened.url, box_of(opened)
    again = browser.new_page(viewport={"width": 1200, "height": 800})
    again.goto(link)
    again.wait_for_function(READY)
    assert counts(again) == counted
    assert box_of(again) == pytest.approx(box, abs=1)
    assert again.url == link
    assert again.evaluate("[state.safe, state.tissueShown, state.least, state.shown[2]]") == [True, True, 500, False]
    again.close()


def test_a_drawn_region_is_saved_with_the_counts_of_the_table(opened, slides, tmp_path):
    opened.click("#draw")
    stage = opened.locator("#stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    opened.mouse.move(x - 150, y - 130)
    opened.mouse.down()
    for dx, dy in ((160, -90), (120, 140), (-60, 60), (-130, 90)):
        opened.mouse.move(x + dx, y + dy, steps=4)
    opened.mouse.up()
    opened.wait_for_timeout(300)
    with opened.expect_download() as download:
        opened.click("#save")
    download.value.save_as(tmp_path / "region.csv")
    with (tmp_path / "region.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    region = shapely.Polygon(opened.evaluate("state.region"))
    inside = expected_counts(slides[0], within=lambda x, y: region.covers(shapely.Point(x, y)))
    assert [int(row["nuclei"]) for row in rows] == [*inside, sum(inside)]
    assert sum(inside) > 20
    mm2 = region.area * 0.25**2 * 1e-6
    assert float(rows[-1]["area mm2"]) == pytest.approx(mm2, abs=1e-6)
    assert float(rows[-1]["nuclei per mm2"]) == pytest.approx(sum(inside) / mm2, rel=1e-3)
    assert counts(opened) == inside


def test_the_cohort_is_listed_and_keys_go_through_it(opened, slides):
    assert opened.locator("#results button span:first-child").all_inner_texts() == ["one", "two"]
    opened.click("#results button[data-name=two]")
    opened.wait_for_function(READY)
    assert counts(opened) == expected_counts(slides[0], "two")
    opened.keyboard.press("p")
    opened.wait_for_function("() => state.about.name === 'one'")
    opened.wait_for_function(READY)


def test_an_exported_page_opens_from_disk_and_asks_for_nothing_else(page, slides, tmp_path):
    Commands().view(slides[0] / "out", export=tmp_path / "page", result="one", region="600,700,500,400")
    page.goto((tmp_path / "page" / "index.html").as_uri())
    page.wait_for_function(READY)
    inside = expected_counts(slides[0], within=lambda x, y: 600 <= x < 1100 and 700 <= y < 1100)
    assert counts(page) == inside
    page.wait_for_function(DRAWN)
    assert all(url.startswith((tmp_path.as_uri(), "data:", "blob:")) for url in page.asked)


def test_a_slide_that_went_missing_is_a_line_on_the_page(browser, tmp_path):
    write_slide_result(tmp_path, "one", 400, 20)
    with served(tmp_path / "out") as server:
        (tmp_path / "slides" / "one.tif").unlink()
        page = browser.new_page()
        page.goto(f"{server.address}#result=one")
        page.wait_for_function("() => !byId('message').hidden || state.results.length")
        assert page.evaluate("state.results[0].missing")
        page.close()
