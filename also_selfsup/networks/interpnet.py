"""After the backbone: what a latent says of the space around it, one prediction for each query-support pair.

Letters: B scans, N points, Q queries, M supports (the points, or bird's-eye-view cells), P pairs, L latent
size.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from also_selfsup.networks import interpnet_fused
from also_selfsup.networks.neighbours import radius_pairs
from also_selfsup.networks.pairs import Pairs, search, searchable


class InterpNet(nn.Module):
    """The pretext decoder: (latent of a support, query - support) to occupancy logit and intensity.

    Every pair within the radius has a prediction of its own; nothing is aggregated (ALSO, CVPR 2023, section
    3). The layers are those of the published network, computed in a cheaper order that gives the same
    numbers: the first one multiplies latents once per support instead of once per pair, and the last two,
    with no ReLU between them, are multiplied with each other first.
    """

    def __init__(
        self,
        latent_size: int,
        out_channels: int = 2,
        *,
        radius: float = 1.0,
        column_search: bool = False,
        limit: int = 32,
    ) -> None:
        """Build the layers.

        Args:
            latent_size: L.
            out_channels: 2 for occupancy and intensity, 1 for occupancy alone.
            radius: metres; pairs are strictly nearer.
            column_search: measure distance in x, y only (supports are bird's-eye-view cells at z = 0).
            limit: most supports of a query; a uniform draw when there are more.
        """
        super().__init__()
        if out_channels not in (1, 2):
            raise ValueError(f"out_channels={out_channels}: choose 2 (occupancy, intensity) or 1 (occupancy)")
        self.radius, self.limit = radius, limit
        # On a GPU with Triton, for CUDA graphs: results keep room for all pairs there can be, so that no
        # shape depends on the data; rows that are no pairs have a negative `pair_query` and stand last.
        self.static = False
        self.search_axes = 2 if column_search else 3
        self.fc_in = nn.Linear(latent_size + 3, latent_size)
        self.mlp_layers = nn.ModuleList([nn.Linear(latent_size, latent_size) for _ in range(2)])
        self.fc_out = nn.Linear(latent_size, out_channels)

    def forward(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Predict for every query-support pair of a batch.

        Args:
            batch: `latents` (M, L), `pos_non_manifold` (Q, 3) and its `_batch` (Q,); supports are
                `latents_pos` (M, 3) and `latents_batch` (M,) where present, else `pos` and `batch`. Metres.
                What an earlier `search` found, where present, is not searched again.
            generator: decides which supports a query keeps that has more than the limit.

        Returns:
            predictions (P, out_channels) raw, occupancy_logits (P,), intensity_predictions (P,) with two
            outputs, pair_query (P,) and pair_support (P,) int64 rows, sorted by query.
        """
        known = "pairs" in batch or "pair_query" in batch
        pairs = _pairs(batch if known else self.search(batch, generator), support_count=len(batch["latents"]))
        support_pos, _ = _supports(batch)
        if interpnet_fused.suits(batch["latents"], self.fc_in.weight):
            return self._predict_fused(batch, pairs, support_pos)
        pair_query, pair_support = pairs.exact()
        relative = batch["pos_non_manifold"].index_select(0, pair_query) - support_pos.index_select(
            0, pair_support
        )
        predictions = self.predict(batch["latents"], relative, pair_support=pair_support)
        return _results((*predictions.unbind(1), predictions), pair_query, pair_support)

    def search(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> dict[str, Any]:
        """Find the pairs of a batch; needs positions only, so it can run before the backbone.

        Returns:
            pair_query (P,) and pair_support (P,), int64 rows, sorted by query. On a GPU with Triton `pairs`
            instead, whose number the host does not know yet.
        """
        support_pos, support_batch = _supports(batch)
        query_pos, query_batch = batch["pos_non_manifold"], batch["pos_non_manifold_batch"]
        if searchable(query_pos, support_pos, limit=self.limit):
            pairs = search(
                query_pos,
                support_pos,
                query_batch=query_batch,
                support_batch=support_batch,
                radius=self.radius,
                axes=self.search_axes,
                limit=self.limit,
                generator=generator,
            )
            return {"pairs": pairs}
        pair_query, pair_support = radius_pairs(
            query_pos[:, : self.search_axes],
            support_pos[:, : self.search_axes],
            query_batch=query_batch,
            support_batch=support_batch,
            radius=self.radius,
            limit=self.limit,
            generator=generator,
        )
        return {"pair_query": pair_query, "pair_support": pair_support}

    def predict(self, latents: Tensor, relative: Tensor, *, pair_support: Tensor) -> Tensor:
        """Run the layers.

        Args:
            latents: (M, L).
            relative: (P, 3) query - support, metres.
            pair_support: (P,) row of each pair's support in `latents`.

        Returns:
            (P, out_channels), no activation.
        """
        weight_latent, weight_relative = self.fc_in.weight[:, :-3], self.fc_in.weight[:, -3:]
        projected = functional.linear(latents, weight_latent, self.fc_in.bias).index_select(0, pair_support)
        hidden = torch.addmm(projected, relative.to(self.fc_in.weight.dtype), weight_relative.t())
        *inner, last = self.mlp_layers
        for layer in inner:
            hidden = layer(functional.relu(hidden, inplace=True))
        return functional.linear(
            functional.relu(hidden, inplace=True), *self._folded_output(cast(nn.Linear, last))
        )

    def _predict_fused(self, batch: dict[str, Any], pairs: Pairs, support_pos: Tensor) -> dict[str, Tensor]:
        """The same in 16 bits by kernels that keep nothing of size P x L."""
        pair_query, pair_support = (pairs.query, pairs.support) if self.static else pairs.exact()
        hidden, last = (cast(nn.Linear, layer) for layer in self.mlp_layers)
        weights = (self.fc_in.weight, self.fc_in.bias, hidden.weight, hidden.bias, *self._folded_output(last))
        outputs = interpnet_fused.predict(
            batch["latents"],
            interpnet_fused.Weights(*weights),
            query_pos=batch["pos_non_manifold"],
            support_pos=support_pos,
            pairs=pairs,
            rows=len(pair_query),
            dtype=torch.get_autocast_dtype(support_pos.device.type),
        )
        return _results(outputs, pair_query, pair_support)

    def _folded_output(self, last: nn.Linear) -> tuple[Tensor, Tensor]:
        """Multiply the output layer with the one before it, in full precision also under autocast."""
        with torch.autocast(self.fc_out.weight.device.type, enabled=False):
            weight = self.fc_out.weight @ last.weight
            return weight, self.fc_out.weight @ last.bias + self.fc_out.bias


def _results(outputs: tuple[Tensor, ...], pair_query: Tensor, pair_support: Tensor) -> dict[str, Tensor]:
    """Name the outputs, (P,) each, and all of them together, (P, O)."""
    *alone, predictions = outputs
    names = ("occupancy_logits", "intensity_predictions")
    named = dict(zip(names[: len(alone)], alone, strict=True))
    return {"predictions": predictions, **named, "pair_query": pair_query, "pair_support": pair_support}


def _pairs(found: dict[str, Any], *, support_count: int) -> Pairs:
    """What `search` found, or somebody else."""
    if "pairs" in found:
        pairs: Pairs = found["pairs"]
        return pairs
    return Pairs.of(found["pair_query"], found["pair_support"], support_count=support_count)


def _supports(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Give positions (M, 3) and scans (M,) of the latents."""
    if "latents_pos" in batch:
        return batch["latents_pos"], batch["latents_batch"]
    return batch["pos"], batch["batch"]
