"""Feed a text reader whatever atheris invents: frames, or the declared error, and nothing else.

python tests/fuzz/readers.py dump -max_total_time=600, or data, or xyz; needs atheris. Limits of time and memory are
libFuzzer's: -timeout=10 -rss_limit_mb=1024 make a hang or a blow-up a failure too.
"""

import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["vitrify"]):
    from vitrify.snapshots import BadTrajectoryError, Told
    from vitrify.trajectories import read

SEEDS = {
    "dump": (
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 4\n0 5\n0 6\n"
        "ITEM: ATOMS id type xs ys zs ix iy iz\n1 1 0.1 0.2 0.3 0 0 1\n2 2 0.4 0.5 0.6 0 -1 0\n",
        "ITEM: UNITS\nlj\nITEM: TIME\n0.5\nITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS xy xz yz "
        "pp pp pp\n0 4 0\n0 5 0\n0 6 0\nITEM: ATOMS id element xu yu zu vx\n1 Si 1 2 3 4\n",
    ),
    "data": (
        "LAMMPS data\n\n2 atoms\n2 atom types\n\n0 4 xlo xhi\n0 5 ylo yhi\n0 6 zlo zhi\n\nMasses\n\n1 1.0\n2 2.0\n\n"
        "Atoms # atomic\n\n1 1 1.0 2.0 3.0 0 0 1\n2 2 2.0 3.0 4.0\n\nVelocities\n\n1 0 0 1\n2 1 0 0\n",
    ),
    "xyz": (
        '2\nLattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3:charge:R:1 energy=-1.5 pbc="T T T"\n'
        "A 1 2 3 0.5\nB 2 3 4 -0.5\n",
        "2\nioformat=2 dt=0.005 boxLengths=4,5,6 numTypes=2 mass=1,1 columns=type,x,y,z,imx,imy,imz\n0 1 2 3 0 0 0\n"
        "1 2 3 4 0 0 1\n",
        "2\nplain\nA 1 2 3\nB 2 3 4\n",
    ),
}


def main() -> None:
    form, options = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        path, corpus = Path(folder) / f"fuzz.{form}", Path(folder) / "corpus"
        corpus.mkdir()
        for number, text in enumerate(SEEDS[form]):
            (corpus / str(number)).write_text(text)

        def once(content: bytes) -> None:
            path.write_bytes(content)
            try:
                for frame in read(path, Told(cell=(4, 5, 6)), form=form):
                    assert np.isfinite(frame.configuration.positions).all()
            except BadTrajectoryError as error:
                if str(path) not in str(error):
                    raise RuntimeError("the error names no file") from error

        atheris.Setup([sys.argv[0], str(corpus), *options], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
