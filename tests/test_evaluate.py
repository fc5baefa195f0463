"""Evaluation: looks are averaged as said, probabilities are corrected on validation runs, every run is tested once."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from vitrify import baselines, evaluate, learn, scores, views
from vitrify.dataset import Labelled, Split, folds, nested_folds
from vitrify.evaluate import Averaging, Calibration
from vitrify.learning_figures import evaluation_figure
from vitrify.models import CNN, MPNN
from vitrify.system import stream


def lattices(seed, *, n_runs=6, box=(6.0, 6.0)):
    """Square lattices with little (glass) or much (liquid) noise, and an energy that says which, with noise."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1, 0], n_runs)
    site = np.stack(np.divmod(np.arange(36), 6), 1) + 0.5
    noise = np.array((0.03, 0.15))[1 - label][:, None, None] * rng.normal(size=(2 * n_runs, 36, 2))
    return Labelled(
        positions=np.mod(site * np.array(box) / 6 + noise, box).astype(np.float32),
        species=np.repeat([0, 1], [24, 12]),
        box=np.array(box),
        label=label,
        run=np.tile(np.arange(n_runs), 2),
        e_pot=np.zeros(2 * n_runs),
        e_is=-3.87 - 0.003 * label + 0.003 * rng.normal(size=2 * n_runs),
    )


def network(model, seed):
    """A network of random weights, so that it sees every difference."""
    return learn.Trained(network=model.build(seed=seed).eval(), model=model, history={})


SMALL = CNN(width=4)


# Averages


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_the_mean_probability_is_the_slow_and_obvious_one(seed):
    looks = np.random.default_rng(seed).normal(0, 5, (4, 7))
    np.testing.assert_allclose(evaluate.combine(looks, over="probability"), logit(expit(looks).mean(axis=0)), atol=1e-9)
    np.testing.assert_array_equal(evaluate.combine(looks, over="logit"), looks.mean(axis=0))


def test_a_mean_probability_is_never_rounded_to_certainty():
    sure = np.array([[800.0, -800.0, 60.0], [900.0, -900.0, 61.0]])
    combined = evaluate.combine(sure, over="probability")
    np.testing.assert_allclose(combined[:2], [800 + np.log(2), -800 - np.log(2)])
    assert 60 < combined[2] < 61


def test_one_sure_look_outvotes_in_the_mean_logit_only():
    looks = np.array([[30.0], [-2.0], [-2.0], [-2.0]])
    assert evaluate.combine(looks, over="logit") > 0 > evaluate.combine(looks, over="probability")


def test_members_are_one_row_each_and_one_look_is_the_plain_prediction():
    data, nets = lattices(0), [network(SMALL, seed) for seed in (1, 2)]
    found = evaluate.members(nets, data)
    for row, net in zip(found, nets, strict=True):
        np.testing.assert_array_equal(row, learn.predict(net, data))
    with pytest.raises(ValueError, match="at least one trained network"):
        evaluate.members([], data)


@pytest.mark.parametrize("over", ["logit", "probability"])
def test_averaged_over_the_symmetries_a_network_sees_none(over):
    """The average over a group is the same for every member of the group: to the rounding of the pictures' pixels."""
    data, net = lattices(0), network(SMALL, 1)
    averaging = Averaging(symmetries=True, over=over)
    plain, mean = learn.predict(net, data), evaluate.averaged(net, data, averaging)
    n = len(data.label)
    for element in (1, 5, 7):
        turn = {"element": np.full(n, element), "shift": np.zeros((n, 2))}
        turned = replace(data, positions=views.symmetry(data.positions, data.box, **turn))
        assert np.abs(learn.predict(net, turned) - plain).max() > 1e-3
        np.testing.assert_allclose(evaluate.averaged(net, turned, averaging), mean, atol=1e-4)


def test_a_rectangle_is_not_turned_onto_its_side():
    data, net = lattices(0, box=(6.0, 8.0)), network(SMALL, 1)
    n = len(data.label)
    looks = [
        views.symmetry(data.positions, data.box, element=np.full(n, element), shift=np.zeros((n, 2)))
        for element in range(4)
    ]
    slow = np.mean([learn.predict(net, replace(data, positions=look)) for look in looks], axis=0)
    np.testing.assert_allclose(evaluate.averaged(net, data, Averaging(symmetries=True)), slow)


def test_shifts_make_a_network_see_less_of_a_shift():
    """A shift by a fraction of the stride changes the score; the average over many shifts hardly."""
    data, net = lattices(0), network(SMALL, 1)
    n = len(data.label)
    shifted = replace(
        data,
        positions=views.symmetry(
            data.positions, data.box, element=np.zeros(n, int), shift=np.tile([0.37, 0.61], (n, 1))
        ),
    )
    change = lambda averaging: np.abs(
        evaluate.averaged(net, shifted, averaging) - evaluate.averaged(net, data, averaging)
    ).mean()
    assert change(Averaging(n_shifts=32)) < 0.2 * change(Averaging())


@pytest.mark.parametrize("d", [2, 3])
def test_shifts_lie_evenly_in_the_box_and_within_a_stride(d):
    box = np.full(d, 6.0)
    data = replace(lattices(0), positions=np.zeros((12, 36, d), np.float32), box=box)
    looks = list(evaluate._looks(data, Averaging(n_shifts=64)))
    places = np.array([look.positions[0, 0] for look in looks]) / 6.0
    assert places.shape == (64, d)
    assert not places[0].any()
    for cell in (places, np.mod(places * 6, 1)):  # of the box, and of a stride of 1 sigma
        counts = np.histogramdd(cell, bins=2, range=[(0, 1)] * d)[0]
        assert counts.min() >= 0.5 * 64 / 2**d


def test_an_invariant_network_looks_once():
    data, net = lattices(0), network(MPNN(width=8), 1)
    many = evaluate.averaged(net, data, Averaging(symmetries=True, n_shifts=1000))
    np.testing.assert_array_equal(many, learn.predict(net, data))


def test_windows_would_add_nothing_to_a_pooling_network():
    """The mean logit of the windows that tile a picture is the logit of the whole, halo and all."""
    data, net = lattices(0, box=(12.0, 6.0)), network(SMALL, 1)
    (picture,) = SMALL.inputs(data.positions, data.species, data.box)
    half, edge = (picture.shape[2] - 2 * SMALL.halo) // 2, 2 * SMALL.halo
    with torch.inference_mode():
        windows = [net.network(picture[:, :, start : start + half + edge]) for start in (0, half)]
    np.testing.assert_allclose(torch.stack(windows).mean(0).numpy(), learn.predict(net, data), atol=1e-5)


# Calibration


def drawn(rng, n, *, scale=2.0):
    """True logits, and labels that follow them."""
    z = rng.normal(0, scale, n)
    return z, (rng.random(n) < expit(z)).astype(int)


@pytest.mark.parametrize("truth", [0.25, 1.0, 4.0])
def test_the_temperature_planted_is_found(truth):
    z, label = drawn(np.random.default_rng(1), 20_000)
    assert evaluate.temperature(truth * z, label) == pytest.approx(truth, rel=0.05)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_temperature_is_the_lowest_point_of_the_loss(seed):
    rng = np.random.default_rng(seed)
    z, label = drawn(rng, 40)
    z, label = np.append(z, [3.0, -3.0]), np.append(label, [1, 0])
    n = np.bincount(label)
    target = np.where(label == 1, (n[1] + 1) / (n[1] + 2), 1 / (n[0] + 2))
    loss = lambda log_t: np.sum(np.logaddexp(0, z / np.exp(log_t)) - target * z / np.exp(log_t))
    slow = np.exp(minimize_scalar(loss, bounds=(-4, 6), method="bounded", options={"xatol": 1e-9}).x)
    if slow < 50:
        assert evaluate.temperature(z, label) == pytest.approx(slow, rel=1e-4)


def test_classes_that_are_separated_leave_a_classifier_as_sure_as_their_number_allows():
    """All n of n right: the odds of Platt's targets, n + 1 to 1."""
    for n in (3, 30):
        label = np.repeat([0, 1], n)
        z = 5.0 * (2.0 * label - 1)
        found = evaluate.calibrate(z, label)
        np.testing.assert_allclose(found.logit(z)[-1], np.log(n + 1))


def test_scores_no_better_than_chance_say_nothing():
    label = np.repeat([0, 1], 10)
    for z in (np.zeros(20), 1.0 - 2.0 * label):
        assert evaluate.temperature(z, label) == 1e6
    with pytest.raises(ValueError, match="both classes"):
        evaluate.temperature(np.zeros(3), np.ones(3, int))


def test_a_calibration_keeps_the_order_and_moves_the_threshold_it_is_told_to():
    z, label = drawn(np.random.default_rng(2), 4000)
    off = 3.0 * z + 6.0
    kept = evaluate.calibrate(off, label)
    moved = evaluate.calibrate(off, label, move_threshold=True)
    assert kept.threshold == 0.0
    assert moved.threshold == scores.rethreshold(off, label) == pytest.approx(6.0, abs=1.5)
    assert moved.temperature == pytest.approx(3.0, rel=0.1)
    assert scores.auc(moved.logit(off), label) == scores.auc(off, label)
    assert scores.accuracy(moved.logit(off), label) == scores.accuracy(off, label, threshold=moved.threshold)
    assert Calibration().logit(off).tolist() == off.tolist()


# Reliability


def test_a_table_worked_by_hand():
    p = np.array([0.1, 0.1, 0.1, 0.1, 0.7, 0.7, 0.9, 0.9])
    label, run = np.array([0, 0, 0, 1, 1, 0, 1, 1]), np.array([0, 1, 2, 3, 0, 1, 2, 3])
    found = evaluate.reliability(logit(p), label, run, rng=np.random.default_rng(1), n_bins=4)
    assert [(b.low, b.high, b.n, b.n_runs) for b in found.bins] == [
        (0.0, 0.25, 4, 4),
        (0.5, 0.75, 2, 2),
        (0.75, 1.0, 2, 2),
    ]
    assert [b.probability for b in found.bins] == pytest.approx([0.1, 0.7, 0.9])
    assert [b.glass.value for b in found.bins] == [0.25, 0.5, 1.0]
    assert found.ece.value == pytest.approx((4 * 0.15 + 2 * 0.2 + 2 * 0.1) / 8)
    assert found.bins[2].glass.low == pytest.approx(0.025 ** (1 / 2), abs=0.02)
    assert (found.n_test, found.n_runs) == (8, 4)
    with pytest.raises(ValueError, match="n_bins must be at least 1; got 0"):
        evaluate.reliability(logit(p), label, run, rng=np.random.default_rng(1), n_bins=0)


def test_temperature_scaling_takes_the_error_of_a_sure_classifier_away():
    rng = np.random.default_rng(3)
    (z, label), (z_validation, label_validation) = drawn(rng, 1000), drawn(rng, 1000)
    run = np.arange(1000) // 4
    before = evaluate.reliability(5 * z, label, run, rng=rng)
    fitted = evaluate.calibrate(5 * z_validation, label_validation)
    after = evaluate.reliability(fitted.logit(5 * z), label, run, rng=rng)
    assert before.ece.low > before.ece_if_calibrated
    assert after.ece.low == 0
    assert after.ece.value < 2 * after.ece_if_calibrated
    for b in after.bins:
        assert b.glass.low - 0.05 < b.probability < b.glass.high + 0.05


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.2])
def test_the_interval_covers_the_true_calibration_error(temperature):
    z, label = drawn(np.random.default_rng(7), 200_000)
    p = expit(z / temperature)
    truth = np.abs(np.histogram(p, 10, (0, 1), weights=label - p)[0]).sum() / len(p)
    rng, covered, above = np.random.default_rng(8), 0, 0
    for _ in range(100):
        z, label = drawn(rng, 80)
        found = evaluate.reliability(z / temperature, label, np.arange(80) // 2, rng=rng, n_bootstrap=300)
        covered += found.ece.low <= truth <= found.ece.high
        above += found.ece.value > found.ece_if_calibrated
    assert covered >= 90
    assert above <= 12 if temperature == 1.0 else above > 50


# Cross-validation


def by_energy(train, validation, *, fold):
    fitted = baselines.fit(baselines.e_is(train), train.label, baselines.e_is(validation), validation.label)
    return lambda data: fitted.logit(baselines.e_is(data))


def by_memory(train, validation, *, fold):
    """Knows the labels of the runs it was given and guesses the others: finds any leak."""
    known = {*train.positions[:, 0, 0].tolist(), *validation.positions[:, 0, 0].tolist()}
    return lambda data: np.array(
        [(2.0 * y - 1) * (x in known) for x, y in zip(data.positions[:, 0, 0].tolist(), data.label, strict=True)]
    )


def test_every_configuration_is_scored_by_a_classifier_of_its_own_fold():
    data = lattices(1, n_runs=20)
    splits = folds(20, n_folds=5, seed=2)
    found = evaluate.cross_validate(by_energy, data, splits)
    assert [one.n_runs for one in found.folds] == [4] * 5
    assert found.pooled.n_test == 40
    for place, split in enumerate(splits):
        here = np.isin(data.run, split.test)
        assert set(found.fold[here]) == {place}
        alone = by_energy(data.of_runs(split.train), data.of_runs(split.validation), fold=(place,))
        np.testing.assert_array_equal(found.logit[here], alone(data.of_runs(split.test)))
        assert found.folds[place].auc.value == scores.auc(found.logit[here], data.label[here])
    assert found.pooled.accuracy.value == pytest.approx(np.mean([one.accuracy.value for one in found.folds]))
    assert found.pooled.auc.value == pytest.approx(np.mean([one.auc.value for one in found.folds]))


def test_a_classifier_that_remembers_its_runs_is_at_chance():
    data = lattices(1, n_runs=12)
    found = evaluate.cross_validate(by_memory, data, folds(12, n_folds=4, seed=2))
    assert found.pooled.auc.value == 0.5
    assert found.pooled.accuracy.value == 0.5


def test_the_table_has_the_numbers_of_every_fold_and_of_all():
    data = lattices(1, n_runs=12)
    found = evaluate.cross_validate(by_energy, data, folds(12, n_folds=3, seed=2))
    rows = evaluate.table(found)
    assert [row["fold"] for row in rows] == ["0", "1", "2", "pooled"]
    assert [row["n_test"] for row in rows] == [8, 8, 8, 24]
    assert [row["n_train"] for row in rows] == [8, 8, 8, 0]
    assert rows[1]["auc"] == found.folds[1].auc.value
    assert rows[3]["accuracy_low"] == found.pooled.accuracy.low
    assert rows[3]["auc_high"] == found.pooled.auc.high


def test_folds_that_leak_or_leave_out_are_refused():
    data = lattices(1, n_runs=6)
    one, two, three = folds(6, n_folds=3, seed=2)
    leaky = replace(one, train=np.append(one.train, one.test[0]))
    with pytest.raises(ValueError, match=rf"fold 0 has \[{one.test[0]}\] in two"):
        evaluate.cross_validate(by_energy, data, [leaky, two, three])
    for splits in ([one, two], [one, two, three, three], []):
        with pytest.raises(ValueError, match="must test each of the 6 runs of the data once"):
            evaluate.cross_validate(by_energy, data, splits)


def test_a_calibration_inside_the_folds_uses_their_own_validation_runs():
    data = lattices(1, n_runs=18)

    def shifted(train, validation, *, fold):
        plain = by_energy(train, validation, fold=fold)
        return lambda data: plain(data) + 50.0

    def corrected(train, validation, *, fold):
        return evaluate.calibrated(shifted(train, validation, fold=fold), validation, move_threshold=True)

    splits = folds(18, n_folds=3, seed=2)
    off, right = (evaluate.cross_validate(fit, data, splits) for fit in (shifted, corrected))
    assert off.pooled.accuracy.value == 0.5
    assert right.pooled.accuracy.value > 0.6
    assert right.pooled.auc.value == pytest.approx(off.pooled.auc.value)


def test_each_fold_chooses_for_itself_among_its_own_runs():
    data = lattices(1, n_runs=18)
    nested = nested_folds(18, n_folds=3, n_inner=3, seed=2)
    seen = []

    def noting(train, validation, *, fold):
        seen.append((fold, {*train.run, *validation.run}))
        return by_energy(train, validation, fold=fold)

    def wrong(train, validation, *, fold):
        plain = by_energy(train, validation, fold=fold)
        return lambda data: -plain(data)

    fit = evaluate.chosen_inside({"wrong": wrong, "noting": noting}, data, nested)
    outer = [one.outer for one in nested]
    found = evaluate.cross_validate(fit, data, outer)
    plain = evaluate.cross_validate(by_energy, data, outer)
    np.testing.assert_array_equal(found.logit, plain.logit)
    assert [fold for fold, _ in seen] == [(i, *inner) for i in range(3) for inner in ((0,), (1,), (2,), ())]
    for fold, runs in seen:
        assert not runs & set(outer[fold[0]].test)

    with pytest.raises(ValueError, match="at least one candidate"):
        evaluate.chosen_inside({}, data, nested)
    other = [one.outer for one in nested_folds(18, n_folds=3, n_inner=3, seed=3)]
    with pytest.raises(ValueError, match="nested must be of the same folds as splits"):
        evaluate.cross_validate(fit, data, other)


def test_runs_whose_numbers_are_not_counted_from_zero_can_be_split_by_hand():
    data = replace(lattices(1, n_runs=3), run=np.tile([10, 20, 30], 2))
    turns = [(10, 20, 30), (20, 30, 10), (30, 10, 20)]
    splits = [Split(train=np.array([a]), validation=np.array([b]), test=np.array([c])) for a, b, c in turns]
    found = evaluate.cross_validate(by_energy, data, splits)
    assert found.fold.tolist() == [1, 2, 0, 1, 2, 0]


# The figure


def test_the_figure_shows_every_bin_and_every_fold():
    z, label = drawn(np.random.default_rng(2), 120)
    run = np.arange(120) // 2
    tables = {
        name: asdict(evaluate.reliability(by * z, label, run, rng=stream(1, "test"), n_bootstrap=200))
        for name, by in (("too sure", 4.0), ("fair", 1.0))
    }
    data = lattices(1, n_runs=12)
    found = evaluate.cross_validate(by_energy, data, folds(12, n_folds=3, seed=2))
    figure = evaluation_figure(tables, evaluate.table(found))
    figure.canvas.draw()
    bins, counts, rows = (ax for part in figure.subfigs for ax in part.axes)
    for table, drawing in zip(tables.values(), bins.containers, strict=True):
        np.testing.assert_allclose(drawing.lines[0].get_xdata(orig=False), [b["probability"] for b in table["bins"]])
        np.testing.assert_allclose(drawing.lines[0].get_ydata(orig=False), [b["glass"]["value"] for b in table["bins"]])
    assert sum(bar.get_height() for bar in counts.patches) == 240
    shown = [drawing.lines[0].get_xdata(orig=False)[0] for drawing in rows.containers]
    assert shown == [getattr(one, m).value for m in ("accuracy", "auc") for one in (*found.folds, found.pooled)]
    assert "ECE" in bins.get_legend().get_texts()[0].get_text()
