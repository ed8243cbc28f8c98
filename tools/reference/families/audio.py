"""Spectrograms, mel filters and resampling by torchaudio, librosa and NumPy."""

import json

import numpy as np
import torch

RATE = 8000


def signal(n=1200, seed=3):
    rng = np.random.RandomState(seed)
    t = np.arange(n) / RATE
    x = 0.5 * np.sin(2 * np.pi * (300 + 900 * t) * t) + 0.2 * np.sin(2 * np.pi * 1800 * t) + 0.05 * rng.randn(n)
    return np.round(x * np.minimum(1, np.arange(n) / 100), 5).astype(np.float32)


def numbers(array):
    # Seven significant digits: those of float32.
    return [float(f"{v:.7g}") for v in np.asarray(array, dtype=np.float64).reshape(-1)]


class Audio:
    name = "audio"

    def write(self, folder):
        import librosa

        # torchaudio refuses a PyTorch of another CUDA version; here both only use the CPU.
        torch.version.cuda = None
        import torchaudio
        from torchaudio import functional as F
        from torchaudio import transforms as T

        x = torch.from_numpy(signal())
        d = x.double()
        cases = []

        def add(op, output, options, **more):
            array = np.asarray(output)
            cases.append({"op": op, "options": options, "shape": list(array.shape), "output": numbers(array), **more})

        for n in (1, 2, 6, 9, 16, 30, 34, 77, 101):
            values = np.round(np.random.RandomState(n).randn(n), 3)
            out = np.fft.rfft(values)
            add("rfft", np.stack([out.real, out.imag]), {"n": n}, input=numbers(values))

        windows = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window, "rectangular": lambda n, **k: torch.ones(n, **k)}
        for options in (
            {"nFft": 256, "hopLength": 128},
            {"nFft": 200, "winLength": 160, "hopLength": 200, "window": "hamming", "power": 1},
            {"nFft": 101, "hopLength": 300, "window": "blackman", "center": False},
            {"nFft": 134, "hopLength": 250, "normalized": True, "padMode": "constant", "power": 2.5, "window": "rectangular"},
        ):
            win = options.get("winLength", options["nFft"])
            out = F.spectrogram(
                d,
                pad=0,
                window=windows[options.get("window", "hann")](win, dtype=torch.float64),
                n_fft=options["nFft"],
                hop_length=options["hopLength"],
                win_length=win,
                power=options.get("power", 2),
                normalized=options.get("normalized", False),
                center=options.get("center", True),
                pad_mode=options.get("padMode", "reflect"),
            )
            add("spectrogram", out.numpy(), options)

        for options in (
            {"sampleRate": RATE, "nMels": 12},
            {"sampleRate": RATE, "nMels": 20, "melScale": "slaney", "norm": "slaney", "fMin": 60, "fMax": 3400},
            {"sampleRate": 16000, "nMels": 9, "melScale": "slaney"},
        ):
            bank = F.melscale_fbanks(
                129,
                options.get("fMin", 0),
                options.get("fMax", options["sampleRate"] / 2),
                options["nMels"],
                options["sampleRate"],
                options.get("norm"),
                options.get("melScale", "htk"),
            )
            add("melFilterbank", bank.numpy().T, {"nFft": 256, **options})
        bank = librosa.filters.mel(sr=RATE, n_fft=200, n_mels=15, fmin=20, htk=False, norm="slaney")
        add("melFilterbank", bank, {"nFft": 200, "sampleRate": RATE, "nMels": 15, "fMin": 20, "melScale": "slaney", "norm": "slaney"})

        mel = {"nFft": 256, "hopLength": 128, "sampleRate": RATE, "nMels": 16}
        keywords = {"n_fft": 256, "hop_length": 128, "n_mels": 16}
        spectrum = T.MelSpectrogram(sample_rate=RATE, **keywords)(x)
        add("melSpectrogram", spectrum.numpy(), mel)
        add("amplitudeToDb", F.amplitude_to_DB(spectrum, 10, 1e-10, 0, 60).numpy(), {"of": mel, "topDb": 60})
        add("mfcc", T.MFCC(sample_rate=RATE, n_mfcc=13, melkwargs=keywords)(x).numpy(), {**mel, "nMfcc": 13})
        add("mfcc", T.MFCC(sample_rate=RATE, n_mfcc=8, log_mels=True, melkwargs=keywords)(x).numpy(), {**mel, "nMfcc": 8, "logMels": True})
        out = librosa.feature.mfcc(
            y=signal(), sr=RATE, n_mfcc=10, n_fft=256, hop_length=128, n_mels=16, htk=False, norm="ortho", pad_mode="reflect"
        )
        add("mfcc", out, {**mel, "nMfcc": 10, "melScale": "slaney", "norm": "slaney"})

        for to in (16000, 4000, 11025, 8000):
            add("resample", F.resample(d[:400], RATE, to).numpy(), {"to": to})
        out = F.resample(d[:400], RATE, 5000, resampling_method="sinc_interp_kaiser", lowpass_filter_width=16, rolloff=0.9, beta=10.0)
        add("resample", out.numpy(), {"to": 5000, "window": "kaiser", "lowpassFilterWidth": 16, "rolloff": 0.9, "beta": 10})

        add("preEmphasis", F.preemphasis(x[None], 0.95)[0].numpy()[:200], {"coefficient": 0.95})
        noise = torch.from_numpy(np.round(np.random.RandomState(1).randn(1200), 3).astype(np.float32))
        out = F.add_noise(x[None], noise[None], torch.tensor([6.0]))[0]
        add("mixNoise", out.numpy()[:200], {"snr": 6}, input=numbers(noise.numpy()))

        stft = torch.stft(d, 128, 32, window=torch.hann_window(128, dtype=torch.float64), return_complex=True)
        out = F.phase_vocoder(stft[:, :12], 1.3, torch.linspace(0, np.pi * 32, 65, dtype=torch.float64)[:, None])
        add("phaseVocoder", np.stack([out.real.numpy(), out.imag.numpy()]), {"rate": 1.3, "hopLength": 32, "nFft": 128, "frames": 12})

        body = {
            "family": "audio",
            "reference": f"torchaudio {torchaudio.__version__.split('+')[0]}, librosa {librosa.__version__}, NumPy {np.__version__}",
            "sampleRate": RATE,
            "signal": numbers(signal()),
            "cases": cases,
        }
        text = json.dumps(body, separators=(",", ":")).replace('{"op":', '\n{"op":') + "\n"
        (folder / "audio.json").write_text(text)
        return len(cases), len(text)


def audio():
    return Audio()


FAMILIES = [audio]
