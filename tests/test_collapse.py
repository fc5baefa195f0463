"""No seed of the default training collapses: none ends at 50% where the potential energy alone does not."""

import numpy as np
import pytest

from vitrify import baselines, dynamics
from vitrify.dataset import Labelled
from vitrify.learn import Train, train
from vitrify.models import CNN, MPNN
from vitrify.potentials import MIXTURES
from vitrify.system import stream

N_RUNS, N_TRAIN, N = 32, 24, 144
K_GLASS, LIQUIDS = 200, (5, 140)


class Nowhere:
    """Checkpoints of a training that is not interrupted."""

    def __init__(self):
        self.saved = {}

    def load(self, which):
        return self.saved.get(which)

    def save(self, which, state):
        self.saved[which] = state


def temperature(k):
    return 2.0 - 0.00975 * k


@pytest.fixture(scope="module")
def records():
    """Positions and potential energies at k = 5, 140 and 200 of a short ramp, thermal."""
    positions, energies = ({k: [] for k in (*LIQUIDS, K_GLASS)} for _ in range(2))
    for run in range(N_RUNS):
        rng, T = stream(run, "collapse"), 2.0
        state = dynamics.start(MIXTURES["ka2d"], n_particles=N, T=T, rng=rng)
        state = dynamics.advance(state, n_steps=4000, dt=0.005, T_from=T, T_to=T, tau=0.5, rng=rng)
        for k in positions:
            n_steps, T_to = 20 * round(400 * (T - temperature(k))), temperature(k)
            state = dynamics.advance(state, n_steps=n_steps, dt=0.005, T_from=T, T_to=T_to, tau=0.5, rng=rng)
            T = T_to
            positions[k].append(dynamics.configuration(state).positions.astype(np.float32))
            energies[k].append(dynamics.energies(state).unshifted)
    return {k: np.stack(positions[k]) for k in positions}, {k: np.array(energies[k]) for k in energies}


def against_glass(records, k, runs):
    """Record ``k`` of some runs against their glass."""
    (positions, energies), mixture = records, MIXTURES["ka2d"]
    return Labelled(
        positions=np.concatenate([positions[k][runs], positions[K_GLASS][runs]]),
        species=mixture.species(N),
        box=mixture.box(N),
        label=np.repeat([0, 1], len(runs)),
        run=np.tile(runs, 2),
        e_pot=np.concatenate([energies[k][runs], energies[K_GLASS][runs]]),
        e_is=np.zeros(2 * len(runs)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("k", LIQUIDS)
@pytest.mark.parametrize("model", [CNN(), MPNN()], ids=lambda model: model.kind)
def test_none_of_ten_seeds_collapses(records, model, k):
    data, chosen = (against_glass(records, k, runs) for runs in np.split(np.arange(N_RUNS), [N_TRAIN]))
    fitted = baselines.fit(data.e_pot[:, None], data.label, chosen.e_pot[:, None], chosen.label)
    assert np.mean((fitted.logit(chosen.e_pot[:, None]) > 0) == chosen.label) > 0.55
    final = [
        train(model, data, chosen, Train(), seed=seed, checkpoints=Nowhere()).history["validation_accuracy"][-1]
        for seed in range(10)
    ]
    assert min(final) > 0.55, final
