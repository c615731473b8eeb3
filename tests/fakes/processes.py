"""Work done in a child process, which may lose its rights, meet a limit or be killed without harm to the tests."""

import multiprocessing
from collections.abc import Callable
from typing import NamedTuple

from monch_monai.errors import InputError


class Ended(NamedTuple):
    """How a child ended: its exit code, negative for a signal, and the `InputError` it met, if any."""

    exitcode: int | None
    refusal: str


def in_child(work: Callable[[], object]) -> Ended:
    """Calls `work` in a fork of this process."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def run() -> None:
        try:
            work()
        except InputError as error:
            sender.send(str(error))

    child = fork.Process(target=run)
    child.start()
    child.join(60)
    return Ended(child.exitcode, receiver.recv() if receiver.poll() else "")
