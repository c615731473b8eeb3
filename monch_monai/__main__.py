"""Commands: `python -m monch_monai COMMAND`, also in a downloaded bundle."""

import logging
import sys
from pathlib import Path

from monch_monai import arguments, datasets, report
from monch_monai.data.writer import free_folder
from monch_monai.datasets.consep import VALIDATION_FIELDS
from monch_monai.datasets.pannuke import download_pannuke, examine_source
from monch_monai.datasets.patients import VALIDATION, Validation
from monch_monai.errors import show_input_errors_in_one_line
from monch_monai.geometry import NETWORK_MPP
from monch_monai.settings import flag
from monch_monai.viewer import view
from monch_monai.viewer.view import PORT


class Commands:
    """MONCH's commands besides those of `python -m monai.bundle run`."""

    def prepare_pannuke(self, source: Path, out: Path, download: bool = False) -> None:
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

    def prepare_consep(
        self, source: Path, out: Path, validation_fields: tuple[str, ...] = VALIDATION_FIELDS, types: bool = False
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

    def prepare_monuseg(self, source: Path, out: Path, validation: Validation = VALIDATION) -> None:
        """Writes MoNuSeg to OUT as a prepared dataset, split by patient.

        Args:
            source: folder with the unpacked zips.
            out: folder to make.
            validation: share of the patients held out of training, or names of patients or fields.
        """
        datasets.prepare_monuseg(source, out, validation)

    def prepare_monusac(self, source: Path, out: Path, validation: Validation = VALIDATION) -> None:
        """Writes MoNuSAC to OUT as a prepared dataset, split by patient.

        Args:
            source: folder with the unpacked zips.
            out: folder to make.
            validation: share of the patients held out of training, or names of patients or fields.
        """
        datasets.prepare_monusac(source, out, validation)

    def prepare_plain(
        self,
        source: Path,
        out: Path,
        classes: str | Path = "pannuke",
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
        datasets.prepare_plain(source, out, str(classes), exhaustive, mpp, tissue, validation, patients)

    def doctor(self, source: Path) -> None:
        """Examines a source of PanNuke as prepare_pannuke would, and writes nothing."""
        print("\n".join(examine_source(source)))

    def tables(self, *runs: Path, table: int, out: Path | None = None) -> None:
        """Prints one of the paper's Tables 1 to 7 with the rows of evaluated RUNS, mean ± sd over those of one row.

        Args:
            runs: folders of evaluations, such as those of the three splits or of several encoders.
            table: its number.
            out: also writes OUT.csv and OUT.md.
        """
        rows = report.paper_table(table, [report.EvaluatedRun.read(run) for run in runs])
        print(report.to_markdown(rows))
        if out is not None:
            report.write_table(out, rows)

    def figures(self, *runs: Path, out: Path) -> None:
        """Draws evaluated RUNS side by side into OUT: the same tiles, truth first, and F1 by organ and by class.

        Args:
            runs: folders of evaluations of one split, such as those of several systems.
            out: folder for segmentations.png (the paper's Figs. 4 and 7) and f1.png (Fig. 5).
        """
        for path in report.draw_compared([report.EvaluatedRun.read(run) for run in runs], out):
            print(path)

    def report(self, evaluation: Path) -> None:
        """Makes tables, figures and report.html of the folder of an EVALUATION again."""
        print(report.write_report(evaluation))

    def words(
        self,
        image: Path,
        out: Path,
        checkpoint: Path | None = None,
        mpp: float = NETWORK_MPP,
        x: int = 0,
        y: int = 0,
        config_file: Path | list[Path] | None = None,
        stages: bool = False,
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
            stages: draws what each stage of the network makes of the tile, and its maps by class (the paper's Fig. 6).
        """
        files = config_file if isinstance(config_file, list) else [config_file] if config_file else None
        given = None if files is None else [str(file) for file in files]
        print(report.draw_picture_words(image, out, checkpoint, mpp, x, y, given, stages))

    def sample(self, output_dir: Path) -> None:
        """Fetches the sample of real H&E and writes it to OUTPUT_DIR as a prepared dataset."""
        print(datasets.prepare_sample(output_dir))

    def label_app(self, app_dir: Path, bundle_root: Path | None = None, checkpoint: Path | None = None) -> None:
        """Makes APP_DIR, a folder for a MONAI Label server to work in: monailabel start_server --app APP_DIR.

        Args:
            app_dir: folder to make.
            bundle_root: folder that holds configs/; bundle, or the current folder.
            checkpoint: weights to begin with; else the newest best.pt of bundle_root/output, else models/model.pt.
        """
        from monch_monai.label.working_copy import write_working_copy  # imports PyTorch, which `view` does without

        print(write_working_copy(app_dir, bundle_root, checkpoint))

    def view(
        self,
        out: Path,
        port: int = PORT,
        slides: Path | None = None,
        export: Path | None = None,
        result: str | None = None,
        region: str | None = None,
    ) -> None:
        """Shows the results in OUT in a browser, at http://127.0.0.1:PORT/, which no other machine reaches.

        Args:
            out: --output_dir of inference.json or inference_wsi.json.
            port: to serve at; 0 takes a free one.
            slides: folder of the slides or images, where they are no longer at their old place.
            export: new folder for a page of a small image or region, which opens from disk; then nothing is served.
            result: name of the image or slide that is exported, where OUT has several.
            region: part that is exported, X,Y,WIDTH,HEIGHT in px of level 0.
        """
        view(out, port, slides, export, result, region)

    def synthetic(self, output_dir: Path, train: int = 8, validation: int = 4, seed: int = 0) -> None:
        """Writes a prepared dataset of H&E-like synthetic tiles with exact labels to OUTPUT_DIR."""
        datasets.write_synthetic(output_dir, train, validation, seed=seed)
        print(output_dir)


def main(command: str | None = None) -> None:
    """Runs the command line, or the one command named."""
    show_input_errors_in_one_line()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.run(Commands(), "monch_monai", [command, *sys.argv[1:]] if command else None)


if __name__ == "__main__":
    main()
