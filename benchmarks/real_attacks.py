"""The attacks of real_speech.py: what is spoken by a machine, and what resynthesises or changes a recording.

Waves are rows of float64 at 8 kHz, the rate of the recordings; each function draws from the generator it is given.
"""

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import istft, lfilter, resample, resample_poly, stft

RATE_HZ = 8000
Wave = NDArray[np.float64]
Rng = np.random.Generator

# Words of telephone prompts, from which sentences are drawn: what a machine says sounds like what people were asked to.
WORDS = {
    "en": "please enter the number followed by the pound key your call is important to us extension not available "
    "mailbox full goodbye thank you press one to continue record your message after the tone conference room seven",
    "fr": "veuillez entrer le numéro suivi de la touche dièse votre appel est important boîte vocale pleine au revoir "
    "merci appuyez sur un pour continuer enregistrez votre message après le signal salle de conférence sept",
    "es": "por favor introduzca el número seguido de la tecla su llamada es importante buzón lleno adiós gracias pulse "
    "uno para continuar grabe su mensaje después del tono sala de conferencias siete",
    "ru": "пожалуйста введите номер ваш звонок важен для нас почтовый ящик полон до свидания спасибо нажмите один "
    "чтобы продолжить запишите сообщение после сигнала",
    "it": "per favore inserisca il numero seguito dal tasto la sua chiamata è importante casella piena arrivederci "
    "grazie prema uno per continuare registri il messaggio dopo il segnale",
}
# flite and festival read English letters only: other languages reach them as an English reader would take them.
LATIN = dict(
    zip(
        "абвгдежзийклмнопрстуфхцчшщъыьэюяéèêîôàóúíáñ",
        "a,b,v,g,d,e,zh,z,i,y,k,l,m,n,o,p,r,s,t,u,f,kh,ts,ch,sh,sch,,y,,e,yu,ya,e,e,e,i,o,a,o,u,i,a,n".split(","),  # noqa: SIM905
        strict=True,
    )
)


@dataclass(frozen=True)
class Source:
    """What an attack starts from: somebody's recording, that speaker's language, and how long the clip must be."""

    wave: Wave
    language: str  # en, fr, es, ru, it
    samples: int


def spoken(say: Callable[[str, Path], Sequence[str]], source: Source, rng: Rng, plain: bool) -> Wave:
    """What a program says, sentence after sentence until there is enough."""
    parts: list[Wave] = []
    words = WORDS[source.language].split()
    while sum(map(len, parts)) < source.samples + RATE_HZ // 2:
        text = " ".join(rng.choice(words, int(rng.integers(5, 10))))
        if plain:
            text = "".join(LATIN.get(letter, letter) for letter in text)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "said.wav")
            run(say(text, path))
            wave, rate_hz = soundfile.read(path, dtype="float64")
        parts.append(resample_poly(wave, RATE_HZ, rate_hz))
    return np.concatenate(parts)


VOICES = {"en": "en-us", "fr": "fr-fr", "es": "es-419", "ru": "ru", "it": "it"}


def espeak(variants: Sequence[str]) -> "Attack":
    """espeak-ng in the speaker's language: formants, by one of its variants of a voice."""

    def attack(source: Source, rng: Rng) -> Wave:
        voice = VOICES[source.language] + str(rng.choice(variants))
        speed, pitch = str(rng.integers(130, 190)), str(rng.integers(30, 70))
        say = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch]
        return spoken(lambda text, path: [*say, "-w", str(path), text], source, rng, plain=False)

    return attack


def flite(voices: Sequence[str]) -> "Attack":
    """flite: diphones (kal) or a statistical voice (awb, rms, slt)."""

    def attack(source: Source, rng: Rng) -> Wave:
        voice = str(rng.choice(voices))
        stretch = f"duration_stretch={rng.uniform(0.85, 1.15):.2f}"
        say = ["flite", "-voice", voice, "--setf", stretch]
        return spoken(lambda text, path: [*say, "-t", text, "-o", str(path)], source, rng, plain=True)

    return attack


def festival(source: Source, rng: Rng) -> Wave:
    """festival's own English voice."""

    def say(text: str, path: Path) -> list[str]:
        told = path.with_suffix(".txt")
        told.write_text(text + "\n", "ascii", errors="ignore")
        return ["text2wave", str(told), "-o", str(path)]

    return spoken(say, source, rng, plain=True)


def linear_prediction(source: Source, rng: Rng) -> Wave:
    """An LPC vocoder: an all-pole filter per frame, excited by pulses at the pitch or by noise."""
    wave, length, hop, order = source.wave, 240, 120, 10
    window = np.hanning(length)
    out = np.zeros(len(wave) + length)
    for at in range(0, len(wave) - length, hop):
        frame = wave[at : at + length] * window
        correlation = np.correlate(frame, frame, "full")[length - 1 :]
        correlation[0] = correlation[0] * 1.0001 + 1e-9
        poles = solve_toeplitz(correlation[:order], correlation[1 : order + 1])
        gain = np.sqrt(max(correlation[0] - poles @ correlation[1 : order + 1], 1e-12) / length)
        lag = 25 + int(np.argmax(correlation[25:130]))
        if correlation[lag] / correlation[0] > 0.35:
            excitation = np.zeros(length)
            excitation[-at % lag :: lag] = np.sqrt(lag)  # in phase with the frames before
        else:
            excitation = rng.standard_normal(length)
        out[at : at + length] += lfilter([gain], np.r_[1, -poles], excitation) * window
    return out[: len(wave)]


def griffin_lim(mel_bands: int | None) -> "Attack":
    """Phases guessed for the recording's magnitudes, which may have passed through few mel bands before."""

    def attack(source: Source, rng: Rng) -> Wave:
        magnitude = np.abs(stft(source.wave, nperseg=256, noverlap=192)[2])
        if mel_bands is not None:
            bank = _mel_bank(mel_bands, len(magnitude))
            magnitude = np.maximum(np.linalg.pinv(bank) @ (bank @ magnitude), 1e-7)
        turned = np.exp(2j * np.pi * rng.random(magnitude.shape))
        for _ in range(24):
            again = stft(istft(magnitude * turned, nperseg=256, noverlap=192)[1], nperseg=256, noverlap=192)[2]
            frames = min(again.shape[1], magnitude.shape[1])
            magnitude, turned = magnitude[:, :frames], np.exp(1j * np.angle(again[:, :frames]))
        return np.asarray(istft(magnitude * turned, nperseg=256, noverlap=192)[1])

    return attack


def _mel_bank(bands: int, rows: int) -> Wave:
    """Triangles at equal steps in mel."""
    top = 2595 * np.log10(1 + RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    at_hz = np.linspace(0, RATE_HZ / 2, rows)
    low, mid, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    bank: Wave = np.clip(np.minimum((at_hz - low) / (mid - low), (high - at_hz) / (high - mid)), 0, None)
    return bank


def noisy_phase(source: Source, rng: Rng) -> Wave:
    """The recording's magnitudes with phases near zero."""
    magnitude = np.abs(stft(source.wave, nperseg=128, noverlap=96)[2])
    return np.asarray(
        istft(magnitude * np.exp(0.3j * rng.standard_normal(magnitude.shape)), nperseg=128, noverlap=96)[1]
    )


def phase_vocoder(source: Source, rng: Rng) -> Wave:
    """Stretched or shortened in time by a phase vocoder and played at another rate: another pitch, the same length."""
    ratio = 2 ** (float(rng.choice([-1, 1])) * rng.uniform(2, 4) / 12)
    hop = 64
    spectrum = stft(source.wave, nperseg=256, noverlap=256 - hop)[2]
    places = np.arange(0, spectrum.shape[1] - 1, 1 / ratio)
    expected = 2 * np.pi * hop * np.arange(len(spectrum)) / 256
    phase = np.angle(spectrum[:, 0])
    frames = []
    for place in places:
        before, share = int(place), place % 1
        left, right = spectrum[:, before], spectrum[:, before + 1]
        frames.append(((1 - share) * np.abs(left) + share * np.abs(right)) * np.exp(1j * phase))
        turn = np.angle(right) - np.angle(left) - expected
        phase = phase + expected + turn - 2 * np.pi * np.round(turn / (2 * np.pi))
    stretched = istft(np.stack(frames, 1), nperseg=256, noverlap=256 - hop)[1]
    return np.asarray(resample(stretched, round(len(stretched) / ratio)))


def codec2(mode: str) -> "Attack":
    """codec2, a vocoder of sines, at so many bits per second."""

    def attack(source: Source, rng: Rng) -> Wave:
        del rng
        with tempfile.TemporaryDirectory() as folder:
            plain, coded, heard = (str(Path(folder, name)) for name in ("plain", "coded", "heard"))
            Path(plain).write_bytes((np.clip(source.wave, -1, 1) * 32000).astype("<i2").tobytes())
            run(["c2enc", mode, plain, coded])
            run(["c2dec", mode, coded, heard])
            return np.frombuffer(Path(heard).read_bytes(), "<i2") / 32768

    return attack


def sox(effect: str, low: float, high: float) -> "Attack":
    """sox moves the pitch (in cents) or the tempo in the time domain, up or down."""

    def attack(source: Source, rng: Rng) -> Wave:
        amount = rng.uniform(low, high)
        down = bool(rng.integers(2))
        value = (-amount if effect == "pitch" else 1 / amount) if down else amount
        with tempfile.TemporaryDirectory() as folder:
            before, after = str(Path(folder, "before.wav")), str(Path(folder, "after.wav"))
            soundfile.write(before, source.wave, RATE_HZ, subtype="FLOAT")
            run(["sox", "-G", before, after, effect, f"{value:.3f}"])
            return soundfile.read(after, dtype="float64")[0]

    return attack


def world(shift: bool) -> "Attack":
    """WORLD: pitch, envelope and aperiodicity taken apart and put together, perhaps with pitch and formants moved."""

    def attack(source: Source, rng: Rng) -> Wave:
        import pyworld  # needed by these two attacks alone

        pitch, envelope, aperiodicity = pyworld.wav2world(np.ascontiguousarray(source.wave), RATE_HZ)
        if shift:
            pitch = pitch * rng.uniform(0.75, 1.33)
            rows = np.arange(envelope.shape[1])
            warp = rows * rng.uniform(0.85, 1.17)
            envelope = np.ascontiguousarray([np.interp(warp, rows, frame) for frame in envelope])
        return np.asarray(pyworld.synthesize(pitch, envelope, aperiodicity, RATE_HZ))

    return attack


def run(command: Sequence[str]) -> None:
    """A program, quietly; what it says when it fails is the message."""
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")


Attack = Callable[[Source, Rng], Wave]
SEEN: Mapping[str, Attack] = {
    "A01": espeak(("", "+f2", "+m3", "+f4", "+m1")),
    "A02": flite(("kal",)),
    "A03": linear_prediction,
    "A04": griffin_lim(None),
    "A05": phase_vocoder,
}
UNSEEN: Mapping[str, Attack] = {
    "A07": espeak(("+klatt", "+klatt2", "+klatt3", "+klatt4")),
    "A08": flite(("awb", "rms", "slt")),
    "A09": codec2("3200"),
    "A10": codec2("1200"),
    "A11": noisy_phase,
    "A12": griffin_lim(40),
    "A13": sox("pitch", 150, 350),
    "A14": sox("tempo", 1.15, 1.35),
    "A15": world(shift=False),
    "A16": world(shift=True),
    "A17": festival,
}
MEANT = {
    "A01": "espeak-ng, formants", "A02": "flite, diphones", "A03": "LPC vocoder", "A04": "Griffin-Lim",
    "A05": "phase vocoder, another pitch", "A07": "espeak-ng, Klatt's synthesiser", "A08": "flite, statistical voices",
    "A09": "codec2, 3,200 bit/s", "A10": "codec2, 1,200 bit/s", "A11": "phases near zero",
    "A12": "Griffin-Lim from 40 mel bands", "A13": "sox, another pitch", "A14": "sox, another tempo", "A15": "WORLD",
    "A16": "WORLD, pitch and formants moved", "A17": "festival",
}  # fmt: skip
# Without these nothing is made; the others bring attacks of their own that are left out, and it is said so.
PROGRAMS = {"espeak-ng": "espeak-ng", "flite": "flite", "c2enc": "codec2", "c2dec": "codec2", "sox": "sox"}


def optional_missing() -> dict[str, str]:
    """Attacks that cannot be made here, and what brings them."""
    lacking = {}
    if find_spec("pyworld") is None:
        lacking |= dict.fromkeys(("A15", "A16"), "pip install pyworld-prebuilt (or pyworld, which is compiled)")
    if which("text2wave") is None:
        lacking["A17"] = "apt-get install festival festvox-kallpc16k"
    return lacking
