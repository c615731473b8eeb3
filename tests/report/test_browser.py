"""The report in headless Chromium: no console message, no request, all pictures shown, nothing wider than a laptop."""

import json
import re
import shutil
import subprocess

import pytest

from monch_monai.report import write_report
from monch_monai.tissues import TISSUES
from tests.fakes.evaluations import add_everything, write_evaluation

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="neither chromium, chromium-browser nor google-chrome is installed"),
]
PROBE = """<script>addEventListener("load", () => { document.body.dataset.probe = JSON.stringify({
  pictures: [...document.images].map(image => image.complete && image.naturalWidth > 0 && image.clientWidth > 0),
  page: document.documentElement.scrollWidth, window: innerWidth, beyond: getComputedStyle(document.body).color,
}) })</script>"""


def browse(path, profile):
    """Final DOM, console messages, and what the page asked for but for files and data."""
    log = profile / "net.json"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0",
        "--no-first-run", "--disable-background-networking", "--window-size=1280,800", f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    net = json.loads(log.read_text())
    start = net["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [
        event["params"] for event in net["events"] if event["type"] == start and "url" in event.get("params", {})
    ]
    asked = [
        request["url"]
        for request in requests
        if request["initiator"] != "not an origin" and not re.match("(file|data|blob):", request["url"])
    ]
    return done.stdout, re.findall(r":CONSOLE[:(]\d+.*", done.stderr), asked


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browsed")
    write_evaluation(folder, tissues=TISSUES, time=12.5, encoder_weights="clip_rn50: random")
    add_everything(folder, tissue="<b>tissue</b>")
    (folder / "history.csv").write_text("epoch,loss,mean_dice\n1,0.5,0.25\n2,0.25,0.5\n")
    return write_report(folder, folder / "best.pt")


def test_the_report_opens_without_a_message_or_a_request(report, tmp_path):
    dom, messages, asked = browse(report, tmp_path)
    assert "<title>MONCH: an evaluation</title>" in dom
    assert (messages, asked) == ([], [])


def test_every_picture_is_shown_and_the_page_is_no_wider_than_its_window(report, tmp_path):
    probed = tmp_path / "probed.html"
    probed.write_text(report.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    dom, messages, _ = browse(probed, tmp_path)
    found = json.loads(re.search(r'data-probe="([^"]*)"', dom)[1].replace("&quot;", '"'))
    assert found["pictures"] == [True] * 7
    assert found["page"] <= found["window"]
    assert found["beyond"] == "rgb(34, 34, 34)"  # the page's own style holds
    assert messages == []


def test_a_message_and_a_request_would_be_seen(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<title>bad</title><img src="http://example.com/a.png"><script>console.error("alas")</script>')
    _, messages, asked = browse(page, tmp_path)
    assert asked == ["http://example.com/a.png"]
    assert len(messages) == 1
    assert "alas" in messages[0]
