"""A sweep as a terminal sees it: what is said before, and who listens while it runs. Its end: sweep_end.py.

`plastsearch sweep` loads this when it runs: these imports take ten times as long as all that `--help` needs.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plastsearch.cli.output import console
from plastsearch.errors import PlastsearchError, SpecError, StorageError
from plastsearch.preflight.checks import preflight
from plastsearch.report.apart import render
from plastsearch.spec.load import read_sweep
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep import display
from plastsearch.sweep.driver_log import append
from plastsearch.sweep.notify import Notifier, target
from plastsearch.sweep.options import Options, Outcome
from plastsearch.sweep.session import run_sweep
from plastsearch.sweep.state import Closing
from plastsearch.sweep.submission import submission_of
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.earlier import FILE as KEPT
from plastsearch.tracking.events import note
from plastsearch.tracking.mlflow_pages import Rendering
from plastsearch.tracking.mlflow_tracker import MlflowTracker

TRACKER_S = 120.0  # for the mirror to catch up at the end


@dataclass(frozen=True)
class Showing:
    """What of a sweep is shown, as its options ask."""

    quiet: bool
    as_json: bool
    json_lines: bool
    tables: bool = True  # what was found, and where it stands; an end that was not planned is told in any case


def load(
    space: Path, overrides: Sequence[str], executor: str, final: bool, resumed: tuple[Path, str | None] | None = None
) -> tuple[SweepSpec, list[str]]:
    """The spec, with everything it names found to exist, and what is worth knowing about it.

    Earlier sweeps may have gone where a sweep is resumed (below this root, by this name): it has kept what they told.
    """
    if executor not in {"tune", "inline"}:
        raise PlastsearchError(f"--executor {executor}: unknown; known: tune, inline")
    reading = read_sweep(space, overrides)
    if reading.mistakes or reading.spec is None:
        raise SpecError(reading.mistakes)
    spec = reading.spec
    begun = resumed is not None and (resumed[0] / (resumed[1] or spec.name or "") / KEPT).exists()
    found = preflight(spec, evaluation=final, earlier=not begun, say=reading.document.say)
    return spec, found.notes


def attempt(space: Path, options: Options, showing: Showing) -> Outcome:
    """Run the sweep of a space; as one of several attempts (submission.py), leave and respect their verdict."""
    folder = options.root / (options.name or space.stem)  # until the space has told its name
    submission = submission_of(folder, space, options.overrides, options.mlflow)
    try:
        if submission is not None:
            submission.end_if_judged()
        resumed = (options.root, options.name) if options.resume else None
        spec, notes = load(space, options.overrides, options.executor, options.finalists, resumed)
        folder = options.root / (options.name or spec.name or space.stem)
        outcome = run(spec, options, notes, showing)
    except PlastsearchError as error:
        append(folder, f"Error: {error}")
        if isinstance(error, StorageError) and showing.tables and not (showing.as_json or showing.json_lines):
            from plastsearch.cli.sessions.sweep_end import show_finished

            show_finished(folder, showing)
        if submission is not None and error.permanent:
            _note(submission.judge(error.exit_code, str(error)))
        raise
    except Exception:
        append(folder, traceback.format_exc())
        raise
    for text in outcome.notes:
        append(outcome.folder, text)
    if submission is not None and outcome.status == "failures":
        _note(submission.judge(outcome.exit_code, outcome.reason or "too many trials failed"))
    return outcome


def _note(texts: Sequence[str]) -> None:
    for text in texts:
        sys.stderr.write(f"Note: {text}.\n")


def run(spec: SweepSpec, options: Options, notes: Sequence[str], showing: Showing) -> Outcome:
    """Say what begins, run it, and tell how it ended."""
    if not (showing.quiet or showing.as_json or showing.json_lines):
        _opening(spec)
    if not showing.quiet:
        _note(notes)

    def tell(outcome: Outcome) -> None:
        from plastsearch.cli.sessions.sweep_end import tell_end

        tell_end(outcome, options.mlflow, showing)
        sys.stdout.flush()
        sys.stderr.flush()

    # Where Ray dies without giving this thread back, another one tells the outcome and ends the process: hence both.
    outcome = run_sweep(spec, options, _listeners(options.mlflow, showing, options.notify), tell)
    tell(outcome)
    return outcome


def _opening(spec: SweepSpec) -> None:
    names = ", ".join(one.metric for one in spec.objectives)
    out = console(stderr=True)
    if spec.question:
        out.print(spec.question, markup=False)
    out.print(f"{spec.name}: {spec.search.trials} trials, objectives {names}; starting", markup=False)


def _listeners(
    mlflow: str | None, showing: Showing, notify: Sequence[str] = ()
) -> Callable[[Path, SweepView], Sequence[Closing]]:
    def listen(folder: Path, view: SweepView) -> Sequence[Closing]:
        quiet = showing.quiet or showing.as_json
        shown = display.JsonLines() if showing.json_lines else display_of(view, quiet=quiet)
        told = [Notifier(target(text), folder.name, folder, view, shown.feed) for text in notify]
        mirrors = [] if mlflow == "none" else [_Mirror(folder, mlflow, shown, view)]
        return [shown, *told, *mirrors]

    return listen


def display_of(view: SweepView, *, quiet: bool) -> Closing:
    """What a person sees while it runs: nothing, a table on a terminal, else lines."""
    if quiet:
        return display.Silent()
    if sys.stderr.isatty():
        from plastsearch.sweep.live import Live

        return Live(view, console(stderr=True))
    return display.Lines(view)


class _Mirror:
    """MLflow, given time at the end; what is worked out for its figures the display knows, too."""

    def __init__(self, folder: Path, uri: str | None, display: Closing, view: SweepView) -> None:
        def draw(of: Path) -> Rendering:
            found = render(of)
            view.drawn_with(found.summary)
            return found

        self._tracker = MlflowTracker(folder, uri, render=draw, on_trouble=lambda text: display.feed(note(text)))
        self.feed = self._tracker.feed

    @property
    def lag(self) -> int:
        return self._tracker.lag

    def close(self) -> str | None:
        return self._tracker.close(TRACKER_S)
