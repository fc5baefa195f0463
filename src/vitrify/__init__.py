"""Glass or liquid, from particle positions alone: cool, draw, learn, locate, report.

The package runs nothing on import; see :mod:`vitrify.study` for the whole pipeline and the
``vitrify`` command for the same from a shell.
"""

from importlib.metadata import version

__version__ = version("vitrify")
