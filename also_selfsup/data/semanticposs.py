"""Where SemanticPOSS is opened: the frames of a split's sequences, in SemanticKITTI's layout."""

from also_selfsup.data.labels import SEMANTICPOSS
from also_selfsup.data.sequences import SequenceDataset

TRAIN = ("00", "01", "02", "04", "05")
SEQUENCES = {"train": TRAIN, "val": ("03",), "trainval": tuple(sorted((*TRAIN, "03")))}


class SemanticPOSS(SequenceDataset):
    """SemanticPOSS with its usual 13 classes.

    Layout: see `SequenceDataset`; six sequences, 00 to 05. Every sequence has labels, 03 serves validation.
    `skip_ratio` keeps every n-th scan of the split, beginning with the first. Intensities should be
    fractions; files with larger values are refused until `intensity_scale` says what the largest is.
    """

    sequences = SEQUENCES
    splits = tuple(SEQUENCES)
    label_map = SEMANTICPOSS
    class_names = SEMANTICPOSS.names
    options = ("intensity_scale",)
    own_intensity_scale = 1.0
    source = "Fetch SemanticPOSS (http://www.poss.pku.edu.cn/semanticposs.html) and unpack it there"
