"""Writes a small generated corpus as real audio files in the true layouts: LA, PA, FoR and In-the-Wild.

What is said is drawn alike for both classes, and so are room, channel, noise, level, length and pauses;
a spoof differs by the traces of its attack alone. Each clip has its own seed, so workers change nothing.
The signals live in speech.py, attacks.py and rooms.py, the layouts in layouts.py.
"""

import multiprocessing
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plastsearch.audio import write_audio
from plastsearch.errors import DataError
from plastsearch.files import whole_folder
from plastsearch.synth import rooms
from plastsearch.synth.attacks import KNOWN, UNKNOWN, Attack, Material
from plastsearch.synth.layouts import LAYOUTS, ClipRecipe, Counts
from plastsearch.synth.speech import draw_speaker, speak

Floats = NDArray[np.float64]
Part = Literal["all", "search", "evaluation"]
RATE_HZ = 16_000
ATTACKS = KNOWN | UNKNOWN
ROOM_M2 = {"a": (2, 5), "b": (5, 10), "c": (10, 20)}
T60_S = {"a": (0.05, 0.2), "b": (0.2, 0.6), "c": (0.6, 1.0)}
DISTANCE_M = {"a": (0.1, 0.5), "b": (0.5, 1.0), "c": (1.0, 1.5)}
ATTACKER_M = {"A": (0.1, 0.5), "B": (0.5, 1.0), "C": (1.0, 2.0)}


def write_corpus(
    folder: Path,
    layout: str = "la",
    seed: int = 0,
    *,
    train: int = 240,
    dev: int = 160,
    eval_: int = 160,
    difficulty: float = 0.5,
    length_s: tuple[float, float] = (1.0, 2.0),
    bona_fide_share: float = 0.4,
    speakers: int = 8,
    variant: str | None = None,
    part: Part = "all",
    workers: int = 1,
    alone: bool = False,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Fill `folder`, which must be missing or empty, with a corpus; it appears complete or not at all.

    `part`: "search" leaves out the clips of the evaluation split, which alone "evaluation" adds to such a folder.
    `advance` hears how many clips of how many are written. `alone`: the calling process runs no threads, so that others
    may be forked off it, which start in no time.
    """
    _check(folder, layout, difficulty, length_s, bona_fide_share, empty=part != "evaluation")
    counts = Counts(train, dev, eval_, bona_fide_share, speakers)
    recipes, texts = LAYOUTS[layout](counts, np.random.default_rng([seed, 0]), variant)
    chosen = [recipe for recipe in recipes if part == "all" or recipe.evaluation == (part == "evaluation")]
    with nullcontext(folder) if part == "evaluation" else whole_folder(folder) as place:
        if part != "evaluation":
            _write_texts(place, {recipe.path.parent for recipe in recipes}, texts)
        write = partial(_write_clip, place, seed, difficulty, length_s)
        if workers > 1:
            context = multiprocessing.get_context("fork" if alone and sys.platform == "linux" else "spawn")
            with ProcessPoolExecutor(workers, mp_context=context) as processes:
                for done, _ in enumerate(processes.map(write, chosen, chunksize=8), 1):
                    advance(done, len(chosen))
        else:
            for done, recipe in enumerate(chosen, 1):
                write(recipe)
                advance(done, len(chosen))


def render(
    recipe: ClipRecipe,
    seed: int,
    difficulty: float,
    length_s: tuple[float, float],
    attacks: Mapping[str, Attack] = ATTACKS,
) -> NDArray[np.float32]:
    """The waveform of one planned clip, from its own random stream."""
    rng = np.random.default_rng([seed, 1, recipe.number])
    n_samples = round((recipe.length_s or rng.uniform(*length_s)) * RATE_HZ)
    speaker = draw_speaker(np.random.default_rng([seed, 2, recipe.voice]))
    target = speak(speaker, rng, n_samples, RATE_HZ)
    snr_db = rng.uniform(30, 50) - 15 * difficulty
    level_db = rng.uniform(-34, -18)
    channel_rng, room_rng, attack_rng, other_rng = rng.spawn(4)
    wave_T = target.wave
    strength = float(np.clip(1 - 0.6 * difficulty + attack_rng.uniform(-0.2, 0.2), 0.02, 1))
    if recipe.environment:
        wave_T = _replay(wave_T, recipe, strength, room_rng)
    else:
        if recipe.attack != "-":
            other = partial(speak, speaker, other_rng, n_samples, RATE_HZ)
            material = Material(target, other, speaker, RATE_HZ, attack_rng)
            wave_T = _spoofed(material, attacks[recipe.attack], strength)
        wave_T = rooms.reverberate(wave_T, _booth(room_rng))
    wave_T = rooms.channel(wave_T, channel_rng, RATE_HZ, snr_db)
    return rooms.at_level(wave_T, level_db).astype(np.float32)


def _spoofed(material: Material, attack: Attack, strength: float) -> Floats:
    made = np.asarray(attack(material, strength), np.float64)
    return rooms.like(made, material.target.wave, RATE_HZ)


def _booth(rng: np.random.Generator) -> Floats:
    """A studio or a furnished room: short, weak reverberation."""
    return rooms.impulse_response(rng, rng.uniform(6, 20), rng.uniform(0.08, 0.3), rng.uniform(0.05, 0.25), RATE_HZ)


def _replay(wave_T: Floats, recipe: ClipRecipe, strength: float, rng: np.random.Generator) -> Floats:
    """Physical access: heard in a room or, if spoofed, recorded there, played back by a device and heard again."""
    size, t60, distance = tuple(recipe.environment)
    room = (rng.uniform(*ROOM_M2[size]), rng.uniform(*T60_S[t60]))
    heard_T = rooms.reverberate(wave_T, rooms.impulse_response(rng, *room, rng.uniform(*DISTANCE_M[distance]), RATE_HZ))
    if recipe.attack == "-":
        return heard_T
    far, quality = tuple(recipe.attack)
    recording = rooms.impulse_response(rng, *room, strength * 2 * rng.uniform(*ATTACKER_M[far]), RATE_HZ)
    played_T = rooms.loudspeaker(rooms.reverberate(wave_T, recording), quality, strength, rng, RATE_HZ)
    replayed = rooms.impulse_response(rng, *room, rng.uniform(*DISTANCE_M[distance]), RATE_HZ)
    return rooms.like(rooms.reverberate(played_T, replayed), heard_T, RATE_HZ)


def _write_clip(part: Path, seed: int, difficulty: float, length_s: tuple[float, float], recipe: ClipRecipe) -> None:
    write_audio(part / recipe.path, render(recipe, seed, difficulty, length_s), RATE_HZ)


def _write_texts(part: Path, folders: set[PurePosixPath], texts: dict[PurePosixPath, str]) -> None:
    for folder in folders | {path.parent for path in texts}:
        (part / folder).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        (part / path).write_text(text, encoding="utf-8")


def _check(
    folder: Path, layout: str, difficulty: float, length_s: tuple[float, float], share: float, *, empty: bool
) -> None:
    if layout not in LAYOUTS:
        raise DataError(f"unknown layout {layout!r} of the synthetic corpus; known: {', '.join(LAYOUTS)}")
    if empty and folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; a synthetic corpus is written into a new folder")
    if not 0 <= difficulty <= 1:
        raise DataError(f"difficulty {difficulty} of the synthetic corpus must lie in 0..1")
    if not 0.2 <= length_s[0] <= length_s[1]:
        raise DataError(f"length_s {length_s} must be (shortest, longest), at least 0.2 s")
    if not 0 < share < 1:
        raise DataError(f"bona_fide_share {share} must lie between 0 and 1")
