"""Work done in a child process, which may lose its rights, meet a limit or be killed without harm to the tests."""

import logging
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
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


def forked(program: str | Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python program ARGUMENTS`, or `python -m program ARGUMENTS` of a module's name, in a fork of this process.

    What is imported here need not be imported again, which takes longer than most programs do. All else is as in a
    process of its own: arguments, folder, exit code and output.
    """
    words = [str(program), *map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = multiprocessing.get_context("fork").Process(
            target=_run_as_program, args=(program, words, cwd, out.fileno(), err.fileno())
        )
        child.start()
        child.join(300)
        if child.is_alive():
            child.kill()
            child.join()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    assert child.exitcode is not None
    return subprocess.CompletedProcess(words, child.exitcode, *texts)


def _run_as_program(program: str | Path, words: list[str], cwd: Path, out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    for logger in (logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)):
        for handler in list(logger.handlers):
            logger.removeHandler(handler)  # of the tests, which write elsewhere
    sys.excepthook, sys.argv, os.environ["HF_HUB_OFFLINE"] = sys.__excepthook__, words, "1"
    os.chdir(cwd)
    code: object = 0
    try:
        if isinstance(program, Path):
            sys.path.insert(0, str(program.parent))
            runpy.run_path(str(program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        code = 1
        kind, error, where = sys.exc_info()
        sys.excepthook(kind, error, where)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
