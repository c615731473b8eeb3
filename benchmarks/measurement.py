"""Time and memory of work done in turn, and the conditions it was measured under."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from monch_monai.predict import cpu_capabilities, has_fast_bfloat16

Work = Callable[[], Any]


def milliseconds_in_turn(works: dict[str, Work], device: str, runs: int, warm_up: int = 2) -> dict[str, float]:
    """Median milliseconds of each work, one after the other in each of `runs` rounds after the warm-up rounds.

    In turn, so that a drift of the machine's speed meets all alike.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(runs + warm_up):
        for name, work in works.items():
            synchronise(device)
            start = time.perf_counter()
            work()
            synchronise(device)
            if round_ >= warm_up:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mib(prepare: Callable[..., tuple[Work, Work]], *args: Any, device: str) -> float:
    """Peak memory of one work, above what a fresh process held before it: of the process on CPU, of the GPU on CUDA.

    Args:
        prepare: a function of a module, called in that process with `args`, that returns two works: one that loads
            what is loaded on first use, and the one to measure.
        args: for `prepare`.
        device: where it works.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_measure, prepare, args, device).result()


def _measure(prepare: Callable[..., tuple[Work, Work]], args: tuple[Any, ...], device: str) -> float:
    first, work = prepare(*args)
    first()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    held = restart_peak()
    work()
    return status_mib("VmHWM") - held


def restart_peak() -> float:
    """Lets the peak of this process's memory count from here, and returns the MiB it holds (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return status_mib("VmRSS")


def status_mib(field: str) -> float:
    """A field of this process's memory, such as VmRSS, now, or VmHWM, its peak (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def choose_device(device: str = "") -> str:
    """The device asked for; else cuda where there is one, else cpu."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def synchronise(device: str) -> None:
    """Waits for the GPU, where there is one at work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def print_head(*columns: str) -> None:
    """Prints the head of a Markdown table."""
    print_row(*columns)
    print("|---" * len(columns) + "|")


def print_row(*cells: str) -> None:
    """Prints a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def conditions(device: str) -> str:
    """Hardware, whether it computes in bfloat16, versions and date, in a line."""
    if torch.device(device).type == "cuda":
        hardware = torch.cuda.get_device_name()
    else:
        hardware = str(cpu_capabilities().get("cpu_name") or platform.processor() or platform.machine())
    bfloat16 = f"{'' if has_fast_bfloat16(device) else 'no '}bfloat16 in hardware"
    return (
        f"{hardware} ({device}, {torch.get_num_threads()} threads, {bfloat16}), torch {torch.__version__}, Python "
        f"{platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
