"""Commands: `python -m monch_monai COMMAND`, also in a downloaded bundle."""

import inspect
import logging
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import fire
from fire.decorators import SetParseFns

from monch_monai import datasets, report
from monch_monai.data.writer import free_folder
from monch_monai.datasets.consep import VALIDATION_FIELDS
from monch_monai.datasets.pannuke import download_pannuke, examine_source
from monch_monai.datasets.patients import VALIDATION, Validation
from monch_monai.errors import InputError, show_input_errors_in_one_line
from monch_monai.geometry import NETWORK_MPP
from monch_monai.label.working_copy import write_working_copy
from monch_monai.settings import flag


class Commands:
    """MONCH's commands besides those of `python -m monai.bundle run`."""

    @SetParseFns(source=str, out=str)
    def prepare_pannuke(self, source: str, out: str, download: bool = False) -> None:
        """Writes PanNuke to OUT as a prepared dataset; after an interruption the same command resumes.

        Args:
            source: folder with fold_1.zip to fold_3.zip, with what is in them, or with the hub's parquet files.
            out: folder to make.
            download: fetches the zips into SOURCE first (2.1 GB; CC BY-NC-SA 4.0, not for commercial use).
        """
        if flag("download", download):
            free_folder(out)
            download_pannuke(source)
        datasets.prepare_pannuke(source, out)

    @SetParseFns(source=str, out=str)
    def prepare_consep(
        self, source: str, out: str, validation_fields: tuple[str, ...] = VALIDATION_FIELDS, types: bool = False
    ) -> None:
        """Writes CoNSeP to OUT as a prepared dataset, split by field.

        Args:
            source: folder with Train/ and Test/, or with Images/ and Labels/.
            out: folder to make.
            validation_fields: fields held out of training, such as "['train_6','train_9']".
            types: keeps CoNSeP's seven types instead of merging them into PanNuke's classes.
        """
        fields = [validation_fields] if isinstance(validation_fields, str) else [str(f) for f in validation_fields]
        datasets.prepare_consep(source, out, fields, types)

    @SetParseFns(source=str, out=str)
    def prepare_monuseg(self, source: str, out: str, validation: Validation = VALIDATION) -> None:
        """Writes MoNuSeg to OUT as a prepared dataset, split by patient.

        Args:
            source: folder with the unpacked zips.
            out: folder to make.
            validation: share of the patients held out of training, or names of patients or fields.
        """
        datasets.prepare_monuseg(source, out, validation)

    @SetParseFns(source=str, out=str)
    def prepare_monusac(self, source: str, out: str, validation: Validation = VALIDATION) -> None:
        """Writes MoNuSAC to OUT as a prepared dataset, split by patient.

        Args:
            source: folder with the unpacked zips.
            out: folder to make.
            validation: share of the patients held out of training, or names of patients or fields.
        """
        datasets.prepare_monusac(source, out, validation)

    @SetParseFns(source=str, out=str, classes=str, tissue=str, patients=str)
    def prepare_plain(
        self,
        source: str,
        out: str,
        classes: str = "pannuke",
        exhaustive: bool | None = None,
        mpp: float = NETWORK_MPP,
        tissue: str | None = None,
        validation: Validation = VALIDATION,
        patients: str | None = None,
    ) -> None:
        """Writes labelled pictures of your own to OUT as a prepared dataset, split by patient.

        Args:
            source: folder with images/, and instances/ or boxes.csv, and where there are types/, ignore/, classes.csv,
                fields.csv.
            out: folder to make.
            classes: class table of the types: pannuke, consep or a YAML file.
            exhaustive: false where nuclei are left without a label, as for boxes it is by default.
            mpp: µm per pixel of the pictures; others than 0.25 are resampled.
            tissue: of all pictures, in place of the column of fields.csv.
            validation: share of the patients held out of training, or names of patients or fields.
            patients: regular expression that finds the patient in a picture's name, such as ^[^_]+.
        """
        datasets.prepare_plain(source, out, classes, exhaustive, mpp, tissue, validation, patients)

    @SetParseFns(source=str)
    def doctor(self, source: str) -> None:
        """Examines a source of PanNuke as prepare_pannuke would, and writes nothing."""
        print("\n".join(examine_source(source)))

    def tables(self, *runs: str, table: int, out: str | None = None) -> None:
        """Prints one of the paper's Tables 1 to 7 with the rows of evaluated RUNS, mean ± sd over those of one row.

        Args:
            runs: folders of evaluations, such as those of the three splits or of several encoders.
            table: its number.
            out: also writes OUT.csv and OUT.md.
        """
        rows = report.paper_table(table, [report.EvaluatedRun.read(str(run)) for run in runs])
        print(report.to_markdown(rows))
        if out is not None:
            report.write_table(Path(str(out)), rows)

    def report(self, evaluation: str) -> None:
        """Makes tables, figures and report.html of the folder of an EVALUATION again."""
        print(report.write_report(str(evaluation)))

    @SetParseFns(image=str, out=str, checkpoint=str)
    def words(
        self,
        image: str,
        out: str,
        checkpoint: str | None = None,
        mpp: float = NETWORK_MPP,
        x: int = 0,
        y: int = 0,
        config_file: str | list[str] | None = None,
    ) -> None:
        """Draws, of a tile of the picture IMAGE, where each class and each of its sentences act, to OUT.png.

        Args:
            image: picture file of H&E.
            out: PNG to write.
            checkpoint: weights; else the newest best.pt of the bundle's output, else its models/model.pt.
            mpp: of the picture, µm per pixel.
            x: left edge of the tile, px of the picture.
            y: top edge of the tile, px of the picture.
            config_file: inference.json and overlays of other networks, in order; else the bundle's inference.json.
        """
        print(report.draw_picture_words(image, out, checkpoint, mpp, x, y, config_file))

    def sample(self, output_dir: str) -> None:
        """Fetches the sample of real H&E and writes it to OUTPUT_DIR as a prepared dataset."""
        print(datasets.prepare_sample(str(output_dir)))

    @SetParseFns(app_dir=str, bundle_root=str, checkpoint=str)
    def label_app(self, app_dir: str, bundle_root: str | None = None, checkpoint: str | None = None) -> None:
        """Makes APP_DIR, a folder for a MONAI Label server to work in: monailabel start_server --app APP_DIR.

        Args:
            app_dir: folder to make.
            bundle_root: folder that holds configs/; bundle, or the current folder.
            checkpoint: weights to begin with; else the newest best.pt of bundle_root/output, else models/model.pt.
        """
        print(write_working_copy(app_dir, bundle_root, checkpoint))

    def synthetic(self, output_dir: str, train: int = 8, validation: int = 4, seed: int = 0) -> None:
        """Writes a prepared dataset of H&E-like synthetic tiles with exact labels to OUTPUT_DIR."""
        datasets.write_synthetic(str(output_dir), train, validation, seed=seed)
        print(output_dir)


def _check_flags(arguments: Sequence[str]) -> None:
    """Raises an `InputError` for a flag that the command does not have: Fire would run the command first."""
    command, *rest = arguments
    known = [*inspect.signature(getattr(Commands, command)).parameters][1:] if hasattr(Commands, command) else []
    for argument in rest:
        name = argument.lstrip("-").split("=")[0].replace("-", "_")
        if known and argument.startswith("--") and name not in (*known, "help", ""):
            near = get_close_matches(name, known, 1, 0.0)[0]
            raise InputError(f"{command} has no setting --{name} (nearest: --{near})")


def main(command: str | None = None) -> None:
    """Runs the command line, or the one command named."""
    show_input_errors_in_one_line()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) > 1:
        _check_flags([command, *sys.argv[1:]] if command else sys.argv[1:])
    fire.Fire(getattr(Commands(), command) if command else Commands(), name=command or "monch_monai")


if __name__ == "__main__":
    main()
