"""Time of one inference, with its conditions."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import ignite.distributed as idist
import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from monch_monai.files import write_json
from monch_monai.geometry import TILE_SIZE
from monch_monai.predict import cpu_capabilities, has_fast_bfloat16
from monch_monai.settings import flag

WARM_UP = 5


@idist.one_rank_only()
def measure_inference(
    output_dir: str | Path,
    network: nn.Module,
    inferer: Inferer,
    device: str,
    amp: bool | str,
    tile_size: int = TILE_SIZE,
    batch_size: int = 1,
    repeats: int = 30,
) -> Path:
    """Times the network on a tile and writes `inference_time.json`; returns its path.

    Five runs warm up; each measurement waits for the device before and after the run. Reading images and separating
    nuclei are not included. Of several processes the first measures.

    Args:
        output_dir: folder of the evaluation.
        network: on `device`.
        inferer: of the evaluation.
        device: such as `cpu` or `cuda:0`.
        amp: whether the evaluation uses mixed precision where the device has it.
        tile_size: height and width of the tile, in pixels.
        batch_size: tiles a run.
        repeats: runs that count, at least 2.
    """
    images = torch.rand(batch_size, 3, tile_size, tile_size, device=device).to(memory_format=torch.channels_last)
    network.eval()
    with torch.inference_mode():
        times = [_seconds(lambda: inferer(images, network), device) for _ in range(WARM_UP + repeats)][WARM_UP:]
    milliseconds = sorted(1000 * seconds / batch_size for seconds in times)
    quartiles = statistics.quantiles(milliseconds, n=4)
    mixed = flag("amp", amp) and has_fast_bfloat16(device)
    on_gpu = torch.device(device).type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else cpu_capabilities().get("cpu_name")
    path = Path(output_dir) / "inference_time.json"
    record = {
        "median_ms": statistics.median(milliseconds),
        "quartiles_ms": [quartiles[0], quartiles[2]],
        "per": "tile",
        "tile_size": tile_size,
        "batch_size": batch_size,
        "repeats": repeats,
        "device": device,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "precision": "bfloat16 autocast" if mixed else "float32",
    }
    write_json(path, record)
    return path


def _seconds(run: Callable[[], Tensor], device: str) -> float:
    def wait() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - start
