"""An entry for the arena beside an exported model: scores from a file, or from the model and a protocol's clips."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from plastsearch.errors import PlastsearchError
from plastsearch.export.arena import Submission, answers_in, arena_eer, write_arena
from plastsearch.scores.files import Scores, joined, read_scores
from plastsearch.scores.keys import Key, read_key
from plastsearch.use.inputs import inputs, of_protocol
from plastsearch.use.model import Model
from plastsearch.use.scoring import scores_of


@dataclass(frozen=True)
class Entry:
    """What was asked for, whole."""

    data_set: str
    repository: str
    scores: Path | None
    protocol: Path | None
    audio: Path | None
    answers: Mapping[str, Any] = field(default_factory=dict)  # of a person, for the sheet

    @classmethod
    def asked(
        cls,
        data_set: str | None,
        repository: str | None,
        scores: Path | None,
        protocol: Path | None,
        audio: Path | None,
        answers: Path | None = None,
    ) -> Self | None:
        """None where no entry is wanted; what is lacking is said before anything is written."""
        if data_set is None:
            lone = [
                name
                for name, value in (("--repository", repository), ("--scores", scores), ("--sheet", answers))
                if value is not None
            ]
            if lone:
                raise PlastsearchError(f"{lone[0]} serves an entry for the arena: say for which data set, with --arena")
            return None
        if repository is None:
            raise PlastsearchError(
                "--arena: say where the model will lie on the hub, with --repository organisation/name"
            )
        if scores is None and (protocol is None or audio is None):
            raise PlastsearchError("--arena: give the data set's scores (--scores), or its --protocol and --audio")
        return cls(data_set, repository, scores, protocol, audio, {} if answers is None else answers_in(answers))


def write_entry(model: Model, folder: Path, entry: Entry) -> list[str]:
    """The two files below the exported folder; sentences on them."""
    key = None if entry.protocol is None else read_key(entry.protocol)
    scores = _heard(model, entry, key) if entry.scores is None else read_scores(entry.scores)
    key = key or scores.key
    ids, values, rate = scores.ids, scores.values, None
    if key is not None:
        ids, values = key.ids, joined(scores, key)
        rate = arena_eer(values, key.is_bona)
    wanted = Submission(
        name=model.facts.name, data_set=entry.data_set, repository=entry.repository,
        description=f"{model.facts.network['model_type']} found by plastsearch ({model.facts.found.get('trial_id')})",
        eer=rate, parameters=sum(parameter.numel() for parameter in model.detector.parameters()), answers=entry.answers,
    )  # fmt: skip
    paths = write_arena(folder, wanted, ids, values)
    measured = "" if rate is None else f", EER {rate:.2f} %"
    return [f"arena: {paths[0]} ({len(ids):,} clips{measured}); {paths[1]} says what to do next"]


def _heard(model: Model, entry: Entry, key: Key | None) -> Scores:
    """Every clip of the protocol, scored as `score` does: the mean over its windows."""
    assert key is not None
    assert entry.protocol is not None
    named = of_protocol(inputs([str(entry.audio)]), key)
    return Scores(entry.protocol, key.ids, tuple(range(1, len(key.ids) + 1)), scores_of(model, named, key))
