"""What a TrainProVe audit finds, as frozen records. Their JSON is kept in the evidence."""

from __future__ import annotations

from burnish.prove.findings import Findings, Interval, Power, Record, needed_in_words


class Accuracies(Record):
    """The suspect's accuracy on the validation pictures."""

    mine: float
    """On my generator's."""
    references: float
    """On those of the reference sources."""


class GrubbsRule(Record):
    """A published rule on my generator's pictures."""

    statistic: float
    """Grubbs' statistic of the suspect."""
    critical: float
    """What it must exceed to be an outlier."""
    rejected: bool
    """Whether it is one: then the rule says "not from my generator"."""


class Scores(Record):
    """Scores to draw."""

    suspect: float
    """Of the suspect."""
    shadows: tuple[float, ...]
    """Of each shadow, from a fit without it."""
    source: tuple[int, ...]
    """Of each shadow; 0 is my generator."""


class Rate(Record):
    """How often the procedure convicts shadows that play the suspect."""

    only_if_set = frozenset({"level"})

    value: float
    """The share convicted."""
    interval: Interval
    """95 % interval of it."""
    level: float | None = None
    """The level used, where it is not alpha: the least that one source less can give."""
    models: int
    """How many shadows played the suspect."""


class FractionInterval(Record):
    """95 % interval of the share of my pictures in the suspect's training set; none where it is like no mixture."""

    low: float | None
    """Lower end."""
    high: float | None
    """Upper end."""


class ProvenanceFindings(Findings):
    """All findings of a TrainProVe audit."""

    queries: int
    """Pictures that the suspect was asked about."""
    shadows: dict[str, int]
    """How many shadows each source has."""
    accuracy: Accuracies
    """The suspect's."""
    published: dict[str, GrubbsRule | None]
    """The published rules by name; none where one cannot be applied."""
    scores: Scores
    """Of the suspect and the shadows."""
    novelty_p: float
    """Small: the suspect is unlike any shadow."""
    shares: dict[str, float]
    """By innocent source, the share of its shadows that look at least as guilty as the suspect."""
    sources: int
    """How many innocent sources."""
    sources_needed: int
    """How many the level needs."""
    power: Rate | None
    """My own shadows convicted; none where there are too few, and for a published rule."""
    false_accusation: Rate | None
    """Innocent shadows convicted with their source hidden; none as for the power."""
    fraction: FractionInterval | None
    """None where no mixtures were trained."""

    @property
    def power_reached(self) -> Power:
        """The power in the form that every report shows."""
        wanted = self.sources_needed if self.sources_needed > self.sources else None
        needed = needed_in_words({"innocent sources": wanted})
        if self.power is None:
            return Power(needed=needed)
        return Power(reached=self.power.value, needed=needed, interval=self.power.interval, models=self.power.models)
