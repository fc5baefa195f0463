"""A user's own material: species, shape of the box, and, where the user names one, a potential that LAMMPS knows.

A study file states it whole, in the table ``[simulate.imported.material]``. Without a potential only configurations as
they are in the user's files exist: no energies, and no inherent structures. Species are named A, B, C, ... in the
order of ``names``.
"""

__all__ = ["NO_POTENTIAL", "Material", "PairStyle"]

import re
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Integer
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

NO_POTENTIAL = "no potential was named when the trajectories were imported"
"""Why there are neither energies nor inherent structures, as reports and errors say it."""

_WORDS = re.compile(r"[ A-Za-z0-9_*+./:,=()~^-]+")
"""What a line of LAMMPS's language may hold here: no variables, no quotes, no second line."""

_Line = Annotated[str, Field(min_length=1)]


class PairStyle(BaseModel):
    """A potential in LAMMPS's words, in the user's units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: _Line = Field(description="What follows pair_style, such as lj/cut 2.5")
    coefficients: Annotated[tuple[_Line, ...], Field(min_length=1)] = Field(
        description="What follows each pair_coeff, such as * * 1 1"
    )
    units: str = Field("lj", pattern="^(lj|real|metal)$", description="Unit style")
    sigma: PositiveFloat = Field(1.0, description="Our unit of length in the user's")
    epsilon: PositiveFloat = Field(1.0, description="Our unit of energy in the user's")

    @field_validator("style", "coefficients")
    @classmethod
    def _is_one_line(cls, value: Any) -> Any:
        for line in (value,) if isinstance(value, str) else value:
            if not _WORDS.fullmatch(line):
                raise ValueError(f"must be the words of one LAMMPS command, without variables or quotes; got {line!r}")
        return value


class Material(BaseModel):
    """Species and box of imported records, the same in all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    engines: ClassVar[tuple[str, ...]] = ()
    name: ClassVar[str] = "own"

    names: tuple[str, ...] = Field(min_length=1, max_length=26, description="Species in the files: A, B, C, ...")
    counts: tuple[Annotated[int, Field(ge=2)], ...] = Field(description="Particles of each species, at least two")
    aspect: tuple[PositiveFloat, ...] = Field(
        min_length=2, max_length=3, description="Box edges in units of the first; two or three dimensions"
    )
    radius: tuple[PositiveFloat, ...] = Field(description="Disc radius of each species in pictures")
    shells: tuple[tuple[PositiveFloat, ...], ...] = Field(
        description="Radius of the first shell of species b around species a, row a"
    )
    potential: PairStyle | None = Field(None, description="The potential, where one was named")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        n = len(self.names)
        sizes = {len(self.counts), len(self.radius), len(self.shells), *(len(row) for row in self.shells)}
        if sizes != {n} or len(set(self.names)) < n:
            raise ValueError(f"counts, radius and shells must be of the {n} different species {list(self.names)}")
        if self.aspect[0] != 1:
            raise ValueError(f"aspect must begin with 1, the first edge in units of itself; got {self.aspect[0]}")
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}

    @property
    def dimension(self) -> int:
        """Number of dimensions, 2 or 3."""
        return len(self.aspect)

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self.names)

    @property
    def has_potential(self) -> bool:
        """Whether energies and inherent structures exist."""
        return self.potential is not None

    @property
    def shape(self) -> Float[np.ndarray, " d"]:
        """Box edges in units of the first."""
        return np.array(self.aspect)

    def species(self, n_particles: int) -> Integer[np.ndarray, " n"]:
        """Return the species of the particles, A first.

        Raises:
            ValueError: There are not as many particles as the counts say.
        """
        if n_particles != sum(self.counts):
            raise ValueError(f"n_particles must be {sum(self.counts)}, the sum of the counts; got {n_particles}")
        return np.repeat(np.arange(self.n_species, dtype=np.int32), self.counts)
