import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitrify.system import Configuration, minimum_image, stream, wrap

_BOX = np.array([3.0, 5.0])
_far = arrays(float, (4, 2), elements=st.floats(-1e3, 1e3))


@given(_far)
def test_wrapped_positions_are_inside_and_whole_edges_away(positions: np.ndarray) -> None:
    inside = wrap(positions, _BOX)
    assert ((inside >= 0) & (inside < _BOX)).all()
    shifts = (positions - inside) / _BOX
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-9)


@given(_far)
def test_minimum_image_is_the_shortest_of_the_nine(dr: np.ndarray) -> None:
    wrapped = wrap(dr, _BOX)
    shifts = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]) * _BOX
    shortest = np.linalg.norm(wrapped[:, None] + shifts, axis=-1).min(axis=1)
    np.testing.assert_allclose(np.linalg.norm(minimum_image(dr, _BOX), axis=1), shortest, atol=1e-9)


def test_open_axis_keeps_its_separation() -> None:
    dr = np.array([[2.9, 4.9]])
    np.testing.assert_allclose(minimum_image(dr, _BOX, periodic=np.array([True, False])), [[-0.1, 4.9]])


def test_open_axis_is_not_wrapped() -> None:
    configuration = Configuration(
        positions=np.array([[3.5, 5.5]]), species=np.array([0]), box=_BOX, periodic=np.array([True, False])
    )
    np.testing.assert_allclose(configuration.positions, [[0.5, 5.5]])


def test_density_and_dimension() -> None:
    configuration = Configuration(positions=np.zeros((30, 2)), species=np.zeros(30, int), box=_BOX)
    assert (configuration.density, configuration.dimension) == (2.0, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.array([[np.nan, 0.0]])}, "particle 0"),
        ({"box": np.array([3.0, -5.0])}, "box edges must be positive"),
        ({"species": np.array([-1])}, "species must be"),
        ({"positions": np.zeros((1, 1)), "box": np.array([1.0])}, "2 or 3 edges"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict, message: str) -> None:
    good = {"positions": np.zeros((1, 2)), "species": np.array([0]), "box": _BOX}
    with pytest.raises(ValueError, match=message):
        Configuration(**(good | changes))


def test_configuration_refuses_wrong_shapes_always() -> None:
    with pytest.raises(Exception, match="positions"):
        Configuration(positions=np.zeros(2), species=np.array([0]), box=_BOX)


def test_streams_are_reproducible_and_independent_of_each_other() -> None:
    draws = {name: stream(7, *name).random(4).tolist() for name in (("cool", 1), ("cool", 2), ("start", 1))}
    assert draws["cool", 1] == stream(7, "cool", 1).random(4).tolist()
    assert len({tuple(values) for values in draws.values()}) == 3
    assert stream(8, "cool", 1).random(4).tolist() != draws["cool", 1]
