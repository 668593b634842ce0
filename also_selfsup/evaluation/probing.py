"""Beside pre-training: what frozen features tell of the classes, by two classifiers that need no tuning.

N points to score, M points to learn from, C channels, K classes; class 0 = ignored.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from also_selfsup.data.scan import Batch
from also_selfsup.networks.backbone import Backbone
from also_selfsup.transforms.pipeline import SegmentationTransforms
from also_selfsup.transforms.randomness import step_generator
from also_selfsup.transforms.thinning import thin

# Sharpness of the votes (Wu et al., CVPR 2018): a neighbour at cosine s weighs exp(s / 0.07).
TEMPERATURE = 0.07
# Similarities, and votes of neighbours, held at once: 4 million numbers and some times that.
SIMILARITIES = 1 << 22
# Pull of the linear classifier's weights towards 0: it makes the optimum unique, whatever the features.
SHRINKAGE = 1e-3
ITERATIONS = 100


@torch.no_grad()
def labelled_features(
    backbone: Backbone,
    transforms: SegmentationTransforms,
    *,
    batches: Iterable[Batch],
    points: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Compute what the classifier of a backbone sees, at some labelled points of each scan.

    Draws from generators of its own; the network's mode is left as it is, and should be evaluation.

    Args:
        backbone: Its `encode` is used: the layer behind it is the one that fine-tuning replaces.
        transforms: Those of the pre-training; nothing is augmented.
        batches: With labels `y`, on any device.
        points: Most labelled points of a scan, drawn uniformly.
        seed: Of the thinning and of that draw.

    Returns:
        Features (M, C) in float32 and classes (M,) int64 in 1..K-1, on the backbone's device.
    """
    device = next(backbone.parameters()).device
    features, classes = [], []
    for step, cpu_batch in enumerate(batches):
        batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in cpu_batch.items()}
        generator = step_generator(seed=seed, epoch=0, rank=0, step=step, device=device)
        fields = transforms(batch, generator, training=False)
        rows = fields["y"].nonzero()[:, 0]
        scans = fields["batch"].index_select(0, rows)
        sizes = torch.bincount(scans, minlength=len(batch["names"])).tolist()
        rows = rows.index_select(0, thin(scans, sizes=sizes, count=points, generator=generator))
        cells = fields["voxel_to_pc_id"].index_select(0, rows)
        features.append(backbone.encode(fields).index_select(0, cells).float())
        classes.append(fields["y"].index_select(0, rows))
    return torch.cat(features), torch.cat(classes)


def nearest_classes(
    features: Tensor, known: Tensor, *, known_classes: Tensor, class_count: int, neighbours: int
) -> Tensor:
    """Let the nearest known points vote for the class of each point, nearer ones with more weight.

    Nearness is the cosine of two features; a vote weighs exp(cosine / 0.07). Exact.

    Args:
        features: (N, C) of the points to classify.
        known: (M, C), at least one.
        known_classes: (M,) int64 in 0..K-1.
        class_count: K.
        neighbours: How many vote; all, if there are fewer.

    Returns:
        (N,) int64.
    """
    neighbours = min(neighbours, known.shape[0])
    directions = functional.normalize(known, dim=1)
    found = [known_classes[:0]]
    for part in torch.split(features, max(SIMILARITIES // known.shape[0], 1)):
        cosines, rows = (functional.normalize(part, dim=1) @ directions.t()).topk(neighbours, dim=1)
        weights = ((cosines - 1) / TEMPERATURE).exp()
        answers = functional.one_hot(known_classes[rows], class_count)
        # A product, not scatter_add: that has no deterministic kernel for two dimensions on a GPU.
        votes = torch.bmm(weights[:, None], answers.to(weights.dtype))[:, 0]
        found.append(votes.argmax(dim=1))
    return torch.cat(found)


def linear_classes(features: Tensor, known: Tensor, *, known_classes: Tensor, class_count: int) -> Tensor:
    """Classify points by multinomial logistic regression on the known ones.

    Channels are standardised by the known points. The loss is convex and minimised by L-BFGS from 0, so
    that nothing is random and no learning rate is to be chosen.

    Args:
        features: (N, C) of the points to classify.
        known: (M, C), at least one.
        known_classes: (M,) int64 in 0..K-1.
        class_count: K.

    Returns:
        (N,) int64.
    """
    mean, spread = known.mean(dim=0), known.std(dim=0, correction=0)
    scale = torch.where(spread > 0, spread, 1)
    inputs = (known - mean) / scale
    weight = known.new_zeros(class_count, known.shape[1], requires_grad=True)
    bias = known.new_zeros(class_count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss_of_all() -> Tensor:
        optimizer.zero_grad()
        logits = functional.linear(inputs, weight, bias)
        loss = functional.cross_entropy(logits, known_classes) + SHRINKAGE * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(loss_of_all)  # type: ignore[no-untyped-call]
    return functional.linear((features - mean) / scale, weight.detach(), bias.detach()).argmax(dim=1)
