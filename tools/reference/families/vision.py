"""Pictures under Pillow's and torchvision's functions."""

import json

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

W, H = 13, 10


def picture(channels, seed=7):
    """Smooth colours with some noise, so that neither blur nor histograms are trivial."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:H, 0:W]
    planes = [
        127 + 90 * np.sin(x / 3 + c) * np.cos(y / (2 + c)) + rng.randint(-35, 36, (H, W)) for c in range(channels)
    ]
    return np.clip(np.stack(planes, -1), 3, 250).astype(np.uint8)


def flat(array):
    return np.asarray(array).reshape(-1).tolist()


def chw(array):
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def hwc(tensor):
    return flat(tensor.permute(1, 2, 0).numpy())


class Vision:
    name = "vision"

    def write(self, folder):
        rgb, gray = picture(3), picture(1, 9)
        pil = Image.fromarray(rgb)
        pil_gray = Image.fromarray(gray[:, :, 0])
        t = chw(rgb)
        cases = []

        def add(op, output, shape=None, tolerance=0, source="rgb", **args):
            cases.append({"op": op, "source": source, "args": args, "shape": shape or [H, W], "tolerance": tolerance, "output": output})

        for name in ("nearest", "box", "bilinear", "bicubic", "lanczos"):
            for w, h in ((5, 4), (26, 21), (7, 20), (13, 3)):
                kind = getattr(Image.Resampling, name.upper())
                add("resize", flat(pil.resize((w, h), kind)), [h, w], width=w, height=h, interpolation=name)
        add("resize", flat(pil_gray.resize((6, 7), Image.Resampling.BICUBIC)), [7, 6], source="gray", width=6, height=7, interpolation="bicubic")
        for antialias in (True, False):
            for w, h in ((5, 4), (20, 17)):
                out = torch.nn.functional.interpolate(t[None].double(), (h, w), mode="bilinear", antialias=antialias)[0]
                add("resize", hwc(out.round().to(torch.uint8)), [h, w], 1, width=w, height=h, interpolation="bilinear", antialias=antialias)
        for factor in (0, 0.4, 1.7):
            add("adjustBrightness", hwc(F.adjust_brightness(t, factor)), tolerance=1, factor=factor)
            add("adjustContrast", hwc(F.adjust_contrast(t, factor)), tolerance=1, factor=factor)
            add("adjustSaturation", hwc(F.adjust_saturation(t, factor)), tolerance=1, factor=factor)
            add("adjustSharpness", hwc(F.adjust_sharpness(t, factor)), tolerance=1, factor=factor)
        for shift in (-0.5, -0.2, 0.1, 0.37):
            add("adjustHue", hwc(F.adjust_hue(t, shift)), tolerance=1, factor=shift)
        add("autoContrastImage", hwc(F.autocontrast(t)), tolerance=1)
        add("equalizeImage", hwc(F.equalize(t)))
        add("invertColors", hwc(F.invert(t)))
        add("grayscaleImage", hwc(F.rgb_to_grayscale(t, 3)), tolerance=1)
        for bits in (1, 3, 8):
            add("posterizeImage", hwc(F.posterize(t, bits)), factor=bits)
        for threshold in (0, 100, 255):
            add("solarizeImage", hwc(F.solarize(t, threshold)), factor=threshold)
        for size, sigma in ((3, 0.5), (5, 1.3), (7, 2.0)):
            add("gaussianBlurImage", hwc(F.gaussian_blur(t, [size, size], [sigma, sigma])), tolerance=1, kernelSize=size, factor=sigma)
        for mode in ("constant", "edge", "reflect"):
            out = F.pad(t, [2, 1, 3, 4], fill=7, padding_mode=mode)
            add("pad", hwc(out), list(out.shape[1:]), sides=[2, 1, 3, 4], mode=mode, fill=7)
        for h, w in ((4, 6), (5, 5), (15, 8)):
            add("centerCrop", hwc(F.center_crop(t, [h, w])), [h, w], width=w, height=h)

        boxes = torch.tensor([[1.0, 2, 6, 7], [0, 0, 13, 10], [4, 1, 5, 9]], dtype=torch.float64)
        for parameters in (
            {"angle": 30},
            {"angle": -100, "scale": 0.7},
            {"translate": [2, -3]},
            {"shear": [15, 0]},
            {"angle": 20, "translate": [1, 1], "scale": 1.2, "shear": [10, -5]},
        ):
            full = {"angle": 0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], **parameters}
            out = F.affine(pil, interpolation=v2.InterpolationMode.BILINEAR, fill=50, **full)
            moved = F.affine_bounding_boxes(
                boxes.clone(), format=torchvision.tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(H, W), clamping_mode=None, **full
            )
            add("affine", flat(out), tolerance=1, parameters=parameters, boxes=flat(boxes), moved=[round(v, 5) for v in flat(moved)])
        corners = [[0, 0], [W, 0], [W, H], [0, H]]
        target = [[1, 2], [11, 0.5], [12, 9], [2, 8]]
        matrix = []
        for (x, y), (u, v) in zip(target, corners):
            matrix += [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]]
        matrix = np.array(matrix)
        inverse = np.linalg.solve(matrix[:, :8], matrix[:, 8])
        out = pil.transform((W, H), Image.Transform.PERSPECTIVE, inverse.tolist(), Image.Resampling.BILINEAR, fillcolor=(50, 50, 50))
        add("perspective", flat(out), tolerance=1, **{"from": corners, "to": target})

        statistics = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        out = F.normalize(F.to_dtype(t, torch.float32, scale=True), **statistics)
        tensor = {"output": [float(np.float32(v)) for v in flat(out)], **statistics}

        body = {
            "family": "vision",
            "reference": f"Pillow {PIL.__version__}, torchvision {torchvision.__version__.split('+')[0]}",
            "width": W,
            "height": H,
            "rgb": flat(rgb),
            "gray": flat(gray),
            "toTensor": tensor,
            "cases": cases,
        }
        text = json.dumps(body, separators=(",", ":")).replace('{"op":', '\n{"op":') + "\n"
        (folder / "vision.json").write_text(text)
        return len(cases), len(text)


def vision():
    return Vision()


FAMILIES = [vision]
