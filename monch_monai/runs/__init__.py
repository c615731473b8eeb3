"""A run of a config: its checks, seeds, record and results."""

from monch_monai.runs.command_line import CommandLine
from monch_monai.runs.processes import Processes
from monch_monai.runs.record import write_record
from monch_monai.runs.results import evaluation_results, find_checkpoint, training_results
from monch_monai.runs.run import Run
from monch_monai.runs.schedule import CooldownLR, starting_rate_of, three_quarters
from monch_monai.runs.workflow import check_command_line

__all__ = [
    "CommandLine",
    "CooldownLR",
    "Processes",
    "Run",
    "check_command_line",
    "evaluation_results",
    "find_checkpoint",
    "starting_rate_of",
    "three_quarters",
    "training_results",
    "write_record",
]
