"""The statistics of a comparison: each measure with the paired interval of its difference, attacks, unlike clips."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from plastsearch.analysis.paired import REPLICATES, Difference, Finding, Pair, difference, holm
from plastsearch.compare.arms import UNKNOWN, Arm, Clips
from plastsearch.scores.measures import MEASURES, Measure
from plastsearch.scores.metrics import Floats, eer
from plastsearch.scores.summary import Summary, summary

UNLIKE = 20  # clips that are listed


@dataclass(frozen=True)
class Versus:
    """One arm against another by one measure; p corrected over all pairs of that measure."""

    measure: Measure
    one: Arm
    other: Arm
    answer: Difference
    p_corrected: float

    @property
    def finding(self) -> Finding:
        """Whether the one is better than the other, worse, or neither is shown."""
        return self.answer.finding(self.p_corrected)


@dataclass(frozen=True)
class UnlikeClip:
    """A clip on which arms differ: where it stands in each, in spreads of the arm from its threshold."""

    clip: str
    attack: str
    speaker: str
    is_bona: bool
    stands: tuple[float, ...]  # for each arm; above 0 it is taken for bona fide


@dataclass(frozen=True)
class Comparison:
    """Everything that is printed and drawn."""

    clips: Clips
    arms: tuple[Arm, ...]
    summaries: tuple[Summary, ...]
    versus: tuple[Versus, ...]
    attacks: tuple[str, ...]
    per_attack: Floats  # [attacks, arms] EER in percent
    unlike: tuple[UnlikeClip, ...]

    def plain(self) -> dict[str, object]:
        """As JSON says it."""
        return {
            "clips": {
                "source": self.clips.source, "bona_fide": int(self.clips.is_bona.sum()),
                "spoofed": int((~self.clips.is_bona).sum()),
            },
            "arms": {arm.name: one.plain() for arm, one in zip(self.arms, self.summaries, strict=True)},
            "differences": [
                {
                    "measure": one.measure.name, "one": one.one.name, "other": one.other.name, **asdict(one.answer),
                    "p_corrected": one.p_corrected, "finding": one.finding,
                }
                for one in self.versus
            ],
            "per_attack": {
                attack: dict(zip((arm.name for arm in self.arms), row.tolist(), strict=True))
                for attack, row in zip(self.attacks, self.per_attack, strict=True)
            },
            "unlike": [asdict(one) for one in self.unlike],
        }  # fmt: skip


def compare(
    clips: Clips, arms: Sequence[Arm], *, all_pairs: bool = False, replicates: int = REPLICATES, seed: int = 0
) -> Comparison:
    """Every arm against the first, or each against each."""
    pairs = list(combinations(arms, 2)) if all_pairs else [(arms[0], arm) for arm in arms[1:]]
    versus: list[Versus] = []
    for measure in MEASURES:
        # The later minus the earlier: below zero, the later is better than what it is held against.
        answers = [
            difference([Pair(one.scores, base.scores)], clips.is_bona, clips.speakers, seed, replicates, measure)
            for base, one in pairs
        ]
        corrected = holm([answer.p for answer in answers])
        versus += [
            Versus(measure, one, base, answer, p)
            for (base, one), answer, p in zip(pairs, answers, corrected, strict=True)
        ]
    named = tuple(sorted(set(clips.attacks[~clips.is_bona].tolist()) - {UNKNOWN}))
    return Comparison(
        clips=clips,
        arms=tuple(arms),
        summaries=tuple(
            summary(
                arm.scores, clips.is_bona, list(clips.attacks), list(clips.speakers), seed=seed, replicates=replicates
            )
            for arm in arms
        ),
        versus=tuple(versus),
        attacks=named,
        per_attack=np.array([[_of_attack(clips, arm, attack) for arm in arms] for attack in named]).reshape(
            len(named), len(arms)
        ),
        unlike=_unlike(clips, arms),
    )


def _of_attack(clips: Clips, arm: Arm, attack: str) -> float:
    """EER of one attack against all bona fide clips."""
    return eer(arm.scores[clips.is_bona], arm.scores[(~clips.is_bona) & (clips.attacks == attack)])[0]


def _unlike(clips: Clips, arms: Sequence[Arm]) -> tuple[UnlikeClip, ...]:
    """Clips that arms judge least alike, each score told in the arm's own spreads from its own threshold."""
    stands = np.array([(arm.scores - arm.threshold) / (_spread(arm, clips) or 1.0) for arm in arms])
    gap = stands.max(axis=0) - stands.min(axis=0)
    order = np.argsort(-gap, kind="stable")[:UNLIKE]
    return tuple(
        UnlikeClip(
            clips.ids[at], str(clips.attacks[at]), str(clips.speakers[at]), bool(clips.is_bona[at]),
            tuple(float(value) for value in stands[:, at]),
        )
        for at in order.tolist() if gap[at] > 0
    )  # fmt: skip


def _spread(arm: Arm, clips: Clips) -> float:
    """The standard deviation within the two classes: an arm that tells them apart is not wide by that."""
    return float(np.sqrt((arm.scores[clips.is_bona].var() + arm.scores[~clips.is_bona].var()) / 2))
