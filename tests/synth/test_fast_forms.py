"""What the synthesiser does in a form of its own, since a library's takes longer, gives what the library gives."""

import numpy as np
import pytest
from scipy.signal import butter, lfilter, sosfilt

from plastsearch.synth.rooms import steep
from plastsearch.synth.spectra import istft, stft
from plastsearch.synth.speech import filter_by_blocks


@pytest.mark.parametrize(("hz", "kind"), [(60, "highpass"), (140, "highpass"), (6000, "lowpass"), (7760, "lowpass")])
def test_steep_filters_are_butterworths(hz: float, kind: str) -> None:
    wave = np.random.default_rng(0).standard_normal(4000)
    expected = sosfilt(butter(4, hz, kind, fs=16_000, output="sos"), wave)
    np.testing.assert_allclose(sosfilt(steep(hz, 16_000, highpass=kind == "highpass"), wave), expected, atol=1e-9)


def test_blocks_are_filtered_as_lfilter_does_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    wave, poles, gain = rng.standard_normal(970), 0.1 * rng.standard_normal((10, 5)), rng.random(10)
    poles[:, 0] = 1
    poles[4], gain[4] = poles[3], gain[3]
    expected, state = [], np.zeros(4)
    for b in range(10):
        end = len(wave) if b == 9 else 90 * (b + 1)
        part, state = lfilter([gain[b]], poles[b], wave[90 * b : end], zi=state)
        expected.append(part)
    assert (filter_by_blocks(wave, poles, gain, 90) == np.concatenate(expected)).all()


@pytest.mark.parametrize("samples", [200, 256, 257, 5000])  # from as many as numpy's own padding still takes over
def test_a_spectrum_gives_its_wave_back(samples: int) -> None:
    wave = np.random.default_rng(2).standard_normal(samples).astype(np.float32)
    np.testing.assert_allclose(istft(stft(wave, 512, 128), 512, 128, samples), wave, atol=1e-5)
