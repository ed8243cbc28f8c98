"""Pooling, padding and resizing."""

import torch
import torch.nn.functional as F

from common import Family

# sizes, kernel, stride, padding, dilation, ceil mode
POOLS = [
    ([8], [2], [2], [0], [1], False),
    ([9], [3], [2], [1], [1], False),
    ([9], [3], [2], [1], [1], True),
    ([4, 6], [2, 2], [2, 2], [0, 0], [1, 1], False),
    ([5, 5], [3, 3], [2, 2], [1, 1], [1, 1], False),
    ([6, 5], [3, 2], [1, 2], [1, 0], [1, 1], False),
    ([7, 7], [2, 2], [1, 1], [0, 0], [2, 2], False),
    ([6, 7], [3, 3], [2, 2], [0, 0], [1, 1], True),
    ([5, 6], [3, 3], [2, 2], [1, 1], [1, 1], True),
    ([4, 4, 4], [2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], False),
    ([3, 5, 4], [2, 3, 2], [1, 2, 2], [1, 1, 0], [1, 1, 1], False),
]


def pooling():
    fam = Family("pooling", 41)
    x = fam.inputs
    for size, kernel, stride, padding, dilation, ceil in POOLS:
        n = len(size)
        shape = [1, 2, *size] if n < 3 else [1, 1, *size]
        attrs = {"kernelSize": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceilMode": ceil}
        fn = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[n]
        fam.case(f"maxPool{n}d", lambda a, kernelSize, stride, padding, dilation, ceilMode, fn=fn:
                 fn(a, kernelSize, stride, padding, dilation, ceilMode), [x.distinct(shape, 0.125)], attrs)
        if set(dilation) != {1}:
            continue
        for include in (True, False):
            attrs = {"kernelSize": kernel, "stride": stride, "padding": padding, "ceilMode": ceil, "countIncludePad": include}
            fn = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[n]
            fam.case(f"avgPool{n}d", lambda a, kernelSize, stride, padding, ceilMode, countIncludePad, fn=fn:
                     fn(a, kernelSize, stride, padding, ceilMode, countIncludePad), [x.uniform(shape)], attrs)
    fam.case("maxPool2d", lambda a, kernelSize, stride, padding, dilation, ceilMode, returnIndices:
             F.max_pool2d(a, kernelSize, stride, padding, dilation, ceilMode, True), [x.distinct([1, 2, 4, 4], 0.125)],
             {"kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "ceilMode": False, "returnIndices": True})
    adaptive = [([7], [3]), ([5], [5]), ([4], [6]), ([6, 6], [1, 1]), ([5, 7], [2, 3]), ([4, 5], [4, 2]), ([4, 3, 5], [2, 1, 2])]
    for size, out in adaptive:
        n = len(size)
        shape = [1, 2, *size] if n < 3 else [1, 1, *size]
        avg = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[n]
        top = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}[n]
        fam.case(f"adaptiveAvgPool{n}d", lambda a, outputSize, fn=avg: fn(a, outputSize), [x.uniform(shape)], {"outputSize": out})
        fam.case(f"adaptiveMaxPool{n}d", lambda a, outputSize, fn=top: fn(a, outputSize), [x.distinct(shape, 0.125)],
                 {"outputSize": out})
    return fam


def padding():
    fam = Family("padding", 42)
    x = fam.inputs
    constant = lambda a, pad, mode, value: F.pad(a, pad, mode, value)
    for shape, pad, value in (([3], [1, 2], 0.0), ([2, 3], [1, 0], 1.5), ([2, 3], [1, 2, 0, 1], -1.0), ([4, 4], [-1, -1, 1, -2], 0.5),
                              ([1, 2, 3], [0, 1, 1, 0, 2, 1], 0.0)):
        fam.case("pad", constant, [x.uniform(shape)], {"pad": pad, "mode": "constant", "value": value})
    for mode in ("reflect", "replicate", "circular"):
        for shape, pad in (([1, 2, 5], [2, 1]), ([1, 1, 4, 5], [1, 2, 2, 1]), ([1, 2, 3, 3], [0, 2, 1, 0]),
                           ([1, 1, 3, 3, 4], [1, 2, 1, 1, 2, 0])):
            fam.case("pad", lambda a, pad, mode: F.pad(a, pad, mode), [x.uniform(shape)], {"pad": pad, "mode": mode})
    return fam


def resizing():
    fam = Family("resizing", 43)
    x = fam.inputs
    def run(a, mode, size=None, scaleFactor=None, alignCorners=None):
        return F.interpolate(a, size=size, scale_factor=scaleFactor, mode=mode, align_corners=alignCorners)
    sizes = [([1, 2, 3, 4], [6, 8]), ([1, 1, 5, 4], [3, 7]), ([1, 1, 6, 6], [3, 2]), ([1, 1, 3, 3], [1, 5])]
    for shape, size in sizes:
        for mode in ("nearest", "nearest-exact"):
            fam.case("interpolate", run, [x.uniform(shape)], {"mode": mode, "size": size})
        for align in (False, True):
            fam.case("interpolate", run, [x.uniform(shape)], {"mode": "bilinear", "size": size, "alignCorners": align})
            fam.case("interpolate", run, [x.uniform(shape)], {"mode": "bicubic", "size": size, "alignCorners": align})
    for scale in (2.0, 0.5, 1.5):
        fam.case("interpolate", run, [x.uniform([1, 1, 4, 5])], {"mode": "nearest", "scaleFactor": [scale, scale]})
        for align in (False, True):
            fam.case("interpolate", run, [x.uniform([1, 1, 4, 5])],
                     {"mode": "bilinear", "scaleFactor": [scale, scale], "alignCorners": align})
            fam.case("interpolate", run, [x.uniform([1, 1, 4, 5])],
                     {"mode": "bicubic", "scaleFactor": [scale, scale], "alignCorners": align})
    fam.case("interpolate", run, [x.uniform([1, 2, 5])], {"mode": "nearest", "size": [8]})
    for align in (False, True):
        fam.case("interpolate", run, [x.uniform([1, 2, 5])], {"mode": "linear", "size": [8], "alignCorners": align})
    fam.case("pixelShuffle", lambda a, upscaleFactor: F.pixel_shuffle(a, upscaleFactor), [x.uniform([1, 4, 2, 3])],
             {"upscaleFactor": 2})
    fam.case("unfold2d", lambda a, kernelSize, stride, padding, dilation:
             F.unfold(a, kernelSize, dilation, padding, stride), [x.uniform([1, 2, 4, 4])],
             {"kernelSize": [2, 3], "stride": [1, 2], "padding": [0, 1], "dilation": [1, 1]})
    return fam


FAMILIES = [pooling, padding, resizing]
