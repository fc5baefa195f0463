"""The command that shows what a network sees."""

__all__ = ["COMMANDS"]

from dataclasses import dataclass
from typing import Literal

from vitrify.cli.words import Command, Progressing, Simulating, answer, study_words, workers


def _attribute(words: list[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Attribute(Simulating):
        model: tuple[str, ...] = ()
        """Kinds of networks; all of the study by default."""
        k: int | None = None
        """Record labelled liquid: one that the study trains on, by default its hottest; 0 is of equal energy."""
        input: Literal["thermal", "inherent"] | None = None
        """Configurations shown; inherent by default, where the study has them."""
        n: int | None = None
        """Test runs looked at: a glass and a liquid of each."""

    chosen, given = study_words(words, "attribute", "Show what each particle adds to a network's logit.", Attribute)
    if given.n is not None and given.n < 2:
        raise ValueError(f"--n must be at least 2 runs, so that there is an interval over them; got {given.n}")
    from vitrify.analyses import attribution, attribution_section

    with Progressing() as progress:
        found = attribution.attribute(
            chosen,
            given.out,
            attribution.task(chosen, input=given.input, k=given.k),
            kinds=given.model,
            n_runs=attribution.N_RUNS if given.n is None else given.n,
            n_workers=workers(given),
            progress=progress,
        )
    section = attribution_section.section(found)
    pictures = attribution_section.draw(section, given.out / "attribution")
    lines = [f"- {sentence}" for sentence in section.sentences]
    files = [f"columns: {given.out / entry['folder']}" for entry in found["networks"]]
    files += [f"picture: {path}" for path in pictures]
    answer(given, found, "\n".join([*lines, *files]))


COMMANDS = {
    "attribute": Command(
        _attribute, "STUDY.toml [--model cnn]", "what each particle adds to a network's logit, drawn and as columns"
    ),
}
"""By name."""
