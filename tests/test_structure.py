import numpy as np
import pytest

from test_figures import difference
from vitrify import structure
from vitrify.analyses import structure as analysis
from vitrify.system import Configuration


def _triangular(n_rows: int = 12) -> Configuration:
    """Return a triangular lattice in a nearly square box, every third particle B."""
    x, y = np.meshgrid(np.arange(n_rows), np.arange(n_rows))
    positions = np.stack([(x + 0.5 * (y % 2)).ravel(), y.ravel() * np.sqrt(3) / 2], axis=1).astype(float) + 0.1
    species = (np.arange(n_rows**2) % 3 == 0).astype(int)
    return Configuration(positions=positions, species=species, box=np.array([n_rows, n_rows * np.sqrt(3) / 2]))


def _random(seed: int, n: int = 60, d: int = 2) -> Configuration:
    rng = np.random.default_rng(seed)
    species = np.repeat([0, 1], [n - n // 3, n // 3])
    return Configuration(positions=rng.random((n, d)) * 8, species=species, box=np.full(d, 8.0))


def _by_brute_force(configuration: Configuration, k: int) -> tuple[int, int, int]:
    """Return the three metrics by all distances and by flooding."""
    n, is_B = len(configuration.species), configuration.species == 1
    dr = configuration.positions[:, None] - configuration.positions
    dr -= configuration.box * np.round(dr / configuration.box)
    r2 = (dr**2).sum(axis=2)
    np.fill_diagonal(r2, np.inf)
    joined = np.zeros((n, n), bool)
    for i in range(n):
        joined[i, np.argsort(r2[i])[:k]] = True
    joined |= joined.T
    joined &= is_B[:, None] | is_B
    unseen, components = set(range(n)), 0
    while unseen:
        components += 1
        front = [unseen.pop()]
        while front:
            new = set(np.flatnonzero(joined[front.pop()])) & unseen
            unseen -= new
            front += new
    lonely = sum(not is_B[i] and not (joined[i] & is_B).any() for i in range(n))
    return components, int((joined & is_B[:, None] & is_B).sum()) // 2, lonely


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_three_metrics_are_those_of_all_distances(d: int, k: int) -> None:
    for seed in range(8):
        configuration = _random(seed, d=d)
        assert structure.bond_metrics(configuration, n_neighbours=k) == _by_brute_force(configuration, k)


@pytest.mark.parametrize("k", [1, 3])
def test_connectivity_is_that_of_all_distances(k: int) -> None:
    """With every particle a B the graph of the metrics is the whole graph."""
    many = [_random(seed) for seed in range(6)]
    whole = [
        _by_brute_force(Configuration(positions=one.positions, species=np.ones(60, int), box=one.box), k)
        for one in many
    ]
    shown = np.stack([one.positions for one in many]).astype(np.float32)
    found = structure.connectivity(shown, many[0].box, n_neighbours=k)
    pieces = [components for components, _, _ in whole]
    assert (found.n_configurations, found.max_components) == (6, max(pieces))
    assert found.components == pytest.approx(np.mean(pieces))
    assert found.connected == np.mean(np.array(pieces) == 1)
    assert found.degree == pytest.approx(2 * np.mean([bonds for _, bonds, _ in whole]) / 60)


def test_connectivity_of_a_lattice_and_of_three_pairs() -> None:
    lattice = _triangular()
    found = structure.connectivity(lattice.positions[None].astype(np.float32), lattice.box, n_neighbours=6)
    assert (found.connected, found.components, found.degree) == (1.0, 1.0, 6.0)
    pairs = np.array([[[0.0, 0], [1, 0], [5, 5], [6, 5], [10, 10], [11, 10]]], np.float32)
    found = structure.connectivity(pairs, np.full(2, 20.0), n_neighbours=1)
    assert (found.connected, found.max_components, found.degree) == (0.0, 3, 1.0)


def test_the_three_metrics_of_a_hand_made_graph() -> None:
    # a pair B-B, a pair A-B, and a pair A-A, far from each other, one neighbour each
    positions = np.array([[0.0, 0.0], [1, 0], [5, 5], [6, 5], [10, 10], [11, 10]])
    configuration = Configuration(positions=positions, species=np.array([1, 1, 0, 1, 0, 0]), box=np.full(2, 20.0))
    assert structure.bond_metrics(configuration, n_neighbours=1) == (4, 1, 2)


def test_every_cell_of_a_triangular_lattice_is_a_hexagon() -> None:
    found = structure.voronoi_metrics(_triangular())
    assert found["sides_6"] == 1
    assert found["area_sd"] == pytest.approx(0, abs=1e-5)
    assert found["psi6_voronoi"] == pytest.approx(1, abs=1e-5)
    assert found["psi5_voronoi"] == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValueError, match="2 dimensions; got 3"):
        structure.voronoi_metrics(_random(1, d=3))


@pytest.mark.parametrize("d", [2, 3])
def test_the_structure_factor_of_an_ideal_gas_is_one_and_of_a_lattice_its_peaks(d: int) -> None:
    S = [structure.structure_factor(_random(seed, d=d), q_max=12.0, n_bins=12)[1] for seed in range(30)]
    assert np.nanmean(S) == pytest.approx(1, abs=0.05)
    side = np.stack(np.meshgrid(*[np.arange(6.0)] * d), axis=-1).reshape(-1, d)
    lattice = Configuration(positions=side, species=np.arange(6**d) % 2, box=np.full(d, 6.0))
    q, S_lattice = structure.structure_factor(lattice, q_max=10.0, n_bins=30)
    assert q[np.flatnonzero(S_lattice > 1)[0]] == pytest.approx(2 * np.pi, abs=q[1] - q[0])
    assert np.nanmax(S_lattice[q < 6]) < 1e-9


def test_the_structure_factor_of_a_triangular_lattice_in_its_rectangular_box_has_its_first_peak() -> None:
    q, S = structure.structure_factor(_triangular(), q_max=10.0, n_bins=50)
    assert q[np.flatnonzero(S > 1)[0]] == pytest.approx(4 * np.pi / np.sqrt(3), abs=q[1] - q[0])
    assert np.nanmax(S[q < 7]) < 1e-9


def test_the_structure_factor_agrees_with_the_sum_itself() -> None:
    configuration = _random(3, n=20)
    _, S = structure.structure_factor(configuration, q_max=3.0, n_bins=1)
    unit, found = 2 * np.pi / 8, []
    for a in range(-3, 4):
        for b in range(-3, 4):
            wave = unit * np.array([a, b])
            if 0 < np.linalg.norm(wave) < 3.0:
                found.append(abs(np.exp(-1j * configuration.positions @ wave).sum()) ** 2 / 20)
    assert S[0] == pytest.approx(np.mean(found))


def test_all_metrics_have_a_name_and_are_finite() -> None:
    for d in (2, 3):
        names, values = structure.metrics(_random(5, d=d))
        assert len(names) == len(values) == len(set(names))
        assert np.isfinite(values).all()


def _row(auc: float) -> dict:
    estimate = {"value": auc, "low": auc - 0.1, "high": min(1.0, auc + 0.1)}
    both = [
        {"metric": name, "auc": estimate, "accuracy": estimate, "auc_minus_chance": difference(auc - 0.5), "logit": []}
        for name in ("bonds_BB", analysis._ALL)
    ]
    beside = [{"metric": "e_is", "auc": estimate, "accuracy": estimate}]
    words = {"input": "inherent", "k": 9, "T": 0.5, "n_test": 26, "n_runs": 13}
    return words | {"metrics": both, "beside": beside, "all_minus_energy": difference(-0.3, 0.05)}


def test_the_section_names_what_tells_most_apart() -> None:
    metrics = [
        {"input": "inherent", "metric": "bonds_BB", "T": [1.0, 0.1], "mean": [2.0, 3.0], "se": [0.1, 0.1], "n_runs": 9}
    ]
    line = [0.0, 1.0, 2.0]
    curve = {"input": "inherent", "T": 1.0, "n_runs": 9, "r": line, "g": [line] * 3, "g_se": [line] * 3}
    curve |= {"q": line, "S": line, "S_se": line}
    rows = [_row(0.7), _row(0.995)]
    analysis._judge(rows, margin=0.05)
    section = analysis.section({"metrics": metrics, "rows": rows, "curves": [curve]})
    assert len(section.sentences) == len(section.tables) == 1
    assert "1 of 1 metrics are shown to tell the liquid from the glass" in section.sentences[0]
    assert "bonds_BB (AUC 0.700 [0.591, 0.809]" in section.sentences[0]
    assert "corrected for 4 questions" in section.sentences[0]
    assert "All metrics together rank better or worse than the energy (difference of AUC -0.300" in section.sentences[0]
    assert section.tables[0].rows[0][-1] == "shown"
    assert section.drawings[0].draw(*section.drawings[0].values).axes[0].get_ylabel() == "B-B bonds"
    assert len(section.drawings[1].draw(*section.drawings[1].values).axes) == 4
