"""Three sentences for the background and for each nucleus class, by size and shape, chromatin, and surroundings.

Deviation: the paper's sentences are by GPT-4 and are not printed. These were written for MONCH from histology
textbooks, for H&E sections at 40x. Each fits CLIP's 77 tokens.
"""

from collections.abc import Mapping

ATTRIBUTES: Mapping[str, tuple[str, str, str]] = {
    "background": (
        "Tissue between the nuclei, stained pink by eosin or left white, without any nuclear outline.",
        "Smooth or fibrous texture of collagen, muscle, mucus and cytoplasm, with no blue chromatin inside it.",
        "Open spaces such as gland lumens, vessels, fat and tears in the section, pale and free of cells.",
    ),
    "neoplastic": (
        "Neoplastic tumour cell nuclei are enlarged and uneven in size and shape, with irregular or folded outlines.",
        "Their chromatin is dark, coarse and clumped, often with large nucleoli and visible mitotic figures.",
        "They crowd and overlap in sheets, nests or distorted glands, with little cytoplasm around the nucleus.",
    ),
    "inflammatory": (
        "Inflammatory cell nuclei are small, round and dark, about as wide as a red blood cell or a little wider.",
        "Lymphocytes have dense, even, deep blue chromatin and no nucleolus; neutrophils have several small lobes.",
        "They show almost no cytoplasm, and scatter through the stroma or crowd around tumour and vessels.",
    ),
    "connective": (
        "Connective tissue nuclei of fibroblasts, muscle and vessels are long, thin spindles with tapered ends.",
        "Their chromatin is fine and even, pale to moderately dark, with no visible nucleolus.",
        "They lie apart from each other, parallel to wavy pink collagen or muscle fibres.",
    ),
    "dead": (
        "Dead cell nuclei are shrunken, shrivelled or broken into small round fragments of uneven size.",
        "Their chromatin is smudged and uniformly dark, or faded, with all inner detail lost.",
        "They lie in bright pink shrunken cytoplasm or granular debris, often within a necrotic area.",
    ),
    "epithelial": (
        "Healthy epithelial cell nuclei are round to oval, of medium and regular size, with a smooth outline.",
        "Their chromatin is fine, pale and evenly spread, with a small nucleolus or none.",
        "They stand evenly in a row at the base of plentiful cytoplasm, lining glands, ducts or surfaces.",
    ),
}
"""Class name to its sentences, in class order."""
