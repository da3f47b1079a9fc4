"""What an ownership audit finds, as frozen records. Their JSON is kept in the evidence."""

from __future__ import annotations

from burnish.prove.evasion import Evasion
from burnish.prove.findings import Findings, Interval, Power, Record, needed_in_words


class ImageCounts(Record):
    """How many images the audit stands on."""

    public: int
    """Images that the accusation is about."""
    private: int
    """Images that nobody saw."""


class Split(Record):
    """The check whether public and private images can be told apart by looks alone."""

    only_if_set = frozenset({"draws"})

    auc: float
    """Area under the ROC curve of the classifier; .5: no difference seen."""
    p: float
    """Of that area, by permuting the labels."""
    draws: int | None = None
    """How many permutations."""
    alpha: float
    """The level of the check."""


class Outlook(Record):
    """What difference one statistic's test can find, and how many images it needs. A normal approximation."""

    standard_error: float
    """Bootstrap standard error of the suspect's effect."""
    detectable: float
    """The effect that is found with probability .8."""
    expected: float | None
    """Mean effect of the guilty shadows beyond the innocent ones; none without guilty shadows."""
    images_needed: int | None
    """Images of each set with which the expected effect is found with probability .8."""


class OwnershipPower(Record):
    """How many of the shadows trained on the public images the suspect's very test accuses."""

    wanted: float
    """The share aimed at."""
    reached: float | None
    """The share found; none without guilty shadows."""
    interval: Interval | None
    """95 % interval of it (Clopper-Pearson)."""
    found: int
    """Guilty shadows found."""
    models: int
    """Guilty shadows in all."""
    images_needed: int | None
    """Images of each set that would be needed, where the share is too small."""
    shadows_needed: int | None
    """Guilty shadows needed to show the share, where it is large enough and they are too few."""
    by: dict[str, Outlook]
    """The outlook of each statistic."""


class Effects(Record):
    """Public-private difference of every model, by statistic (`unary`, `binary`), the mean over draws."""

    suspect: dict[str, float]
    """Of the suspect."""
    shadows: tuple[dict[str, float], ...]
    """Of each innocent shadow."""
    guilty: tuple[dict[str, float], ...]
    """Of each shadow trained on the public images."""


class OwnershipFindings(Findings):
    """All findings of an ownership audit."""

    only_if_set = Findings.only_if_set | {"effects", "evasion"}

    power: OwnershipPower | None
    """None for the published test, whose power was not measured."""
    images: ImageCounts
    """How many images of each set."""
    shadows: int
    """How many innocent shadows."""
    guilty_shadows: int
    """How many shadows trained on the public images."""
    split: Split | None
    """The split check; none where it is off."""
    effects: Effects | None = None
    """None for the published test."""
    evasion: Evasion | None = None
    """How the suspect answers; none in evidence from before this was looked at."""

    @property
    def power_reached(self) -> Power:
        """The power in the form that every report shows."""
        power = self.power
        if power is None:
            return Power()
        needed = {"images of each set": power.images_needed, "shadow models": power.shadows_needed}
        return Power(
            reached=power.reached,
            wanted=power.wanted,
            needed=needed_in_words(needed),
            interval=power.interval,
            models=power.models,
        )
