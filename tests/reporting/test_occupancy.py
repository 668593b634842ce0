"""Occupancy on a grid: the decoder's own answers, and unknown where it has nothing to say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from also_selfsup.data.scan import Scan
from also_selfsup.reporting import pictures
from also_selfsup.reporting.occupancy import Plane, ask_planes, encode, occupancy
from also_selfsup.reporting.pictures import OCCUPIED, occupancy_picture
from also_selfsup.settings.run import load
from also_selfsup.training.pretraining import PretrainingModule

PLANE = Plane(across="y", at=0.5, horizontal=(-2.0, 6.0), vertical=(-1.0, 1.0), cell=0.5)


@pytest.fixture(scope="module")
def module() -> PretrainingModule:
    torch.manual_seed(0)
    module = PretrainingModule(load("demo", ["cfg.network.latent_size=8", "cfg.manifold_points=200"]))
    module.decoder.limit = 10**6  # so that the answer does not depend on a draw of supports
    return module


@pytest.fixture(scope="module")
def scan() -> Scan:
    """60 points around (1, 0, 0), none beyond x = 2.5 m."""
    generator = np.random.default_rng(0)
    pos = (generator.uniform(-1.5, 1.5, (60, 3)) + [1, 0, 0]).astype(np.float32)
    intensities = generator.uniform(0, 1, (60, 1)).astype(np.float32)
    return Scan(pos=pos, intensities=intensities, sensor=np.zeros(3, np.float32), name="scan")


@torch.no_grad()
def brute_force(module: PretrainingModule, fields: dict[str, Tensor], query: Tensor) -> float:
    """Mean probability of one query over all supports within the radius, layer by layer as published."""
    relative = query - fields["pos"]
    near = relative.norm(dim=1) < module.decoder.radius
    decoder = module.decoder
    hidden = decoder.fc_in(torch.cat([fields["latents"], relative], dim=1)[near])
    for layer in decoder.mlp_layers:
        hidden = layer(hidden.relu())
    return float(decoder.fc_out(hidden)[:, 0].sigmoid().mean())  # of nothing: NaN


def test_queries_are_cell_centres() -> None:
    queries = PLANE.queries().reshape(*PLANE.shape, 3)
    assert PLANE.shape == (4, 16)
    torch.testing.assert_close(queries[0, 0], torch.tensor([-1.75, 0.5, -0.75]))
    torch.testing.assert_close(queries[3, 15], torch.tensor([5.75, 0.5, 0.75]))
    above = Plane(across="z", at=-1.0, horizontal=(0, 2), vertical=(10, 11), cell=1.0)
    assert above.queries().tolist() == [[0.5, 10.5, -1.0], [1.5, 10.5, -1.0]]


def test_answers_are_the_decoders(module: PretrainingModule, scan: Scan) -> None:
    fields = encode(module, scan)
    queries = PLANE.queries()
    expected = torch.tensor([brute_force(module, fields, query) for query in queries])
    assert expected.isnan().any() and not expected.isnan().all()
    for chunk in (5, 1000):
        answer = occupancy(module, fields, queries=queries, chunk=chunk)
        torch.testing.assert_close(answer, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    [plane] = ask_planes(module, scan, [PLANE])
    np.testing.assert_allclose(plane.ravel(), expected, rtol=1e-4, atol=1e-5)


def test_unknown_where_no_point_is_near(module: PretrainingModule, scan: Scan) -> None:
    [plane] = ask_planes(module, scan, [PLANE])
    columns = PLANE.queries()[:, 0].reshape(PLANE.shape)[0]
    beyond = (columns > 2.5 + module.decoder.radius).numpy()
    assert np.isnan(plane[:, beyond]).all()
    known = plane[~np.isnan(plane)]
    assert ((known >= 0) & (known <= 1)).all()


def test_no_queries(module: PretrainingModule, scan: Scan) -> None:
    assert occupancy(module, encode(module, scan), queries=torch.zeros(0, 3)).shape == (0,)


def test_points_near_a_plane(scan: Scan) -> None:
    near = PLANE.near(scan.pos, 0.3)
    expected = [[x, z] for x, y, z in scan.pos.tolist() if abs(y - 0.5) <= 0.3]
    np.testing.assert_allclose(near, np.array(expected, np.float32))


def test_picture_shows_the_three_states(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = np.full(PLANE.shape, np.nan, np.float32)
    answer[0, 0], answer[1, 1] = 1.0, 0.0
    path = occupancy_picture(scan, [PLANE], answers=[answer], path=tmp_path / "o.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: drawn.append(figure) or path)
    occupancy_picture(scan, [PLANE], answers=[answer], path=path)
    [image] = drawn[0].axes[0].images
    assert image.get_extent() == [-2.0, 6.0, -1.0, 1.0]
    shown = image.to_rgba(image.get_array())
    assert shown[0, 0, :3] == pytest.approx([int(OCCUPIED[i : i + 2], 16) / 255 for i in (1, 3, 5)], abs=0.01)
    assert shown[2, 2, 3] == 0.0  # unknown lets the hatched ground through
    assert shown[1, 1, 2] > shown[1, 1, 0]  # free is blue
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert {"predicted free", "predicted occupied"} < set(labels) and any("unknown" in x for x in labels)
