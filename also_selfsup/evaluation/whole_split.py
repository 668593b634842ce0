"""After fine-tuning: the score of a whole split at full resolution (CVPR 2023, section 4).

B scans of a batch, N_original points as read from the files, C classes.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from also_selfsup.data.scan import Batch
from also_selfsup.evaluation.full_resolution import carry_over
from also_selfsup.evaluation.iou import count_pairs, predicted_classes
from also_selfsup.transforms.pipeline import SegmentationTransforms
from also_selfsup.transforms.randomness import step_generator


@torch.no_grad()
def score_split(
    net: nn.Module,
    transforms: SegmentationTransforms,
    *,
    batches: Iterable[Batch],
    class_count: int,
    seed: int,
    on_scan: Callable[[str, Tensor], None] | None = None,
    arithmetic: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Tensor:
    """Predict every point of every scan and compare with the labels, where the batches have some.

    Args:
        net: Gives `latents` (N, C), the class scores of the thinned points; left in evaluation mode.
        transforms: Those the network was trained with; nothing is augmented.
        batches: Whole scans, with or without `y`; on any device.
        class_count: C.
        seed: Of the thinning, so that two evaluations agree.
        on_scan: Called with each scan's name and the classes of its points (N_original of that scan,), in the
            order of its file.
        arithmetic: What the network runs within, such as autocast; float32 by default.

    Returns:
        (C, C) counts, rows labels, columns predictions; all zero without labels.
    """
    net.eval()
    device = next(net.parameters()).device
    matrix = torch.zeros(class_count, class_count, dtype=torch.int64, device=device)
    for step, cpu_batch in enumerate(batches):
        batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in cpu_batch.items()}
        generator = step_generator(seed=seed, epoch=0, rank=0, step=step, device=device)
        fields = transforms(batch, generator, training=False, keep_original=True)
        with arithmetic():
            latents = net(fields)["latents"]
        classes = carry_over(
            predicted_classes(latents),
            fields["pos"],
            batch=fields["batch"],
            original_pos=fields["original_pos"],
            original_batch=fields["original_batch"],
        )
        if "original_y" in fields:
            matrix += count_pairs(fields["original_y"], classes, class_count=class_count)
        if on_scan is not None:
            counts = torch.bincount(fields["original_batch"], minlength=len(batch["names"])).tolist()
            for name, part in zip(batch["names"], torch.split(classes.cpu(), counts), strict=True):
                on_scan(name, part)
    return matrix
