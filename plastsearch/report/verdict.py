"""Whether growth paid, said plainly: the best trial that grew, and what its differences from the controls amount to."""

from plastsearch.analysis.comparing import Comparison
from plastsearch.analysis.results import Results
from plastsearch.documents import Table
from plastsearch.spec.methods import CONTROLS, METHODS, YARDSTICK

COLUMNS = (
    "trial", "against", "split", "seeds", "EER %", "its EER %", "difference", "95 % interval", "p", "p, Holm",
    "finding",
)  # fmt: skip
SPLITS = {"search_dev": "dev", "evaluation": "eval"}
CAUTION = (
    "{label} was picked as the best of {count} {by}on the very clips that score it, so its dev numbers flatter it"
    "{less}; the finalists' evaluation scores are the fair comparison."
)


def verdict(results: Results) -> list[str]:
    """Sentences to be read before the front is believed."""
    rows = [row for row in results.plotted if row.record.role == "search" and METHODS[row.config.method].grows]
    best = results.winner
    if best is None:
        lacks = "keeps within the constraints" if rows else "has finished with every objective"
        return [f"No trial that grows a network {lacks}, so nothing can be said about growth."]
    searched = [one for one in results.comparisons if one.runs == "trials"]
    sentences = [_sentence(results, one) for one in searched]
    if not any(one.control == YARDSTICK for one in searched):
        sentences.insert(0, f"The sweep has no {CONTROLS[YARDSTICK].label}, so whether growth helps cannot be told.")
    count = sum(bool(row.allowed) for row in rows)
    if count > 1:  # the best of many is the luckiest, too; of a single trial that cannot be said
        by = "by means over seeds " if results.repeated else ""
        less = f", less so than a single run would, since it ran with {len(best.runs)} seeds" if best.again else ""
        sentences.append(_capital(CAUTION.format(label=best.label, count=count, by=by, less=less)))
    return sentences + [_sentence(results, one) for one in results.comparisons if one.runs == "finalists"]


def table(results: Results) -> Table:
    """The same comparisons in numbers."""
    rows = tuple(_row(results, one) for one in results.comparisons if one.answer is not None)
    return Table(COLUMNS, rows, frozenset({"trial", "against", "split", "finding"}))


def _row(results: Results, one: Comparison) -> tuple[str, ...]:
    found = one.answer
    assert found is not None
    assert one.p_corrected is not None
    interval = f"[{found.low:+.2f}, {found.high:+.2f}]"
    return (
        _label(results, one), CONTROLS[one.control].label, SPLITS[one.split], _seeds(one, found.seeds),
        f"{found.one:.2f}", f"{found.other:.2f}", f"{found.points:+.2f}", interval, _p(found.p), _p(one.p_corrected),
        str(one.finding),
    )  # fmt: skip


def _sentence(results: Results, one: Comparison) -> str:
    label = _label(results, one)
    called = CONTROLS[one.control].called
    where = "On the evaluation split, " if one.split == "evaluation" else ""
    on = "" if where else " on dev EER" + (" with fresh seeds" if one.runs == "finalists" else "")
    found = one.answer
    if found is None or one.p_corrected is None:
        return _capital(f"{where}{label} cannot be compared with {called}{on}: {one.missing}.")
    says = {
        "better": f"{label} is better than {called}{on}",
        "worse": f"{label} is worse than {called}{on}",
        "no difference shown": f"no difference shown between {label} and {called}{on}",
    }[one.finding or "no difference shown"]
    corrected = f" after Holm's correction over {one.family}" if one.family > 1 else ""
    clips = f"{found.clips:,} clips" + (f" of {found.speakers:,} speakers" if found.speakers else "")
    return _capital(
        f"{where}{says}: {found.one:.2f} against {found.other:.2f} %, {found.points:+.2f} points "
        f"[{found.low:+.2f}, {found.high:+.2f}], p {_p(one.p_corrected, '= ')}{corrected} "
        f"({_seeds(one, found.seeds)} {'seed' if one.asked == 1 else 'seeds'}, {clips})."
    )


def _label(results: Results, one: Comparison) -> str:
    return next(row.label for row in results.rows if row.number == one.subject)


def _seeds(one: Comparison, counted: int) -> str:
    return str(counted) if counted == one.asked else f"{counted} of {one.asked}"


def _p(value: float, equals: str = "") -> str:
    return f"{equals}{value:.3f}" if value >= 0.001 else "< 0.001"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
