"""What ends a command line: one line where the user or the machine is at fault, and where that is so."""

import errno
import multiprocessing
import resource
import sys
from pathlib import Path
from pydoc import ErrorDuringImport

import pytest
import torch

from monch_monai.errors import InputError, fault_of_machine, show_input_errors_in_one_line, shown
from monch_monai.files import write_atomically, write_text_atomically


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


FAULTS = {
    "disk": (OSError(errno.ENOSPC, "No space left on device", "a.pt"), "a.pt: No space left on device; make room"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "a file: Disk quota exceeded; make room"),
    "read-only": (OSError(errno.EROFS, "Read-only file system", "b"), "b: Read-only file system; give"),
    "a long name": (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "x: File name too long; give a shorter"),
    "a file as a folder": (FileExistsError(errno.EEXIST, "File exists", "a"), "a: File exists; a file has the name of"),
    "a folder in a file": (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "give another folder"),
    "shared memory": (
        RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that they are out"),
        "too little shared memory (/dev/shm ",
    ),
    "shared memory of a tensor": (
        RuntimeError("unable to write to file </torch_5>: No space left on device; unable to allocate shared memory"),
        "give --num_workers 0",
    ),
    "a killed process": (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "give fewer --num_workers"),
    "memory": (MemoryError(), "the memory is full (MemoryError): give a smaller --batch_size"),
    "GPU": (torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried"), "(CUDA out of memory. Tried): give a smaller"),
    "a package": (ModuleNotFoundError("No module named 'ray'", name="ray"), "No module named 'ray': pip install ray"),
    "a part of one": (ImportError("cannot import name 'x'", name="peft.tuners"), "pip install peft"),
    "a package without a name": (ImportError("needs tensorboard"), "a package is missing (needs tensorboard)"),
}  # fmt: skip


def test_a_value_whose_text_has_several_lines_is_shown_on_one() -> None:
    assert shown(torch.zeros(2, 2)) == "tensor([[0., 0.], [0., 0.]])"
    assert shown("a  b") == "'a  b'"
    assert len(shown(torch.rand(9, 9))) == 80


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_the_machine_is_one_line(kind: str, wrapped: bool, capsys: pytest.CaptureFixture[str]) -> None:
    error, line = FAULTS[kind]
    ending = raised(RuntimeError("Failed to evaluate\nConfigExpression"), error) if wrapped else error
    hook = sys.excepthook
    try:
        show_input_errors_in_one_line()
        sys.excepthook(type(ending), ending, None)
    finally:
        sys.excepthook = hook
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert line in str(fault_of_machine(ending))


def test_a_component_whose_package_is_missing_is_named_through_its_import() -> None:
    cause = raised(ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard"))
    error = ErrorDuringImport("torch.utils.tensorboard", (type(cause), cause, None))
    assert fault_of_machine(raised(ValueError("x"), error)) == "No module named 'tensorboard': pip install tensorboard"


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("y"), FileNotFoundError(2, "No such file"), InputError("z")]
)
def test_other_errors_are_no_fault_of_the_machine(error: BaseException) -> None:
    assert fault_of_machine(error) is None
    assert fault_of_machine(ModuleNotFoundError("x", name="monch_monai.gone")) is None


def write_under_a_limit(folder: Path, kind: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    path = folder / "whole"
    try:
        if kind == "tensors":
            write_atomically(path, lambda part: torch.save({"a": torch.zeros(1_000_000)}, part))
        else:
            write_text_atomically(path, "x" * 1_000_000)
    except OSError as error:
        same = (error.errno, error.filename) == (errno.EFBIG, str(path))
        sys.exit(0 if same and path.read_text() == "earlier" and len(list(folder.iterdir())) == 1 else 3)
    sys.exit(4)


@pytest.mark.parametrize("kind", ["tensors", "text"])
def test_a_file_that_the_disk_does_not_take_is_named_and_leaves_the_earlier_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "whole").write_text("earlier")
    child = multiprocessing.get_context("fork").Process(target=write_under_a_limit, args=(tmp_path, kind))
    child.start()
    child.join(60)
    assert child.exitcode == 0
