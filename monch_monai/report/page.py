"""One self-contained HTML page about an evaluation, from the files in its folder."""

from importlib import resources
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import jinja2

from monch_monai.files import write_text_atomically
from monch_monai.networks.provenance import Provenance
from monch_monai.report.evaluated_run import EvaluatedRun
from monch_monai.report.figures import draw_all
from monch_monai.report.sections import NOTE_1, NOTE_2, key_numbers, page_sections, read_json
from monch_monai.report.table_files import cell, write_table
from monch_monai.report.tables import table_1, table_2


@idist.one_rank_only()
def write_report(output_dir: str | Path, checkpoint: str | Path | None = None) -> Path:
    """Writes `tables/`, `figures/` and `report.html` from the files of an evaluation; returns the page's path.

    The page contains its figures and opens offline. Of several processes the first writes it.

    Args:
        output_dir: folder of the evaluation.
        checkpoint: file that was evaluated; with a `history.csv` in its folder, the page shows the training's curves.

    Raises:
        InputError: `output_dir` holds no evaluation, or one of its files is damaged.
    """
    run = EvaluatedRun.read(output_dir)
    folder = run.folder
    tables = {1: (table_1([run]), NOTE_1), 2: (table_2([run]), NOTE_2)}
    for number, (rows, note) in tables.items():
        write_table(folder / "tables" / f"table{number}", rows, note)
    draw_all(folder, None if checkpoint is None else Path(checkpoint).parent / "history.csv")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["cell"] = cell
    template = environment.from_string(
        resources.files("monch_monai.report").joinpath("template.html").read_text("utf-8")
    )
    record = run.record
    page = template.render(
        title="MONCH: an evaluation",
        subtitle=f"{run.scores['images']:,} tiles, {record['started']}. For research only; not for diagnosis.",
        warnings=_warnings(run.provenance),
        numbers=key_numbers(run),
        sections=page_sections(run, tables),
        provenance=_provenance(run),
    )
    path = folder / "report.html"
    write_text_atomically(path, page)
    return path


def _warnings(provenance: Provenance) -> list[str]:
    if provenance.image_weights.pretrained:
        return []
    return ["The image encoder started from random weights, not from CLIP's as in the paper."]


def _provenance(run: EvaluatedRun) -> dict[str, Any]:
    record, made = run.record, run.provenance
    time = read_json(run.folder / "inference_time.json") or {}
    text_encoder = "" if made.text_weights is None else f", {made.text_encoder} ({made.text_weights})"
    return {
        "network": run.row,
        "encoder": made.encoder,
        "encoder weights": made.image_weights,
        "words": f"{made.words}{text_encoder}",
        "normalisation of the encoder": made.normalisation or "-",
        **{f"training: {name}": value for name, value in made.recipe.items() if not isinstance(value, dict)},
        "checkpoint": record["checkpoint"]["sha256"] if record["checkpoint"] else "-",
        "data fingerprint": record["data_fingerprint"],
        "seed": record["seed"],
        **record["settings"],
        "commit": record["commit"] or "-",
        "versions": ", ".join(f"{name} {value}" for name, value in record["versions"].items()),
        "hardware": ", ".join(f"{name} {value}" for name, value in record["hardware"].items()),
        "inference time": ", ".join(f"{name} {value}" for name, value in time.items()) or "not measured",
    }
