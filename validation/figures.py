"""The figures of the suite, in the style of the package's own: values in, one ``Figure`` out."""

__all__ = ["conservation", "cooling", "ensemble", "structure"]

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from scipy import stats

from vitrify import figures as house
from vitrify.transition import REFERENCE

_RED, _GREEN, _BLUE, _INK, _GREY = house._RED, house._GREEN, house._BLUE, house._INK, house._GREY
_LINES = {20_000: (":", "2e4"), 200_000: ("-", "2e5"), 2_000_000: ("--", "2e6")}
_DASHES = {"shifted": "-", "unshifted": "--"}
Data = dict[str, Any]


def cooling(data: Data) -> Figure:
    """Return the cooling curves, and why a search on the unshifted potential stalls.

    Args:
        data: As :func:`validation.cooling.figure_data` returns it.
    """
    figure = Figure(figsize=(8.2, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.35, 1))
    curve, search, line = (figure.add_subplot(where) for where in (grid[0, :], grid[1, 0], grid[1, 1]))
    _curves(curve, data)
    for name, colour, label in (("true_path", _GREEN, "shifted"), ("stalled_path", _RED, "unshifted")):
        path = data[name]
        search.semilogy(path[:, 0], path[:, 3], color=colour, lw=1.0, label=f"{label} potential")
        search.plot(path[-1, 0], path[-1, 3], "o", ms=4, color=colour)
    search.axhline(2e-3, lw=0.6, ls=(0, (1, 2)), color=_GREY)
    search.text(0.99, 2.4e-3, "tolerance of vitrify", fontsize=6.5, color=_GREY, ha="right", transform=_across(search))
    _label(search, "(b) one search by conjugate gradients", "iteration", r"largest force component ($\epsilon/\sigma$)")
    search.legend(fontsize=7, frameon=False, loc="upper right")
    x = 1e7 * data["line"]["x"]
    for name, colour in (("shifted", _GREEN), ("unshifted", _RED)):
        line.plot(x, 1e3 * data["line"][name], _DASHES[name], color=colour, lw=1.2, label=f"{name} potential")
    line.axvline(0, lw=0.6, color=_GREY)
    line.set_xscale("symlog", linthresh=1e-1, linscale=0.3)
    line.set_xticks([-100, -1, 0, 1, 100])
    line.xaxis.set_minor_locator(NullLocator())
    _label(
        line,
        "(c) along the line on which it stalled",
        r"largest displacement ($10^{-7}\sigma$)",
        r"$\Delta U$, whole system ($10^{-3}\epsilon$)",
    )
    line.legend(fontsize=7, frameon=False, loc="lower left")
    return figure


def structure(data: Data) -> Figure:
    """Return the partial pair correlations of the cold three- and two-dimensional systems.

    Args:
        data: ``ka3d`` and ``ka2d``, each the distances and the three partial g(r); ``T`` of the first.
    """
    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    titles = {"ka3d": f"(a) ka3d, T = {data['T']:g}, at equilibrium", "ka2d": "(b) ka2d, T = 0.05, glass"}
    for ax, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        r, g = data[name]
        for partial, colour, line, label in zip(
            g, (_RED, _INK, _BLUE), ("-", "--", ":"), ("AA", "AB", "BB"), strict=True
        ):
            ax.plot(r, partial, line, color=colour, lw=1.1, label=label)
        ax.set_xlim(0.6, 3.5)
        _label(ax, title, r"$r$ ($\sigma_{AA}$)", "$g(r)$")
        ax.legend(fontsize=7, frameon=False)
    return figure


def conservation(data: Data) -> Figure:
    """Return the wander of the energy, its dependence on the time step, and the displacement, beside LAMMPS.

    Args:
        data: ``wander``, ``scan`` and ``travel``, as the checks return them.
    """
    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    walk, order, travel = figure.subplots(1, 3)
    for name, colour, line, label in (("lammps", _GREY, "--", "LAMMPS, double"), ("ours", _GREEN, "-", "vitrify")):
        walk.plot(data["wander"]["t"], 1e4 * data["wander"][name].T, line, color=colour, lw=0.7)
        walk.plot([], [], line, color=colour, label=label)
    _label(walk, "(a) constant energy, dt = 0.005", "time", r"$E(t)-E(0)$ per particle ($10^{-4}\epsilon$)")
    dt, scan = data["scan"]["dt"], data["scan"]
    for name, colour, marker, label in (
        ("amplitude", _GREEN, "o", "fluctuation within 1"),
        ("drift", _RED, "s", f"change over {data['time']:g}"),
    ):
        rms = np.sqrt((scan[name] ** 2).mean(axis=1))
        order.loglog(dt, rms, marker, ms=4, mfc="white" if name == "drift" else colour, color=colour, label=label)
    first = np.sqrt((scan["amplitude"][-1] ** 2).mean())
    order.loglog(dt, first * (dt / dt[-1]) ** 2, lw=0.8, color=_INK, label=r"$\propto dt^2$")
    order.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (order.xaxis, order.yaxis):
        axis.set_minor_formatter(NullFormatter())
    order.xaxis.set_major_formatter("{x:g}")
    _label(order, "(b) energy error, rms", "time step $dt$", r"per particle ($\epsilon$)")
    _bands(travel, data["travel"]["t"][1:], {name: data["travel"][name][:, 1:] for name in ("lammps", "ours")})
    _label(travel, "(c) ka2d, T = 1, constant energy", "time", r"mean squared displacement ($\sigma^2$)")
    for ax in (walk, order, travel):
        ax.legend(fontsize=7, frameon=False)
    return figure


def ensemble(data: Data) -> Figure:
    """Return the distributions of kinetic energy and velocity under the thermostat.

    Args:
        data: ``chi2`` and ``velocity``, as :func:`validation.ensemble.kinetic` returns them; ``free``, the degrees of
            freedom.
    """
    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    kinetic, velocity = figure.subplots(1, 2)
    for ax, name, known, title, label in (
        (kinetic, "chi2", stats.chi2(data["free"]), "(a) kinetic energy", "$2K/T$"),
        (velocity, "velocity", stats.norm, "(b) velocity components", r"$v\,/\sqrt{T(1-1/N)}$"),
    ):
        sample = data[name]
        x = np.linspace(sample.min(), sample.max(), 300)
        ax.hist(sample, bins=40, density=True, color=_GREEN, alpha=0.45, label=f"{len(sample)} values")
        ax.plot(x, known.pdf(x), color=_INK, lw=1.1, label="chi-squared" if name == "chi2" else "Maxwell-Boltzmann")
        _label(ax, title, label, "density")
        ax.legend(fontsize=7, frameon=False)
    return figure


def _curves(ax: Axes, data: Data) -> None:
    for n_steps, curve in data["curves"].items():
        line, label = _LINES.get(n_steps, ("-.", f"{n_steps:.0e}"))
        ax.fill_between(
            curve["T"], curve["mean"] - curve["error"], curve["mean"] + curve["error"], color=_GREEN, alpha=0.2, lw=0
        )
        ax.plot(curve["T"], curve["mean"], line, color=_GREEN, lw=1.2, label=f"true minima, $t_{{cool}}$ = {label}")
    for n_steps, curve in data["stalled"].items():
        line, label = _LINES.get(n_steps, ("-.", f"{n_steps:.0e}"))
        ax.errorbar(
            curve["T"],
            curve["mean"],
            curve["error"],
            fmt="s" if line == "-" else "^",
            ms=3.6,
            mfc="white",
            lw=0.8,
            color=_RED,
            label=f"LAMMPS, unshifted: stalled, $t_{{cool}}$ = {label}",
        )
    liquid = data["liquids"]
    ax.errorbar(
        liquid["T"], liquid["mean"], liquid["error"], fmt="D", ms=3.6, lw=0.8, color=_RED,
        label="LAMMPS, unshifted: stalled, liquid at equilibrium",
    )  # fmt: skip
    known = REFERENCE["published"]
    ax.plot(known.T, known.energy, ":o", ms=2.6, lw=0.9, color=_GREY, label="published: stalled, $t_{cool}$ = 2e7")
    _label(ax, "(a) cooling curves, ka2d", house._T_LABEL, house._ENERGY_LABEL)
    ax.legend(fontsize=7, frameon=False)


def _bands(ax: Axes, t: np.ndarray, samples: dict[str, np.ndarray]) -> None:
    for name, colour, line, label in (("lammps", _GREY, "--", "LAMMPS"), ("ours", _GREEN, "-", "vitrify")):
        mean = samples[name].mean(axis=0)
        error = samples[name].std(axis=0, ddof=1) / np.sqrt(len(samples[name]))
        ax.fill_between(t, mean - error, mean + error, color=colour, alpha=0.25, lw=0)
        ax.plot(t, mean, line, color=colour, lw=1.2, label=label)


def _label(ax: Axes, title: str, x: str, y: str) -> None:
    house._style(ax)
    ax.set_title(title, fontsize=house._TEXT, loc="left")
    ax.set_xlabel(x, fontsize=house._TEXT)
    ax.set_ylabel(y, fontsize=house._TEXT)


def _across(ax: Axes) -> Any:
    return ax.get_yaxis_transform()
