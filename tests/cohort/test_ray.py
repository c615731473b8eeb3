import os
import signal
from pathlib import Path

import pytest
import tifffile

from monch_monai.cohort import Cohort, engine
from monch_monai.errors import InputError
from tests.cohort.reading_back import segmenter
from tests.fakes.slides import colours, on_seams, paint, write_slide

SIZE = (1100, 800)


class KillsItsWorkerOnce:
    """Reads colours; the first process that comes to the middle of a slide is killed. Processes are noted in a file."""

    def __init__(self, marker: Path) -> None:
        self.marker, self.calls = marker, 0

    def __call__(self, tiles):
        self.calls += 1
        with self.marker.with_suffix(".log").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if self.calls == 4:
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return colours(tiles)


def contents(folder):
    files = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".tif"}
    maps = {p.relative_to(folder): tifffile.imread(p).tobytes() for p in folder.rglob("*.tif")}
    return files | maps


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_give_what_one_after_another_gives(tmp_path):
    pytest.importorskip("ray", reason="the optional extra ray is not installed")
    folder = tmp_path / "slides"
    folder.mkdir()
    for name, side in (("a", 300), ("b", 350), ("c", 400)):
        write_slide(folder / f"{name}.tif", paint(on_seams(SIZE, side), SIZE))
    (folder / "broken.svs").write_text("no slide")
    marker = tmp_path / "killed"
    words = r"^1 of 4 slides have no result: broken.svs; see above$"
    for name, predictor, how in (
        ("one", colours, None),
        ("two", KillsItsWorkerOnce(marker), engine("ray", workers=2, retries=2)),
    ):
        one = segmenter(tmp_path / name, predictor)
        with pytest.raises(InputError, match=words):
            Cohort(folder, tmp_path / name, one, how).run()
    assert marker.exists()
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.slow
def test_workers_that_share_do_one_slide_together(tmp_path):
    pytest.importorskip("ray", reason="the optional extra ray is not installed")
    slide = write_slide(tmp_path / "s.tif", paint(on_seams((2100, 1600), 512), (2100, 1600)))
    Cohort(slide, tmp_path / "one", segmenter(tmp_path / "one")).run()
    made = segmenter(tmp_path / "out", KillsItsWorkerOnce(tmp_path / "killed"))
    Cohort(slide, tmp_path / "out", made, engine("ray", workers=2), workers_share=True, claim_limit_s=3).run()
    assert (tmp_path / "killed").exists()
    assert len(set((tmp_path / "killed.log").read_text().split())) >= 2  # the second is a helper
    for file in (tmp_path / "one" / "s").iterdir():
        assert (tmp_path / "out" / "s" / file.name).read_bytes() == file.read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cohort.csv", "s"]


def test_an_engine_is_local_or_ray():
    assert engine("local", address=None) is None
    with pytest.raises(InputError, match="engine is 'spark'; give local or ray"):
        engine("spark")


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 0), ("cpu", 0.5)])
def test_tasks_have_the_device_of_the_network(device, gpus, tmp_path):
    pytest.importorskip("ray", reason="the optional extra ray is not installed")

    def predictor(tiles):
        return colours(tiles)

    predictor.device = device
    one = segmenter(tmp_path / "out", predictor)
    with pytest.raises(InputError, match=f"device is {device} and num_gpus {gpus}: give --device cuda with GPUs"):
        list(engine("ray", num_gpus=gpus)([tmp_path / "s.tif"], one))
