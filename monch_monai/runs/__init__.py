"""A run of a config: checked, seeded, recorded, and its results found again."""

from monch_monai.runs.command_line import CommandLine
from monch_monai.runs.processes import Processes
from monch_monai.runs.record import write_record
from monch_monai.runs.results import evaluation_results, find_checkpoint, training_results
from monch_monai.runs.run import Run, three_quarters
from monch_monai.runs.schedule import CooldownLR

__all__ = [
    "CommandLine",
    "CooldownLR",
    "Processes",
    "Run",
    "evaluation_results",
    "find_checkpoint",
    "three_quarters",
    "training_results",
    "write_record",
]
