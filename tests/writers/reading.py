"""Nuclei as each format's own library reads them: class and outline, or class and centroid where it has no outline."""

import json

import numpy as np
import pyarrow.parquet as pq
import shapely

from monch_monai.writers import FORMATS

NUCLEI = [name for name, format_ in FORMATS.items() if not format_.of_map]


def written(name, folder, source, tables):
    """The file of a format, of nuclei added table by table."""
    path = folder / FORMATS[name].file
    with FORMATS[name].load()(path, source) as file:
        for table in tables:
            file.add(table)
    return path


def read_geojson(path):
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return [
        (f["properties"]["classification"]["name"], shapely.geometry.shape(f["geometry"]).exterior.coords[:-1])
        for f in features
    ]


def read_parquet(path):
    table = pq.read_table(path)
    outlines = (polygon.exterior.coords[:-1] for polygon in shapely.from_wkb(table["geometry"].to_pylist()))
    return list(zip(table["class_name"].to_pylist(), outlines, strict=True))


def read_dicom(path):
    import highdicom

    groups = highdicom.ann.annread(path).get_annotation_groups()
    return [(group.label, points) for group in groups for points in group.get_graphic_data("2D")]


def read_dsa(path):
    elements = json.loads(path.read_text(encoding="utf-8"))["elements"]
    return [(element["group"], [point[:2] for point in element["points"]]) for element in elements]


def read_anndata(path):
    import anndata

    table = anndata.read_h5ad(path)
    return [
        (name, [place]) for name, place in zip(table.obs["class_name"].astype(str), table.obsm["spatial"], strict=True)
    ]


def read_spatialdata(path):
    import spatialdata

    store = spatialdata.read_zarr(path)
    if "nuclei" not in store:
        return [*store["table"].obs["class_name"]]
    shapes = store["nuclei"]
    outlines = (polygon.exterior.coords[:-1] for polygon in shapes.geometry)
    return list(zip(shapes["class_name"].astype(str), outlines, strict=True))


READ = {
    "geojson": read_geojson,
    "parquet": read_parquet,
    "dicom": read_dicom,
    "dsa": read_dsa,
    "anndata": read_anndata,
    "spatialdata": read_spatialdata,
}


def content(path):
    """A file's bytes; of a folder, those of its files by name."""
    if path.is_file():
        return path.read_bytes()
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def provenance_of(name, path):
    """What a file states of its origin."""
    if name == "parquet":
        return json.loads(pq.read_schema(path).metadata[b"monch"])
    if name == "anndata":
        import anndata

        return json.loads(anndata.read_h5ad(path).uns["monch"])
    if name == "spatialdata":
        import spatialdata

        return spatialdata.read_zarr(path).attrs["monch"]
    if name == "dicom":
        import pydicom

        group = pydicom.dcmread(path).AnnotationGroupSequence[0]
        return json.loads(group.AnnotationGroupAlgorithmIdentificationSequence[0].AlgorithmParameters)
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["monch"] if name == "geojson" else content["attributes"]["monch"]


def expected(name, tables, class_table):
    """What reading the file of a format should give, sorted."""
    made = []
    for table in tables:
        for row in table.to_pylist():
            polygon = shapely.from_wkb(row["geometry"])
            points = [(row["x"], row["y"])] if name == "anndata" else polygon.exterior.coords[:-1]
            made.append((class_table.names[row["class_index"]], points))
    return in_order(made)


def in_order(nuclei):
    """Nuclei by class and first point: formats may group them by class."""
    return sorted(((name, np.asarray(points, float)) for name, points in nuclei), key=lambda n: (n[0], *n[1].mean(0)))
