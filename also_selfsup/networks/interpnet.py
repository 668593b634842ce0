"""After the backbone: what a latent says of the space around it, one prediction for each query-support pair.

Letters: B scans, N points, Q queries, M supports (the points, or bird's-eye-view cells), P pairs, L latent
size.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from also_selfsup.networks.neighbours import radius_pairs


class InterpNet(nn.Module):
    """The pretext decoder: (latent of a support, query - support) to occupancy logit and intensity.

    Every pair within the radius has a prediction of its own; nothing is aggregated (ALSO, CVPR 2023, section
    3). The layers are those of the published network, computed in a cheaper order that gives the same
    numbers: the first one multiplies latents once per support instead of once per pair, and the last two,
        which have no ReLU between
    them, are multiplied with each other first.
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
        self.search_axes = 2 if column_search else 3
        self.fc_in = nn.Linear(latent_size + 3, latent_size)
        self.mlp_layers = nn.ModuleList([nn.Linear(latent_size, latent_size) for _ in range(2)])
        self.fc_out = nn.Linear(latent_size, out_channels)

    def forward(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Predict for every query-support pair of a batch.

        Args:
            batch: `latents` (M, L), `pos_non_manifold` (Q, 3) and its `_batch` (Q,); supports are
                `latents_pos` (M, 3) and `latents_batch` (M,) where present, else `pos` and `batch`. Metres.
                `pair_query` and `pair_support`, where present, are the pairs of an earlier `search`, which is
                then not repeated.
            generator: decides which supports a query keeps that has more than the limit.

        Returns:
            predictions (P, out_channels) raw, occupancy_logits (P,), intensity_predictions (P,) with two
            outputs, pair_query (P,) and pair_support (P,) int64 rows, sorted by query.
        """
        pairs = batch if "pair_query" in batch else self.search(batch, generator)
        pair_query, pair_support = pairs["pair_query"], pairs["pair_support"]
        support_pos, _ = _supports(batch)
        relative = batch["pos_non_manifold"].index_select(0, pair_query) - support_pos.index_select(
            0, pair_support
        )
        predictions = self.predict(batch["latents"], relative, pair_support=pair_support)
        results = {"predictions": predictions, "occupancy_logits": predictions[:, 0]}
        if predictions.shape[1] > 1:
            results["intensity_predictions"] = predictions[:, 1]
        return {**results, "pair_query": pair_query, "pair_support": pair_support}

    def search(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Find the pairs of a batch; needs positions only, so it can run before the backbone.

        Returns:
            pair_query (P,) and pair_support (P,), int64 rows, sorted by query.
        """
        support_pos, support_batch = _supports(batch)
        pair_query, pair_support = radius_pairs(
            batch["pos_non_manifold"][:, : self.search_axes],
            support_pos[:, : self.search_axes],
            query_batch=batch["pos_non_manifold_batch"],
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

    def _folded_output(self, last: nn.Linear) -> tuple[Tensor, Tensor]:
        """Multiply the output layer with the one before it, in full precision also under autocast."""
        with torch.autocast(self.fc_out.weight.device.type, enabled=False):
            weight = self.fc_out.weight @ last.weight
            return weight, self.fc_out.weight @ last.bias + self.fc_out.bias


def _supports(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Give positions (M, 3) and scans (M,) of the latents."""
    if "latents_pos" in batch:
        return batch["latents_pos"], batch["latents_batch"]
    return batch["pos"], batch["batch"]
