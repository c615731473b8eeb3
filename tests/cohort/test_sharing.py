import csv
import errno
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock

from monch_monai.class_table import PANNUKE
from monch_monai.cohort import Cohort, fingerprint
from monch_monai.cohort.claims import Claims
from monch_monai.cohort.shared_work_folder import SharedWorkFolder
from monch_monai.errors import InputError
from monch_monai.geometry import WorkingBox
from tests.cohort.reading_back import segment, segmenter
from tests.cohort.test_resume import until
from tests.fakes.slides import colours, on_seams, paint, write_slide

SIZE = (1600, 800)
REGIONS = 8
LIMIT = 1.0
OF_PROCESSES = 6.0  # on a busy machine a sign of life may be late


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "s.tif", paint(on_seams(SIZE, 512), SIZE))


@pytest.fixture(scope="module")
def alone(slide, tmp_path_factory):
    """Bytes of the results of one process, that works alone."""
    out = tmp_path_factory.mktemp("alone")
    segment(slide, out, gzip=True)
    return whole(out / "s")


def whole(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def start(slide, tmp_path, monkeypatch):
    """Starts workers, each a process that shares slides; `kept()` counts how often each region was kept."""
    log = tmp_path / "kept"
    log.touch()
    keep = SharedWorkFolder.keep

    def counted(folder, core, *arguments):
        keep(folder, core, *arguments)
        with log.open("a") as file:  # shorter than a page, so lines of several processes do not mix
            file.write(f"{folder.path.name} {core.y}_{core.x}\n")

    monkeypatch.setattr(SharedWorkFolder, "keep", counted)
    workers = []

    def one(source=slide, dies_at=None, pause=0.02, region_size=512):
        calls = []

        def slowly(tiles):
            calls.append(len(tiles))
            if len(calls) == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(pause)
            return colours(tiles)

        slowly.class_table = PANNUKE

        def run():
            made = segmenter(tmp_path / "out", slowly, region_size, gzip=True)
            Cohort(source, tmp_path / "out", made, workers_share=True, claim_limit_s=OF_PROCESSES).run()

        workers.append(multiprocessing.get_context("fork").Process(target=run))
        workers[-1].start()
        return workers[-1]

    one.kept = lambda: Counter(log.read_text().split("\n")[:-1])
    yield one
    for worker in workers:
        worker.kill()
        worker.join()


def ends(*workers):
    for worker in workers:
        worker.join(60)
    return [worker.exitcode for worker in workers]


@pytest.mark.slow
def test_two_workers_do_a_slide_as_one_does(start, alone, tmp_path):
    assert ends(start(), start()) == [0, 0]
    assert whole(tmp_path / "out" / "s") == alone
    assert set(start.kept().values()) == {1}
    assert len(start.kept()) == REGIONS
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cohort.csv", "s"]


@pytest.mark.slow
def test_a_worker_that_comes_when_the_only_one_was_killed_does_a_slide_as_one_does(start, alone, tmp_path):
    first = start(dies_at=7)
    assert ends(first) == [-signal.SIGKILL]
    assert 1 <= len(start.kept()) < REGIONS
    late = start()
    assert ends(first, late) == [-signal.SIGKILL, 0]
    assert whole(tmp_path / "out" / "s") == alone
    assert set(start.kept().values()) == {1}
    assert len(start.kept()) == REGIONS


def test_four_workers_of_which_one_is_killed_and_one_comes_late_do_a_slide_as_one_does(start, alone, tmp_path):
    first = [start(dies_at=4), start(), start()]
    until(lambda: len(start.kept()) >= REGIONS // 2)
    late = start()
    assert ends(*first, late) == [-signal.SIGKILL, 0, 0, 0]
    assert whole(tmp_path / "out" / "s") == alone
    assert set(start.kept().values()) == {1}
    assert len(start.kept()) == REGIONS
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cohort.csv", "s"]


@pytest.mark.slow
def test_a_worker_that_stood_still_and_comes_back_does_no_harm(start, alone, tmp_path):
    stopped = start()
    until(lambda: len(start.kept()) >= 2)
    os.kill(stopped.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert ends(start(pause=0)) == [0]
    assert time.monotonic() - began < 20 * OF_PROCESSES
    os.kill(stopped.pid, signal.SIGCONT)
    assert ends(stopped) == [0]
    assert whole(tmp_path / "out" / "s") == alone
    assert [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_workers_take_slides_of_their_own_first_and_make_one_table(start, slide, tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.tif").symlink_to(slide)
    (folder / "broken.tif").write_text("no slide")
    workers = [start(folder) for _ in range(2)]
    until(lambda: {line.split()[0] for line in start.kept()} >= {".a.partial", ".b.partial"})
    assert not (tmp_path / "out" / "a").exists()
    assert ends(*workers) == [1, 1]  # both name the broken one
    assert len(start.kept()) == 3 * REGIONS
    assert set(start.kept().values()) == {1}
    with (tmp_path / "out" / "cohort.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["slide"] for row in rows] == ["a.tif", "b.tif", "broken.tif", "c.tif"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False]


def shared(cohort_dir, slide, predictor=colours, **settings):
    made = segmenter(cohort_dir, predictor, **settings)
    return Cohort(slide, cohort_dir, made, workers_share="true", claim_limit_s=LIMIT)


def test_who_shares_and_who_does_not_keep_out_of_each_others_way(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("monch_monai.cohort.shared_work_folder.JOINING_S", 0.2)
    with (
        FileLock(tmp_path / ".s.lock"),
        pytest.raises(InputError, match=r"s.tif is being segmented by a process that does not share: wait for it"),
    ):
        shared(tmp_path, slide).run()
    regions = tmp_path / ".s.partial" / "regions"
    regions.mkdir(parents=True)
    with Claims(regions, LIMIT):
        with pytest.raises(InputError, match=r"by other workers \(.*, process \d+\): wait for them, or join them with"):
            segment(slide, tmp_path)
        with pytest.raises(InputError, match=r"s.partial is filled with other settings \(.*\): wait for it"):
            shared(tmp_path, slide).run()
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_worker_without_a_disk_releases_what_it_had(slide, alone, tmp_path, monkeypatch):
    keep = SharedWorkFolder.keep

    def full(folder, core, *arguments):
        if core.y:
            raise OSError(errno.ENOSPC, "No space left on device")
        keep(folder, core, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SharedWorkFolder, "keep", full)
        with pytest.raises(
            InputError, match=r"s cannot be written \(No space left on device\): make room and run again"
        ):
            shared(tmp_path, slide, gzip=True).run()
    regions = tmp_path / ".s.partial" / "regions"
    assert len(list(regions.glob("*.parquet"))) == len(list(regions.glob("*.claim*"))) == 4
    shared(tmp_path, slide, gzip=True).run()
    assert whole(tmp_path / "s") == alone


def test_an_error_of_one_worker_leaves_the_others_work(slide, tmp_path):
    def broken(tiles):
        raise InputError("stop")

    regions = tmp_path / ".s.partial" / "regions"
    other = shared(tmp_path, slide).segmenter
    work = SharedWorkFolder(regions.parent, LIMIT)
    with work.held(tmp_path / "lock", {**other.settings, "slide": ["s.tif", "other"]}):
        pass
    with pytest.raises(InputError, match="stop"):
        shared(tmp_path, slide, broken).run()
    assert not regions.exists()  # nobody else is there, and nothing is finished


def test_workers_agree_on_what_is_written_and_a_later_one_writes_otherwise_without_segmenting(slide, tmp_path):
    def no_network(tiles):
        raise AssertionError("the network ran again")

    one = shared(tmp_path, slide, write="geojson").segmenter
    settings = {**one.settings, "slide": [slide.name, fingerprint(slide)]}
    work = SharedWorkFolder(tmp_path / ".s.partial", LIMIT, one.wanted.settings)
    with work.held(tmp_path / ".s.lock", settings):
        for other in ({"write": "parquet"}, {"write": "geojson", "gzip": True}, {"write": "geojson", "features": True}):
            with pytest.raises(
                InputError, match=r"s.partial is filled with other settings \(.*\): wait for it, or give"
            ):
                shared(tmp_path, slide, no_network, **other).run()
        plan = one.plan(slide)
        one._run(plan, work)
        plan.slide.close()
    shared(tmp_path, slide, no_network, write="geojson,parquet", gzip=True).run()
    assert {"nuclei.geojson.gz", "nuclei.parquet"} < {path.name for path in (tmp_path / "s").iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort.csv", "s"]


class TestClaims:
    def test_one_of_many_has_a_claim(self, tmp_path):
        workers = [Claims(tmp_path, LIMIT) for _ in range(8)]
        for i in range(30):
            assert sum(self.at_once(workers, f"a{i}")) == 1

    def test_one_of_many_takes_over(self, tmp_path):
        workers = [Claims(tmp_path, LIMIT) for _ in range(8)]
        dead = Claims(tmp_path, LIMIT)
        for i in range(30):
            assert dead.take(f"a{i}")
            os.utime(tmp_path / f"a{i}.claim0", (0, 0))
            assert sum(self.at_once(workers, f"a{i}")) == 1
            assert not dead.owns(f"a{i}")
            assert sum(worker.owns(f"a{i}") for worker in workers) == 1

    def test_an_error_of_the_disk_costs_one_sign_of_life_and_not_all_to_come(self, tmp_path, monkeypatch):
        alive, asked, failed = Claims(tmp_path, 1), [], []

        def owns(name):
            asked.append(name)
            if len(asked) == 1:
                failed.append(name)
                raise OSError(errno.ESTALE, "Stale file handle")
            return True

        with alive:
            assert alive.take("a0")
            monkeypatch.setattr(alive, "owns", owns)
            before = (tmp_path / "a0.claim0").stat().st_mtime
            deadline = time.monotonic() + 20
            while len(asked) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert failed == ["a0"]
            assert (tmp_path / "a0.claim0").stat().st_mtime > before

    @staticmethod
    def at_once(workers, name):
        """Which workers got a claim that all asked for at the same moment."""
        barrier, got = threading.Barrier(len(workers)), []

        def ask(worker):
            barrier.wait()
            got.append(worker.take(name))

        threads = [threading.Thread(target=ask, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return got

    def test_a_stuck_claim_is_taken_over_after_its_limit_and_no_earlier(self, tmp_path, caplog):
        stuck, other = Claims(tmp_path, LIMIT), Claims(tmp_path, 86_400)  # whose own limit is another
        assert stuck.take("a")  # without a `with` it shows no signs of life
        began = time.monotonic()
        with caplog.at_level(logging.INFO):
            until(lambda: other.take("a"), 10)
        assert LIMIT - 0.1 < time.monotonic() - began < LIMIT + 1
        assert "a: taken over from" in caplog.text
        assert not stuck.owns("a")
        assert not stuck.take("a")

    def test_a_claim_with_signs_of_life_is_nobody_elses(self, tmp_path):
        with Claims(tmp_path, LIMIT) as one, Claims(tmp_path, LIMIT) as other:
            assert one.take("a")
            assert one.take("a")
            end = time.monotonic() + 1.3 * LIMIT
            while time.monotonic() < end:
                assert not other.take("a")
                assert not other.is_free("a")
                time.sleep(0.02)
            assert len(other.others()) == 1
        assert list(tmp_path.iterdir()) == []  # released, and both have left

    def test_a_claim_of_which_nothing_was_written_has_a_limit_too(self, tmp_path):
        (tmp_path / "a.claim0").touch()
        other = Claims(tmp_path, LIMIT)
        assert not other.take("a")
        os.utime(tmp_path / "a.claim0", (0, 0))
        assert other.take("a")

    def test_what_was_taken_over_is_not_kept(self, tmp_path):
        core = WorkingBox(0, 0, 512, 512)
        lost = SharedWorkFolder(tmp_path, LIMIT)
        lost.regions.mkdir()
        assert lost.takes(core)
        os.utime(lost.regions / "0_0.claim0", (0, 0))
        assert SharedWorkFolder(tmp_path, LIMIT).takes(core)
        lost.keep(core, None, None)  # would fail if it wrote
        assert not lost.is_finished(core)


@pytest.mark.parametrize(("settings", "words"), [
    ({"workers_share": "perhaps"}, "workers_share is 'perhaps'; give true or false"),
    ({"claim_limit_s": 0}, "claim_limit_s is 0; give seconds, a number of at least 1 and up to 86400"),
    ({"recursive": 3}, "recursive is 3; give true or false"),
])  # fmt: skip
def test_settings_of_sharing_are_checked(slide, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        Cohort(Path(slide), tmp_path, segmenter(tmp_path), **settings)
