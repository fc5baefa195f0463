"""The lines of a text that somebody else wrote, and the tables of numbers in it, read strictly and fast.

Many lines of a table are read at once; the line at fault is looked for only when there is one. Files may be packed with
gzip or Zstandard.
"""

__all__ = ["Lines", "chunks", "replacing", "rows_of"]

import contextlib
import gzip
import math
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from vitrify.snapshots import BadTrajectoryError, Told, named

_CHUNK = 2**20
"""Bytes of text taken at a time; no line may be longer than eight of these."""

_ZST_CHUNK = 2**12  # what can unpack to no more than some 70 MB


class Lines:
    """The lines of a text file, plain or packed, and the tables in it; every error names the line.

    Args:
        path: The file; ``.gz`` and ``.zst`` are unpacked on the way.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.frame = 1
        self._chunks = chunks(path)
        self._data = b""
        self._ends = np.zeros(0, np.int64)  # where the lines in _data end
        self._next = 0  # of them, the first that is not taken
        self._begin = 0  # where that line begins
        if not self._fill():
            raise self.bad("the file is empty")

    def bad(self, reason: str, *, line: int | None = None) -> BadTrajectoryError:
        """Return the error of a line, by default the one taken last."""
        number = self.number if line is None else line
        return BadTrajectoryError(f"{self.path}, line {max(number, 1)} (frame {self.frame}): {reason}")

    def peek(self) -> str | None:
        """Return the next line without taking it, or ``None`` at the end of the file."""
        if self._next == len(self._ends) and not self._fill():
            return None
        text = self._data[self._begin : self._ends[self._next]]
        try:
            return text.decode().rstrip("\r")
        except UnicodeDecodeError as error:
            raise self.bad("this is no text", line=self.number + 1) from error

    def take(self, wanted: str) -> str:
        """Return the next line.

        Args:
            wanted: What it should hold, for the error where the file has ended.
        """
        line = self.peek()
        if line is None:
            raise self.bad(f"the file ends where {wanted} should follow: it is cut short")
        self._advance(1)
        return line

    def skip_blank(self) -> None:
        """Take the lines that hold nothing."""
        while (line := self.peek()) is not None and not line.strip():
            self._advance(1)

    def table(self, n: int, names: Sequence[str], *, words: Sequence[int] = ()) -> tuple[np.ndarray, list[list[str]]]:
        """Return ``n`` lines of numbers, one row each, and the columns that hold words.

        Args:
            n: Number of lines.
            names: What the columns of a line are called.
            words: Which of them are words; their numbers are 0.
        """
        tables, texts, missing = [], [], n
        while missing:
            if self._next == len(self._ends) and not self._fill():
                raise self.bad(f"the file ends after {n - missing} of {n} particles: it is cut short")
            m = min(missing, len(self._ends) - self._next)
            text = self._data[self._begin : self._ends[self._next + m - 1] + 1]
            if words:
                text, found = self._without_words(text, names, words)
                texts.append(found)
            tables.append(self._numbers(text, m, names))
            self._advance(m)
            missing -= m
        columns = [[word for part in texts for word in part[place]] for place in range(len(words))]
        return (tables[0] if len(tables) == 1 else np.concatenate(tables)), columns

    def numbers(self, names: Sequence[str]) -> list[float]:
        """Return the next line as numbers, as many as it should have names."""
        words = self.take(" ".join(names)).encode().split()
        if len(words) != len(names):
            raise self.bad(f"expected {len(names)} columns ({' '.join(names)}); got {len(words)}")
        values = [_number(word) for word in words]
        for name, word, value in zip(names, words, values, strict=True):
            if not math.isfinite(value):
                raise self.bad(f"{name} must be a finite number; got {word[:40].decode(errors='replace')!r}")
        return values

    def whole(self, name: str) -> int:
        """Return the next line as a whole number."""
        word = self.take(name).strip()
        if not re.fullmatch(r"[+-]?\d{1,18}", word, re.ASCII):
            raise self.bad(f"{name} must be a whole number; got {word[:40]!r}")
        return int(word)

    def integers(self, name: str, column: np.ndarray) -> np.ndarray:
        """Return a column of the table taken last as whole numbers."""
        rounded: np.ndarray = np.rint(column)
        wrong = np.flatnonzero((rounded != column) | (np.abs(column) > 2**53))
        if wrong.size:
            line = self.number - len(column) + 1 + int(wrong[0])
            raise self.bad(f"column {name} must be a whole number; got {column[wrong[0]]:g}", line=line)
        return rounded.astype(np.int64)

    def species(self, column: np.ndarray, known: tuple[str, ...], told: Told) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the names of the species, and which of them each particle of the table taken last is."""
        values, which = _distinct(column)
        present = [str(value) for value in values]
        try:
            names = named(present, known, told)
        except ValueError as error:
            unknown = next(place for place, name in enumerate(present) if name not in told.species)
            line = self.number - len(column) + 1 + int((which == unknown).argmax())
            raise self.bad(str(error), line=line) from error
        return names, np.array([names.index(name) for name in present])[which]

    @contextlib.contextmanager
    def about(self, line: int) -> Iterator[None]:
        """Raise what is refused in here as the error of a line."""
        try:
            yield
        except BadTrajectoryError:
            raise
        except ValueError as error:
            raise self.bad(str(error), line=line) from error

    def _advance(self, m: int) -> None:
        self._next += m
        self.number += m
        self._begin = int(self._ends[self._next - 1]) + 1

    def _fill(self) -> bool:
        """Take more of the file, until there is a line; return whether there is one."""
        parts = [self._data[self._begin :]]
        size = len(parts[0])
        for chunk in self._chunks:
            parts.append(chunk)
            size += len(chunk)
            if b"\n" in chunk:
                break
            if size > 8 * _CHUNK:
                raise self.bad("a line is millions of characters long: this is no text", line=self.number + 1)
        self._data, self._begin, self._next = b"".join(parts), 0, 0
        self._ends = np.flatnonzero(np.frombuffer(self._data, np.uint8) == ord("\n"))
        if not len(self._ends) and self._data:
            if b"\0" in self._data:
                raise self.bad("this is no text", line=self.number + 1)
            raise self.bad(
                "the last line does not end, so the file may be cut short in a number; if it is whole, add a newline",
                line=self.number + 1,
            )
        return bool(len(self._ends))

    def _without_words(self, text: bytes, names: Sequence[str], words: Sequence[int]) -> tuple[bytes, list[list[str]]]:
        """Return the text with 0 in place of words, and the words of every such column."""
        rows = [line.split() for line in text.splitlines()]
        for place, row in enumerate(rows):
            if len(row) != len(names):
                raise self._bad_count(place, len(row), names)
        try:
            found = [[row[column].decode() for row in rows] for column in words]
        except UnicodeDecodeError as error:
            raise self.bad("this is no text", line=self.number + 1) from error
        for row in rows:
            for column in words:
                row[column] = b"0"
        return b"\n".join(b" ".join(row) for row in rows) + b"\n", found

    def _numbers(self, text: bytes, n: int, names: Sequence[str]) -> np.ndarray:
        """Return the numbers of a text of ``n`` lines, or raise the error of the first that is not as it should be."""
        values = _plain_decimals(text, n, len(names))
        if values is None:
            values = _any_numbers(text, n, len(names))
        if values is None:
            raise self._diagnosis(text, names)
        return values

    def _diagnosis(self, text: bytes, names: Sequence[str]) -> BadTrajectoryError:
        """Return the error of the first line that is not a row of numbers."""
        for place, line in enumerate(text.splitlines()):
            row = line.split()
            if len(row) != len(names):
                return self._bad_count(place, len(row), names)
            for name, word in zip(names, row, strict=True):
                if not math.isfinite(_number(word)):
                    shown = word[:40].decode(errors="replace")
                    return self.bad(
                        f"column {name} must be a finite number; got {shown!r}", line=self.number + 1 + place
                    )
        return self.bad("these are not rows of numbers", line=self.number + 1)

    def _bad_count(self, place: int, n: int, names: Sequence[str]) -> BadTrajectoryError:
        return self.bad(f"expected {len(names)} columns ({' '.join(names)}); got {n}", line=self.number + 1 + place)


def _distinct(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted values of a column and which of them each entry is; at once for small whole numbers."""
    if column.dtype.kind == "i" and column.min() >= 0 and column.max() < 1000:
        there = np.bincount(column) > 0
        return np.flatnonzero(there), (np.cumsum(there) - 1)[column]
    values, which = np.unique(column, return_inverse=True)
    return values, which


def _any_numbers(text: bytes, n: int, n_columns: int) -> np.ndarray | None:
    """Return ``n`` lines of finite numbers, or ``None`` if they are anything else.

    Every line gets a NaN at its end. They come out in one column if and only if every line has its columns.
    """
    marked = text.replace(b"\n", b" nan\n")
    blank = np.frombuffer(marked, np.uint8) <= ord(" ")
    n_words = int(np.count_nonzero(blank[:-1] > blank[1:])) + (not blank[0])
    if n_words != n * (n_columns + 1):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # what a word was to NumPy before 2.3
        try:
            values = np.fromstring(marked, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    if values.size != n_words:
        return None
    rows = values.reshape(n, n_columns + 1)
    good = np.isnan(rows[:, -1]).all() and np.isfinite(rows[:, :-1]).all()
    return rows[:, :-1] if good else None


_BLANK, _DIGIT, _DOT, _MINUS, _OTHER = range(5)
_KIND = np.full(256, _OTHER, np.uint8)
_KIND[np.frombuffer(b" \t\r\n", np.uint8)] = _BLANK
_KIND[np.frombuffer(b"0123456789", np.uint8)] = _DIGIT
_KIND[ord(".")], _KIND[ord("-")] = _DOT, _MINUS

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _number(word: bytes) -> float:
    """Return a word as a number; what is none is NaN."""
    return float(word) if _NUMBER.fullmatch(word) else math.nan


def _plain_decimals(text: bytes, n: int, n_columns: int) -> np.ndarray | None:
    """Return ``n`` lines of numbers, nearly all of them like -12.345; ``None`` if they are others, or none.

    The digits before and behind the points are made whole numbers for all words at once. A mantissa below 2^53 divided
    by a power of ten is rounded once, so that the result is the double that :func:`float` gives. Few words that are
    not like that are handed to :func:`float`.
    """
    padded = b"\n" + text + b"\n" * 8
    characters = np.frombuffer(padded, np.uint8)
    kind = _KIND[characters]
    edges = np.flatnonzero(np.diff(kind == _BLANK)) + 1
    begin, end = edges[::2], edges[1::2]
    ends = np.flatnonzero(characters[1:-8] == ord("\n")) + 1
    if begin.size != n * n_columns:
        return None
    table = begin.reshape(n, n_columns)
    if (table[:, -1] > ends).any() or (table[1:, 0] < ends[:-1]).any():
        return None
    signed = kind[begin] == _MINUS
    dots = np.flatnonzero(kind == _DOT)
    owner = np.searchsorted(begin, dots, side="right") - 1
    point = end.copy()
    point[owner] = dots
    whole, part = point - begin - signed, end[owner] - dots - 1
    odd = (whole < 1) | (whole > 8)
    odd[owner[(part < 1) | (part > 8)]] = True
    odd[owner[1:][owner[1:] == owner[:-1]]] = True
    strange = np.flatnonzero(kind >= _MINUS)
    if strange.size:
        whose = np.searchsorted(begin, strange, side="right") - 1
        odd[whose[(kind[strange] == _OTHER) | (strange != begin[whose])]] = True
    if 8 * np.count_nonzero(odd) > odd.size:
        return None
    mantissa, power = _eight_digits(padded, begin + signed, whole), np.ones(begin.size, np.uint64)
    power[owner] = _TENS[np.clip(part, 0, 8)]
    mantissa *= power
    mantissa[owner] += _eight_digits(padded, dots + 1, part)
    odd |= mantissa > 2**53
    values = np.where(signed, -1.0, 1.0) * mantissa / power
    for place in np.flatnonzero(odd).tolist():
        values[place] = _number(padded[begin[place] : end[place]])
    rows: np.ndarray = values.reshape(n, n_columns)
    return rows if np.isfinite(values).all() else None


_TENS = 10 ** np.arange(9, dtype=np.uint64)


def _eight_digits(text: bytes, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the whole numbers of one to eight digits that begin at some places, all digits in three steps.

    References:
        Lemire 2021, doi:10.1002/spe.2984
    """
    u = np.uint64
    at_every_place: np.ndarray = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    pairs = (at_every_place[begin] & u(0x0F0F0F0F0F0F0F0F)) << (8 * (8 - np.clip(length, 1, 8))).astype(u)
    pairs = pairs * u(10) + (pairs >> u(8))
    low, high = pairs & u(0x000000FF000000FF), (pairs >> u(16)) & u(0x000000FF000000FF)
    return np.asarray((low * u(0x000F424000000064) + high * u(0x0000271000000001)) >> u(32))


def rows_of(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Return the lines of a table, numbers written so that the same ones are read again.

    Raises:
        ValueError: A word, or the name of a column, is empty or holds a blank.
    """
    texts = []
    for name, column in columns.items():
        words = (column.astype(int) if column.dtype.kind == "b" else column).tolist()
        is_text = column.dtype.kind not in "biuf"
        if is_text or re.search(r"\s|^$", name):
            for word in (name, *(set(words) if is_text else ())):
                if not re.fullmatch(r"\S+", str(word)):
                    raise ValueError(
                        f"column {name!r}: neither its name nor a word in it may hold a blank; got {word!r}"
                    )
        texts.append(words if is_text else map(repr, words))
    return list(map(" ".join, zip(*texts, strict=True)))


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, plain, ``.gz`` or ``.zst``, a piece at a time.

    Raises:
        BadTrajectoryError: The packed file is damaged.
        OSError: The file cannot be read.
    """
    packing = path.suffix.lower()
    if packing == ".zst":
        yield from _unpacked_zst(path)
        return
    opened: Any = gzip.open if packing == ".gz" else open
    with opened(path, "rb") as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise BadTrajectoryError(f"{path}: the packed file is damaged or cut short ({error})") from error
            if not chunk:
                return
            yield chunk


def _unpacked_zst(path: Path) -> Iterator[bytes]:
    zstandard = _zstandard(path)
    unpacker: Any = None
    with path.open("rb") as file:
        done = True
        while packed := file.read(_ZST_CHUNK):
            while packed:
                if done:
                    unpacker, done = zstandard.ZstdDecompressor().decompressobj(), False
                try:
                    chunk = unpacker.decompress(packed)
                except zstandard.ZstdError as error:
                    raise BadTrajectoryError(f"{path}: the packed file is damaged ({error})") from error
                done = unpacker.eof
                packed = unpacker.unused_data if done else b""
                if chunk:
                    yield chunk
    if not done:
        raise BadTrajectoryError(f"{path}: the packed file is cut short")


def _zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise ValueError(f"{path}: reading and writing .zst needs a package: pip install zstandard") from error
    return zstandard


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write beside ``path``, packed as its suffix says, that takes its place when all went well."""
    beside = path.with_name(f".{path.name}.part")
    try:
        with contextlib.ExitStack() as stack:
            file: Any = stack.enter_context(beside.open("wb"))
            if path.suffix.lower() == ".gz":
                file = stack.enter_context(gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0))
            elif path.suffix.lower() == ".zst":
                file = stack.enter_context(_zstandard(path).ZstdCompressor().stream_writer(file))
            yield file
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
