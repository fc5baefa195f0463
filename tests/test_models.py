"""The kernels of the networks against the formulas they stand for."""

import numpy as np
import pytest
import torch
from torch.nn.functional import relu

from vitrify.models import _gaussians, _Heard


def graph(*, n=30, k=5, width=7, seed=0):
    """What a round of messages starts from, with senders that are heard often and never."""
    rng = torch.Generator().manual_seed(seed)
    sent, own = (torch.randn(n, width, generator=rng) for _ in range(2))
    return sent, own, torch.randn(n, k, width, generator=rng), torch.randint(n // 2, (n, k), generator=rng).int()


def test_the_messages_and_their_gradients_are_those_of_the_formula():
    *features, senders = graph()
    weight = torch.randn(30, 7, generator=torch.Generator().manual_seed(1))
    found = []
    for formula in (
        lambda sent, own, apart: _Heard.apply(sent, own, apart, senders),
        lambda sent, own, apart: relu(sent[senders] + own[:, None] + apart).mean(1),
    ):
        given = [part.clone().requires_grad_() for part in features]
        mean = formula(*given)
        (mean * weight).sum().backward()
        found.append((mean.detach(), *(part.grad for part in given)))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs)
    assert not found[0][1][15:].any()  # what is never heard has no gradient
    assert found[0][1][:15].any()


@pytest.mark.parametrize("n_centres", [2, 16])
def test_gaussians_of_any_distance_are_those_of_the_formula(n_centres):
    rng = np.random.default_rng(2)
    distances = np.concatenate([[0.0, 0.6, 2.0, 50.0, 1e6], rng.uniform(0.3, 3.0, 395)]).reshape(80, 5)
    senders, species = rng.integers(80, size=(80, 5)).astype(np.int32), rng.integers(3, size=80).astype(np.int32)
    centres = np.linspace(0.6, 2.0, n_centres).astype(np.float32)
    phi, around = np.empty((80, 5, n_centres), np.float32), np.zeros((80, 3, n_centres), np.float32)
    _gaussians(senders, distances.astype(np.float32), species, centres, phi, around)
    expected = np.exp(-0.5 * ((distances[..., None] - centres) / (centres[1] - centres[0])) ** 2)
    np.testing.assert_allclose(phi, expected, rtol=1e-4, atol=1e-6)
    kind = np.eye(3)[species[senders]]
    np.testing.assert_allclose(around, np.einsum("nks,nkm->nsm", kind, expected), rtol=1e-4, atol=1e-5)
