"""A methods paragraph that an author can paste: every clause is read off the journal, and what it lacks is said so."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import JsonValue, ValidationError

from plastsearch.analysis.columns import device
from plastsearch.analysis.figure import title
from plastsearch.analysis.paired import REPLICATES
from plastsearch.analysis.results import Results
from plastsearch.documents import Block, Heading, Text
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig
from plastsearch.spec.methods import CONTROLS
from plastsearch.tracking.events import Opened, SessionBegun
from plastsearch.words import duration

HEADING = "Methods, to paste"
NOTE = (
    "Written from the journal alone. What stands in [brackets] is not in it, and is yours to add; numbers of clips are "
    "those of the corpus and are not in it either."
)


def methods(results: Results) -> list[Block]:
    """The section of the report."""
    return [Heading(HEADING), Text(paragraph(results)), Text(NOTE)]


def paragraph(results: Results) -> str:
    """Data, space, budget, seeds, statistics, hardware, versions."""
    parts = (_merged, _data, _network, _search, _budget, _controls, _seeds, _statistics, _machines, _versions)
    return " ".join(said for part in parts if (said := part(results)))


def _merged(results: Results) -> str:
    head = next((event for event in results.events if isinstance(event, Opened)), None)
    if head is None or not head.merged:
        return ""
    apart = f"; {len(results.apart)} runs on other clips than the first one's are not in what follows"
    return (
        f"Results were joined from {len(head.merged)} sweeps ({', '.join(one.label for one in head.merged)})"
        f"{apart if results.apart else ''}."
    )


def _base(results: Results) -> Mapping[str, JsonValue]:
    base = results.spec.get("base")
    return base if isinstance(base, dict) else {}


def _data(results: Results) -> str:
    config = data_of(results)
    if config is None:
        return "[What the journal says of the data is not understood by this version.]"
    variant = f" ({config.variant})" if config.variant else ""
    cap = f", capped at {config.clips:,} training clips" if config.clips is not None else ""
    dev = {
        "dev": "the corpus's development set",
        "held_out_attacks": f"attacks held out from training ({', '.join(config.search_dev.attacks)})",
        "second_corpus": f"a second corpus, {config.search_dev.corpus}",
    }[config.search_dev.policy]
    length = f"{config.length_samples / config.rate_hz:.3g} s at {config.rate_hz / 1000:g} kHz"
    changes = f", augmented by {', '.join(config.augment)}" if config.augment else ""
    return (
        f"Detectors were trained on {config.corpus}{variant}{cap}{changes}, with clips of {length}; the search scored "
        f"configurations on {dev} alone."
    )


def data_of(results: Results) -> DataConfig | None:
    """The data that the sweep asked for, as far as this version understands it."""
    try:
        return DataConfig.model_validate(_base(results).get("data") or {})
    except ValidationError:
        return None


def _network(results: Results) -> str:
    config = _config(results)
    if config is None:
        return "[The network is not in the journal.]"
    start = f", starting from {config.model.from_}" if config.model.from_ else ""
    front_end = f" on {config.model.front_end} features" if config.model.front_end else ""
    return f"The network was {config.model.name} (preset {config.model.preset}){front_end}{start}{_judged(config)}."


def _judged(config: TrialConfig) -> str:
    """The head, and how it and the encoder were trained apart, where that is not the usual."""
    model, train = config.model, config.train
    found = f", under a {model.head} head" if model.head != "linear" else ""
    found += ", on a weighted sum of all layers" if model.layers_in != "last" else ""
    found += f", the encoder at {train.encoder_lr_ratio:g} times the head's rate" if train.encoder_lr_ratio != 1 else ""
    found += f", rates falling by {train.layer_decay:g} from block to block" if train.layer_decay != 1 else ""
    return found + (f", means of the best {train.average_best} states" if train.average_best != 1 else "")


def _config(results: Results) -> TrialConfig | None:
    return next((row.config for row in results.rows), None)


def _search(results: Results) -> str:
    asked = results.spec.get("search")
    asked = asked if isinstance(asked, dict) else {}
    space = results.spec.get("space")
    domains = [f"{name} ({_domain(one)})" for name, one in space.items()] if isinstance(space, dict) else []
    states = Counter(row.record.state for row in results.rows if row.record.role == "search")
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    goals = ", ".join(f"{title(one.metric)} ({one.goal}imised)" for one in results.objectives)
    text = (
        f"The search space had {len(domains)} parameters: {'; '.join(domains)}. " if domains else
        "[The search space is not in the journal.] "
    )  # fmt: skip
    sampler = asked.get("sampler")
    text += f"Objectives: {goals}. " + (
        f"{states.total()} configurations were proposed by sampler `{sampler}`" if sampler is not None
        else f"{states.total()} configurations were proposed [by a sampler that is not in the journal]"
    )  # fmt: skip
    text += f" (search seed {asked['seed']})" if "seed" in asked else " [search seed not in the journal]"
    text += f"; of these {told}." if told else "; none has run."
    limits = results.spec.get("constraints")
    if isinstance(limits, list) and limits:
        text += f" Constraints: {', '.join(map(str, limits))}."
    halt = results.spec.get("halt")
    if isinstance(halt, dict) and halt.get("kind") not in (None, "none"):
        text += f" Trials were halted early by {halt['kind']}."
    return text


def _domain(domain: JsonValue) -> str:
    if not isinstance(domain, dict):
        return f"fixed at {domain}"
    kind = str(domain.get("kind", "?"))
    if kind == "choice" and isinstance(domain.get("of"), list):
        return f"one of {', '.join(map(str, _listed(domain['of'])))}"
    if kind == "subset":
        of = domain.get("of")
        where = of if isinstance(of, str) else f"{len(_listed(of))} sites"
        return f"{domain.get('min', '?')} to {domain.get('max', '?')} of {where}"
    if "low" in domain and "high" in domain:
        step = f" in steps of {domain['step']}" if domain.get("step") not in (None, 1) else ""
        return f"{domain['low']} to {domain['high']}{step}{', logarithmic' if domain.get('log') else ''}"
    return kind


def _listed(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else [value]


def _budget(results: Results) -> str:
    config = _config(results)
    if config is None:
        return ""
    train = config.train
    if train.steps is not None:
        budget = f"{train.steps:,} optimiser steps"
    elif train.epochs is not None:
        budget = f"{train.epochs:g} passes over the training clips"
    else:
        budget = "[a budget that is not in the journal]"
    varied = results.spec.get("space")
    searched = [name for name in (varied if isinstance(varied, dict) else {}) if name.startswith("train.")]
    beside = f"; searched beside: {', '.join(searched)}" if searched else ""
    return (
        f"Every arm had the same budget of {budget} over all its stages, in batches of {train.batch_size}, with a "
        f"learning rate of {train.lr:g}, weight decay {train.weight_decay:g} and {train.loss.replace('_', ' ')} loss"
        f"{beside}."
    )


def _controls(results: Results) -> str:
    names = list(dict.fromkeys(row.record.control or "" for row in results.controls if row.allowed is not None))
    called = [CONTROLS[name].called if name in CONTROLS else name for name in names]
    return f"Controls of equal budget: {', '.join(called)}." if called else "No control has finished."


def _seeds(results: Results) -> str:
    seeds = sorted({run.config.seed for row in results.plotted for run in row.runs})
    again = sum(len(row.again) for row in results.rows)
    text = f"Trials ran with seed{'s' if len(seeds) > 1 else ''} {_some(seeds)}" if seeds else "No trial has finished"
    text += f"; {again} of the runs are repeats of a trial with another seed." if again else "."
    if not results.finalists:
        return f"{text} The evaluation split was not opened."
    fresh = sorted({row.config.seed for one in results.finalists for row in one.rows})
    openings = [row.record.details.get("eval_openings") for one in results.finalists for row in one.rows]
    known = [count for count in openings if isinstance(count, int) and count > 0]
    opened = f"; it had been opened {max(known)} times by then" if known else ""
    return (
        f"{text} {len(results.finalists)} arms (members of the front, and controls) were trained anew with seeds "
        f"{_some(fresh)} and scored on the evaluation split{opened}."
    )


def _some(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) if len(seeds) <= 12 else f"{seeds[0]} to {seeds[-1]} ({len(seeds)} of them)"


def _statistics(results: Results) -> str:
    answered = [one for one in results.comparisons if one.answer is not None]
    if not answered:
        return "[No paired comparison could be made, so no statistics are reported.]"
    speakers = max(one.answer.speakers for one in answered if one.answer is not None)
    units = "speakers, each with all clips" if speakers else "clips, since speakers are not known"
    return (
        f"EERs are compared as paired differences on the same clips and seeds: standard errors by a bootstrap of "
        f"{units} ({REPLICATES} resamples), combined with the scatter between seeds, intervals and two-sided "
        f"p-values by Student's t with Satterthwaite's degrees of freedom, Holm's correction over the {len(answered)} "
        "comparisons (on each split apart); intervals are of 95 %."
    )


def _machines(results: Results) -> str:
    devices = Counter(device(row) for row in results.every if row.record.state == "done")
    named = ", ".join(f"{name} ({count} runs)" for name, count in devices.most_common() if name)
    hosts = hosts_of(results)
    gpu_s = sum(row.record.gpu_seconds for row in results.every)
    text = f"Hardware: {named}" if named else "[The hardware is not in the journal]"
    text += f"; machines of the driver: {', '.join(hosts)}" if hosts else ""
    gpu = f", {gpu_s / 3600:.1f} GPU hours" if gpu_s else ""
    return f"{text}. The sweep took {duration(results.seconds)}{gpu}."


def hosts_of(results: Results) -> list[str]:
    """The machines whose drivers wrote this sweep."""
    head = next((event for event in results.events if isinstance(event, Opened)), None)
    merged = [host for one in (head.merged if head is not None else ()) for host in one.hosts]
    own = [event.host for event in results.events if isinstance(event, SessionBegun) and event.host]
    return list(dict.fromkeys([*merged, *own]))


def _versions(results: Results) -> str:
    sessions = [event for event in results.events if isinstance(event, SessionBegun)]
    found: dict[str, list[str]] = {}
    for event in sessions:
        commit = {"commit": event.commit} if event.commit else {}
        for name, number in (event.versions | commit).items():
            if number not in found.setdefault(name, []):
                found[name].append(number)
    if not found:
        return "[Versions of plastsearch and its libraries are not in this journal.]"
    listed = ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in found.items())
    return f"Versions, as the driver had them: {listed}."
