"""One self-contained HTML page about an evaluation, from the files in its folder."""

from pathlib import Path
from typing import Any

import ignite.distributed as idist
import jinja2

from monch_monai.class_table import PANNUKE
from monch_monai.files import write_text_atomically
from monch_monai.report.evaluated_run import BASELINES, EvaluatedRun
from monch_monai.report.figures import draw_all
from monch_monai.report.sections import TEXTS, key_numbers, page_sections
from monch_monai.report.table_files import cell, write_table
from monch_monai.report.tables import table_1, table_2


@idist.one_rank_only()
def write_report(output_dir: str | Path, checkpoint: str | Path | None = None) -> Path:
    """Writes `tables/`, `figures/` and `report.html` from the files of an evaluation; returns the page's path.

    The page contains its figures and opens offline. The paper's tables are of PanNuke's classes: evaluations of other
    classes do not compare with them, and have none. Of several processes the first writes it.

    Args:
        output_dir: folder of the evaluation.
        checkpoint: file that was evaluated; with a `history.csv` in its folder, the page shows the training's curves.

    Raises:
        InputError: `output_dir` holds no evaluation, or one of its files is damaged.
    """
    run = EvaluatedRun.read(output_dir)
    folder = run.folder
    tables = {1: table_1([run]), 2: table_2([run])} if run.class_table.names == PANNUKE.names else {}
    for number, rows in tables.items():
        write_table(folder / "tables" / f"table{number}", rows, TEXTS["notes"][f"table_{number}"])
    draw_all(folder, run.class_table, None if checkpoint is None else Path(checkpoint).parent / "history.csv")
    loader = jinja2.PackageLoader("monch_monai.report", "")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=loader)
    environment.filters["cell"] = cell
    page = environment.get_template("template.html").render(
        title="MONCH: an evaluation",
        subtitle=f"{run.scores['images']:,} tiles, {run.record['started']}. For research only; not for diagnosis.",
        warnings=_warnings(run),
        numbers=key_numbers(run),
        sections=page_sections(run, tables),
        provenance=_provenance(run),
    )
    path = folder / "report.html"
    write_text_atomically(path, page)
    return path


def _warnings(run: EvaluatedRun) -> list[str]:
    if run.row in BASELINES.values():
        return [f"{run.row}: {run.start}, where published ones exist."] if run.start else []
    random = "The image encoder started from random weights, not from CLIP's as in the paper."
    return [] if run.provenance.image_weights.pretrained else [random]


def _provenance(run: EvaluatedRun) -> dict[str, Any]:
    record, made = run.record, run.provenance
    text_encoder = "" if made.text_weights is None else f", {made.text_encoder} ({made.text_weights})"
    return {
        "network": run.row,
        "encoder": made.encoder,
        "encoder weights": made.image_weights,
        "words": f"{made.words.kind}{text_encoder}",
        "normalisation of the encoder": made.normalisation or "-",
        **{f"training: {name}": value for name, value in made.recipe.items() if not isinstance(value, dict)},
        "checkpoint": record["checkpoint"]["sha256"] if record["checkpoint"] else "-",
        "data fingerprint": record["data_fingerprint"],
        "seed": record["seed"],
        **record["settings"],
        "commit": record["commit"] or "-",
        "versions": ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
        "hardware": ", ".join(f"{name} {value}" for name, value in record["hardware"].items()),
        "inference time": ", ".join(f"{name} {value}" for name, value in (run.time or {}).items()) or "not measured",
    }
