import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def peak(size: int) -> dict:
    """What `run.py slide_peak` measures of a slide of `size` px, a tenth of it tissue."""
    command = [sys.executable, "benchmarks/run.py", "slide_peak", str(size), "--region_size", "1024"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_slide():
    small, large = peak(3072), peak(9216)
    assert large["tissue_mm2"] > 7 * small["tissue_mm2"]
    assert large["nuclei"] > 7 * small["nuclei"]
    assert large["peak"] < 1.2 * small["peak"]
    # Nor does what it takes above what is loaded anyway: an array of the larger slide would be 85 million pixels.
    assert large["peak"] - small["peak"] < 150
