"""Fourier transforms and signals; complex results as pairs in a last dimension."""

import torch

from common import Family

F = torch.fft


def fft():
    f = Family("fft", 43)

    def x(*shape):
        return f.inputs.uniform(shape).double().round(decimals=2)

    def z(*shape):
        return x(*shape, 2)

    def case(op, fn, args, attrs=None, is_complex=True, **kwargs):
        def run(*args):
            values = [torch.view_as_complex(a.contiguous()) for a in args] if is_complex else args
            out = fn(*values)
            return torch.view_as_real(out.resolve_conj()) if out.is_complex() else out

        f.case(op, run, args, attrs or {}, fn_attrs={}, **kwargs)

    for norm in ("backward", "ortho", "forward"):
        case("fft", lambda a: F.fft(a, norm=norm), [z(2, 6)], {"norm": norm})
        case("ifft", lambda a: F.ifft(a, norm=norm), [z(2, 7)], {"norm": norm})
        case("rfft", lambda a: F.rfft(a, norm=norm), [x(2, 8)], {"norm": norm}, False)
        case("irfft", lambda a: F.irfft(a, norm=norm), [z(2, 5)], {"norm": norm})
        case("hfft", lambda a: F.hfft(a, norm=norm), [z(2, 5)], {"norm": norm})
        case("ihfft", lambda a: F.ihfft(a, norm=norm), [x(2, 6)], {"norm": norm}, False)
    for n in (3, 10):
        case("fft", lambda a: F.fft(a, n=n, dim=0), [z(6, 2)], {"n": n, "dim": 0})
        case("rfft", lambda a: F.rfft(a, n=n, dim=1), [x(2, 6, 2)], {"n": n, "dim": 1}, False)
        case("irfft", lambda a: F.irfft(a, n=n), [z(2, 4)], {"n": n})
    case("irfft", lambda a: F.irfft(a, n=7), [z(4)], {"n": 7})
    case("fft2", lambda a: F.fft2(a), [z(2, 3, 4)])
    case("ifft2", lambda a: F.ifft2(a, s=(2, 5)), [z(3, 4)], {"s": [2, 5]})
    case("fftn", lambda a: F.fftn(a), [z(2, 3, 2)])
    case("ifftn", lambda a: F.ifftn(a, dim=(0, 2), norm="ortho"), [z(2, 3, 4)], {"dim": [0, 2], "norm": "ortho"})
    case("rfft2", lambda a: F.rfft2(a), [x(3, 4)], {}, False)
    case("irfft2", lambda a: F.irfft2(a, s=(3, 5)), [z(3, 3)], {"s": [3, 5]})
    case("rfftn", lambda a: F.rfftn(a), [x(2, 3, 4)], {}, False)
    case("irfftn", lambda a: F.irfftn(a), [z(2, 3, 3)])

    # short-time transforms
    window = torch.hann_window(8, dtype=torch.float64)
    for attrs in (
        {"nFft": 8},
        {"nFft": 8, "hopLength": 3, "padMode": "constant"},
        {"nFft": 8, "winLength": 5, "window": 5, "normalized": True},
        {"nFft": 8, "hopLength": 2, "onesided": False},
        {"nFft": 8, "center": False},
        {"nFft": 7, "hopLength": 2},
    ):
        size = attrs.get("window", attrs["nFft"])
        win = torch.hann_window(size, dtype=torch.float64)
        kwargs = {
            "hop_length": attrs.get("hopLength"), "win_length": attrs.get("winLength"), "center": attrs.get("center", True),
            "normalized": attrs.get("normalized", False), "onesided": attrs.get("onesided", True),
        }
        attrs = {k: v for k, v in attrs.items() if k != "window"}
        run = lambda a, w: torch.stft(a, attrs["nFft"], window=w, pad_mode=attrs.get("padMode", "reflect"), return_complex=True, **kwargs)
        case("stft", run, [x(2, 23), win], attrs, False)
        if attrs.get("center", True):
            spectrum = torch.view_as_real(run(x(2, 23), win)).detach().round(decimals=3)
            back = lambda s, w: torch.istft(torch.view_as_complex(s.contiguous()), attrs["nFft"], window=w, **kwargs)
            f.case("istft", back, [spectrum, win], attrs, fn_attrs={})
            long = lambda s, w: torch.istft(torch.view_as_complex(s.contiguous()), attrs["nFft"], window=w, length=20, **kwargs)
            f.case("istft", long, [spectrum, win], {**attrs, "length": 20}, fn_attrs={})

    # windows
    for periodic in (True, False):
        for n in (1, 2, 7, 8):
            def add(op, fn, *rest):
                f.case(op, lambda: fn(n, periodic=periodic, dtype=torch.float64), [], {"n": n, "periodic": periodic, "rest": list(rest)}, grads=False, fn_attrs={})
            add("hannWindow", torch.hann_window)
            add("hammingWindow", torch.hamming_window)
            add("blackmanWindow", torch.blackman_window)
            add("bartlettWindow", torch.bartlett_window)
            add("kaiserWindow", lambda n, periodic, dtype: torch.kaiser_window(n, periodic, beta=5.0, dtype=dtype), 5.0)
            W = torch.signal.windows
            add("gaussianWindow", lambda n, periodic, dtype: W.gaussian(n, std=2.0, sym=not periodic, dtype=dtype), 2.0)
            add("exponentialWindow", lambda n, periodic, dtype: W.exponential(n, tau=2.0, sym=not periodic, dtype=dtype), 2.0)
            add("cosineWindow", lambda n, periodic, dtype: W.cosine(n, sym=not periodic, dtype=dtype))
            add("nuttallWindow", lambda n, periodic, dtype: W.nuttall(n, sym=not periodic, dtype=dtype))

    # convolution, by its definition
    import numpy as np

    for mode in ("full", "same", "valid"):
        for n, k in ((9, 4), (5, 5), (6, 1)):
            a, b = x(n), x(k)
            out = torch.from_numpy(np.convolve(a.numpy(), b.numpy(), mode))
            f.case("convolve", lambda *_: out, [a, b], {"mode": mode}, grads=False, fn_attrs={})
    return f


FAMILIES = [fft]
