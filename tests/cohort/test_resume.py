import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile
from filelock import FileLock

from monch_monai.errors import InputError
from tests.cohort.reading_back import segment, segmenter
from tests.fakes.slides import Nucleus, colours, on_seams, paint, write_slide

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = (1400, 1300)


@pytest.fixture
def slide(tmp_path):
    return write_slide(tmp_path / "s.tif", paint(on_seams(SIZE, 512), SIZE))


def contents(folder):
    """Bytes of every file; of the pyramid its levels, for each OME-TIFF has an identifier of its own."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".tif"}
    with tifffile.TiffFile(folder / "classes.ome.tif") as file:
        return {**files, "levels": [level.asarray().tobytes() for level in file.series[0].levels]}


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_at_half_and_run_again_it_writes_the_same(slide, tmp_path, caplog):
    segment(slide, tmp_path / "whole")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cohort.interrupted", slide, out], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    )
    regions = out / ".s.partial" / "regions"
    until(lambda: len(list(regions.glob("*.parquet"))) >= 4 or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list(regions.glob("*.parquet")))
    assert 4 <= finished < 9
    (regions.parent / "result" / ".part-store" / ".part-made").mkdir(parents=True)  # as killed in a store of results
    assert not (out / "s").exists()
    tiles = []

    def counted(images):
        tiles.append(len(images))
        return colours(images)

    with caplog.at_level(logging.INFO):
        segment(slide, out, counted, batch_size=1)
    assert "resuming where an earlier run ended" in caplog.text
    assert sum(tiles) < 56  # of 64 that a whole run takes
    assert contents(out / "s") == contents(tmp_path / "whole" / "s")
    assert [path.name for path in out.iterdir()] == ["s"]


def test_a_finished_slide_is_left_alone(slide, tmp_path):
    segment(slide, tmp_path / "out")
    before = contents(tmp_path / "out" / "s")

    def never(tiles):
        raise AssertionError

    assert segment(slide, tmp_path / "out", never).num_rows > 0
    assert contents(tmp_path / "out" / "s") == before
    with pytest.raises(InputError, match=r"was made with another tile_size: remove it or give another --output_dir"):
        segment(slide, tmp_path / "out", never, tile_size=128)
    assert contents(tmp_path / "out" / "s") == before


def test_another_slide_of_the_name_and_size_is_not_taken_for_it(slide, tmp_path):
    segment(slide, tmp_path / "out")
    size = slide.stat().st_size
    with slide.open("r+b") as file:
        file.seek(size - 5)
        file.write(b"\x01")
    assert slide.stat().st_size == size
    with pytest.raises(InputError, match=r"was made with another slide: remove it"):
        segment(slide, tmp_path / "out")


def test_what_other_settings_began_is_begun_anew(slide, tmp_path):
    def broken(tiles):
        raise InputError("stop")

    calls = []

    def half(tiles):
        calls.append(1)
        return colours(tiles) if len(calls) < 8 else broken(tiles)

    with pytest.raises(InputError, match=r"stop"):
        segment(slide, tmp_path / "out", half)
    assert list((tmp_path / "out" / ".s.partial" / "regions").glob("*.parquet"))
    segment(slide, tmp_path / "out", overlap=0.5)
    segment(slide, tmp_path / "whole", overlap=0.5)
    assert contents(tmp_path / "out" / "s") == contents(tmp_path / "whole" / "s")


def test_a_slide_is_one_processs_at_a_time(slide, tmp_path):
    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out" / ".s.lock"),
        pytest.raises(InputError, match=r"is being segmented by another process"),
    ):
        segment(slide, tmp_path / "out")


def test_a_folder_that_is_no_result_is_not_touched(slide, tmp_path):
    (tmp_path / "out" / "s").mkdir(parents=True)
    with pytest.raises(InputError, match=r"is no slide's results: give another --output_dir"):
        segment(slide, tmp_path / "out")
    assert list((tmp_path / "out" / "s").iterdir()) == []


@pytest.mark.parametrize("limit", [3_000, 60_000])  # while regions are kept; while results are written
def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path, limit):
    import resource

    slide = write_slide(
        tmp_path / "s.tif",
        paint([Nucleus(20 + 40 * i, 20 + 40 * j, 9, 1 + i % 5) for i in range(20) for j in range(20)], (820, 820)),
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with (
            segmenter(tmp_path / "out") as one,
            pytest.raises(InputError, match=r"cannot be written .*File too large.*: make room and run again"),
        ):
            one(slide)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".s.partial"]
    segment(slide, tmp_path / "out")
    segment(slide, tmp_path / "whole")
    assert contents(tmp_path / "out" / "s") == contents(tmp_path / "whole" / "s")
