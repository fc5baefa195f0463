"""The physics of vitrify held to published numbers, LAMMPS and statistical mechanics, with figures and a table."""
