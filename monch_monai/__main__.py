"""Commands: `python -m monch_monai COMMAND`, also in a downloaded bundle."""

import fire

from monch_monai.data import prepare_sample, write_synthetic
from monch_monai.errors import show_input_errors_in_one_line


def sample(output_dir: str) -> None:
    """Fetches the sample of real H&E and writes it to OUTPUT_DIR as a prepared dataset."""
    print(prepare_sample(str(output_dir)))


def synthetic(output_dir: str, train: int = 8, validation: int = 4, seed: int = 0) -> None:
    """Writes a prepared dataset of H&E-like synthetic tiles with exact labels to OUTPUT_DIR."""
    write_synthetic(str(output_dir), train, validation, seed=seed)
    print(output_dir)


if __name__ == "__main__":
    show_input_errors_in_one_line()
    fire.Fire({"sample": sample, "synthetic": synthetic}, name="monch_monai")
