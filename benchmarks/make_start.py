"""Makes `tiny-speech`, the pretrained encoder that comes along: three minutes of one core, nothing downloaded.

    python benchmarks/make_start.py --out start --seed 0     # plastsearch/models/starts/tiny-speech was made so

Its convolutions learn to read mel bands, and stay so; then its layers learn to tell generated speech from six attacks
that no generated corpus has, of speakers that none has: what a sweep from it has to learn is new to it, and the further
up, the less of it is left. The same seed gives the same weights on the same machine; but the one that comes along was
made before `pretrain` gave dropout its seed, and making it again gives another one of the same kind.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from start_bank import SPECTRUM, reading_bands

from plastsearch.audio import write_audio
from plastsearch.data.corpus import open_corpus
from plastsearch.models.catalog import Widths
from plastsearch.spec.data import DataConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.synth.attacks import HOP as SYNTH_HOP
from plastsearch.synth.attacks import SIZE, Attack, Material, upsampled
from plastsearch.synth.corpus import RATE_HZ, render
from plastsearch.synth.layouts import BONA_FIDE, ClipRecipe
from plastsearch.synth.spectra import Singles, banded, istft, stft, triangles, unbanded
from plastsearch.trial.pretrain import Pretraining, pretrain

WIDTHS: Widths = {
    "model_type": "wav2vec2", "hidden_size": 48, "num_hidden_layers": 6, "num_attention_heads": 4,
    "intermediate_size": 64, "do_stable_layer_norm": True, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "pooling": "mean", "dropout": 0.0,
}  # fmt: skip
SPEECH_S = 0.5
SAMPLES = round(SPEECH_S * RATE_HZ)
DROPOUT = 0.1
SPEAKERS = 24
FIRST_VOICE = 1000  # generated corpora count theirs from 0
BONA_FIDE_SHARE = 0.4
DIFFICULTY = 0.0
Change = Callable[[NDArray[np.complex64], Material, float], NDArray[np.complex64]]


def changed(change: Change) -> Attack:
    """An attack that changes a short-time spectrum."""

    def attack(given: Material, strength: float) -> Singles:
        spectrum = change(stft(given.target.wave, SIZE, SYNTH_HOP), given, strength)
        return istft(spectrum.astype(np.complex64), SIZE, SYNTH_HOP, given.n_samples)

    return attack


def noise_vocoder(spectrum: NDArray[np.complex64], given: Material, strength: float) -> NDArray[np.complex64]:
    """Noise in the bands of speech."""
    bank = triangles(SIZE // 2 + 1, round(96 - 64 * strength), given.rate_hz)
    noise = stft(given.rng.standard_normal(given.n_samples), SIZE, SYNTH_HOP)
    shaped = noise / (np.abs(noise) + 1e-9) * unbanded(banded(np.abs(spectrum), bank), bank)
    return (0.3 + 0.5 * strength) * shaped + (0.7 - 0.5 * strength) * spectrum


def holes(spectrum: NDArray[np.complex64], _: Material, strength: float) -> NDArray[np.complex64]:
    """What is weak beside its neighbours is left out, as codecs of few bits do."""
    magnitude = np.abs(spectrum)
    return np.where(magnitude < (0.3 + 0.7 * strength) * gaussian_filter1d(magnitude, 8.0, axis=1), 0, spectrum)


def coarse_phase(spectrum: NDArray[np.complex64], _: Material, strength: float) -> NDArray[np.complex64]:
    """Phases on few levels."""
    levels = round(8 - 5 * strength)
    return np.abs(spectrum) * np.exp(2j * np.pi * np.round(np.angle(spectrum) * levels / 2 / np.pi) / levels)


def echoes_in_time(spectrum: NDArray[np.complex64], given: Material, strength: float) -> NDArray[np.complex64]:
    """Every frame keeps something of the one two before."""
    late = np.roll(spectrum, 2, axis=0)
    return spectrum + (0.3 + 0.6 * strength) * late * np.exp(2j * np.pi * given.rng.random(spectrum.shape[1]))


def coarse_levels(spectrum: NDArray[np.complex64], _: Material, strength: float) -> NDArray[np.complex64]:
    """Magnitudes on a coarse scale of decibels."""
    step = 0.2 + 1.2 * strength
    log = np.log(np.abs(spectrum) + 1e-7)
    return spectrum * np.exp(np.round(log / step) * step - log)


def flipped_pieces(given: Material, strength: float) -> NDArray[np.float64]:
    """Short pieces played backwards."""
    wave_T = given.target.wave.copy()
    size = int(given.rate_hz * (0.004 + 0.012 * strength))
    for start in range(0, len(wave_T) - size, size):
        if given.rng.random() < 0.3 + 0.5 * strength:
            wave_T[start : start + size] = wave_T[start : start + size][::-1]
    return wave_T


# No clip of a generated corpus is made by one of these; nor has one a pattern of these periods.
ATTACKS: dict[str, Attack] = {
    "L01": changed(noise_vocoder), "L02": changed(holes), "L03": upsampled(changed(coarse_phase), 24),
    "L04": changed(echoes_in_time), "L05": upsampled(changed(coarse_levels), 12), "L06": flipped_pieces,
}  # fmt: skip


def recipes(clips: int, seed: int) -> list[tuple[str, ClipRecipe]]:
    """Split and plan of each clip: one of five is kept apart, to see what was learnt."""
    rng = np.random.default_rng([seed, 3])
    found = []
    for number in range(clips):
        split = "dev" if number % 5 == 0 else "train"
        attack = BONA_FIDE if rng.random() < BONA_FIDE_SHARE else str(rng.choice(list(ATTACKS)))
        voice = FIRST_VOICE + int(rng.integers(SPEAKERS)) + (SPEAKERS if split == "dev" else 0)
        found.append((split, ClipRecipe(number, voice, PurePosixPath(f"{number}.wav"), attack)))
    return found


def write(folder: Path, seed: int, recipe: ClipRecipe) -> None:
    """One clip."""
    wave = render(recipe, seed, DIFFICULTY, (SPEECH_S, SPEECH_S), ATTACKS)
    write_audio(folder / recipe.path, wave, RATE_HZ)


def write_clips(folder: Path, clips: int, seed: int) -> Path:
    """All clips, and the table that names them."""
    planned = recipes(clips, seed)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write, folder, seed), [recipe for _, recipe in planned], chunksize=16))
    table = folder / "clips.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "attack", "speaker"])
        for split, one in planned:
            label = "bonafide" if one.attack == BONA_FIDE else "spoof"
            rows.writerow([one.path, label, split, one.attack, str(one.voice)])
    return table


def main() -> None:
    """Write the clips, learn them, write the folder."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, required=True, help="a new folder")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--clips", type=int, default=6000)
    ask.add_argument("--bank-steps", type=int, default=2500, help="of the convolutions")
    ask.add_argument("--steps", type=int, default=1500, help="of the layers above")
    given = ask.parse_args()
    torch.set_num_threads(1)
    plan = Pretraining("supervised", steps=given.steps, batch_size=16, length_samples=SAMPLES, lr=2e-3,
                       weight_decay=0.1, seed=given.seed, train_stem=False)  # fmt: skip
    with tempfile.TemporaryDirectory() as draft:
        here = Path(draft)
        (here / "clips").mkdir()
        table = write_clips(here / "clips", given.clips, given.seed)
        train = open_corpus(DataConfig(corpus="manifest", manifest=str(table)), here / "cache").train
        waves_BT = torch.from_numpy(train.batch(np.arange(len(train)), SAMPLES))
        error = reading_bands(WIDTHS, SPECTRUM, waves_BT, here / "blank", steps=given.bank_steps, seed=given.seed)
        print(f"bands: {error:.3f} of their variance are not told", flush=True)
        blank = ModelConfig.model_validate({"name": "wav2vec2", "from": str(here / "blank"), "dropout": DROPOUT})
        for found in pretrain(blank, train, plan, given.out, torch.device("cpu")):
            print(", ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
    record = given.out / "pretraining.json"  # without the draft's name, which is nobody's
    written = json.loads(record.read_text())
    written["plan"]["model"] = {**written["plan"]["model"], "from": None}
    record.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
