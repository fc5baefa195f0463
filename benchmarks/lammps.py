"""LAMMPS on a configuration of ours: the peer of the engine's tests and timings."""

__all__ = ["available", "run", "write_data"]

from vitrify.lammps import available, run, write_data
