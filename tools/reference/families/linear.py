"""Matrix products, einsum, convolutions and attention."""

import torch
import torch.nn.functional as F

from common import Family


def matmul():
    fam = Family("matmul", 31)
    x = fam.inputs
    pairs = [
        ([3], [3]), ([2, 3], [3]), ([3], [3, 2]), ([2, 3], [3, 4]), ([1, 3], [3, 1]), ([5, 7], [7, 6]),
        ([2, 3, 4], [2, 4, 2]), ([2, 3, 4], [4, 2]), ([3, 4], [2, 4, 2]), ([2, 1, 2, 3], [3, 3, 2]), ([2, 3, 4], [4]),
        ([4], [2, 4, 3]), ([1, 2, 3], [2, 3, 2]),
    ]
    for a, b in pairs:
        fam.case("matmul", torch.matmul, [x.uniform(a), x.uniform(b)])
    fam.case("matmul", torch.matmul, [x.integers([2, 3], -4, 5, torch.int32), x.integers([3, 2], -4, 5, torch.int32)], grads=False)
    fam.case("matmul", torch.matmul, [torch.zeros([2, 0]), torch.zeros([0, 3])], grads=False)
    fam.case("linear", F.linear, [x.uniform([2, 3]), x.uniform([4, 3]), x.uniform([4])])
    fam.case("linear", F.linear, [x.uniform([2, 2, 3]), x.uniform([4, 3]), None])
    fam.case("linear", F.linear, [x.uniform([3]), x.uniform([4, 3]), x.uniform([4])])
    fam.case("outer", torch.outer, [x.uniform([3]), x.uniform([4])])
    fam.case("dot", torch.dot, [x.uniform([5]), x.uniform([5])])
    fam.case("addmm", lambda c, a, b, beta, alpha: torch.addmm(c, a, b, beta=beta, alpha=alpha),
             [x.uniform([4]), x.uniform([2, 3]), x.uniform([3, 4])], {"beta": 0.5, "alpha": 2.0})
    equations = [
        ("ij,jk->ik", [[2, 3], [3, 4]]), ("ij,jk", [[2, 3], [3, 4]]), ("bij,bjk->bik", [[2, 2, 3], [2, 3, 2]]),
        ("ij->ji", [[2, 3]]), ("ij->", [[2, 3]]), ("ii->i", [[3, 3]]), ("ii", [[3, 3]]), ("i,j->ij", [[3], [4]]),
        ("ij,ij->i", [[2, 3], [2, 3]]), ("bhqd,bhkd->bhqk", [[1, 2, 3, 2], [1, 2, 4, 2]]),
        ("...ij,...jk->...ik", [[2, 2, 3], [3, 2]]), ("...i,i->...", [[2, 2, 3], [3]]), ("ij,jk,kl->il", [[2, 3], [3, 2], [2, 4]]),
        ("i,i,i->i", [[3], [3], [3]]), ("ijk,jil->kl", [[2, 3, 2], [3, 2, 2]]), ("ijj->i", [[2, 3, 3]]), ("ba", [[2, 3]]),
    ]
    for equation, shapes in equations:
        fam.case("einsum", lambda tensors, equation: torch.einsum(equation, *tensors), [[x.uniform(s) for s in shapes]],
                 {"equation": equation})
    return fam


# in channels, out channels, spatial sizes, kernel, stride, padding, dilation, groups, bias
CONVOLUTIONS = [
    (1, 1, [7], [3], [1], [0], [1], 1, True),
    (2, 4, [8], [3], [2], [1], [1], 2, True),
    (2, 3, [9], [2], [1], "same", [2], 1, False),
    (3, 2, [6], [3], [1], "valid", [2], 1, False),
    (1, 1, [5, 5], [3, 3], [1, 1], [0, 0], [1, 1], 1, True),
    (2, 3, [5, 6], [3, 3], [1, 1], [1, 1], [1, 1], 1, True),
    (2, 3, [6, 5], [3, 2], [2, 1], [1, 0], [1, 1], 1, False),
    (2, 2, [5, 5], [1, 1], [1, 1], [0, 0], [1, 1], 1, True),
    (4, 4, [4, 4], [3, 3], [1, 1], [1, 1], [1, 1], 4, True),
    (4, 2, [4, 5], [3, 3], [2, 2], [1, 1], [1, 1], 2, False),
    (1, 2, [7, 7], [3, 3], [1, 1], [2, 2], [2, 2], 1, True),
    (2, 2, [5, 4], [3, 3], [1, 1], "same", [1, 1], 1, True),
    (1, 2, [5, 5], [2, 4], [1, 1], "same", [1, 1], 1, False),
    (2, 2, [4, 4], [3, 3], [3, 3], [2, 1], [1, 1], 1, False),
    (2, 3, [7, 7], [5, 5], [2, 2], [2, 2], [1, 1], 1, False),
    (2, 4, [4, 3], [2, 2], [1, 1], [0, 0], [1, 1], 2, True),
    (1, 2, [3, 4, 4], [2, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1], 1, True),
    (2, 2, [4, 4, 3], [2, 2, 2], [2, 2, 1], [1, 0, 1], [1, 1, 1], 2, False),
    (1, 1, [4, 4, 4], [2, 2, 2], [1, 1, 1], "same", [1, 1, 1], 1, False),
]

# in, out, sizes, kernel, stride, padding, output padding, dilation, groups, bias
TRANSPOSED = [
    (2, 3, [5], [3], [2], [1], [1], [1], 1, True),
    (2, 2, [4], [2], [1], [0], [0], [2], 2, False),
    (1, 1, [3, 3], [3, 3], [1, 1], [0, 0], [0, 0], [1, 1], 1, True),
    (2, 3, [3, 4], [3, 3], [2, 2], [1, 1], [1, 1], [1, 1], 1, True),
    (2, 4, [3, 3], [2, 2], [2, 2], [0, 0], [0, 0], [1, 1], 2, False),
    (1, 2, [3, 3], [3, 2], [1, 2], [1, 0], [0, 1], [2, 1], 1, False),
    (2, 1, [3, 3], [4, 4], [2, 2], [1, 1], [0, 0], [1, 1], 1, True),
    (1, 2, [2, 3, 2], [2, 2, 2], [2, 1, 2], [0, 1, 0], [1, 0, 0], [1, 1, 1], 1, True),
]


def convolution():
    fam = Family("convolution", 32)
    x = fam.inputs
    for cin, cout, size, kernel, stride, padding, dilation, groups, bias in CONVOLUTIONS:
        n = len(size)
        fn = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[n]
        batch = 1 if n == 3 else 2
        fam.case(f"conv{n}d", fn,
                 [x.uniform([batch, cin, *size], -1, 1), x.uniform([cout, cin // groups, *kernel], -1, 1),
                  x.uniform([cout], -1, 1) if bias else None],
                 {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})
    for cin, cout, size, kernel, stride, padding, outputPadding, dilation, groups, bias in TRANSPOSED:
        n = len(size)
        fn = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[n]
        fam.case(f"convTranspose{n}d",
                 lambda a, w, b, stride, padding, outputPadding, dilation, groups, fn=fn:
                 fn(a, w, b, stride, padding, outputPadding, groups, dilation),
                 [x.uniform([1 if n == 3 else 2, cin, *size], -1, 1), x.uniform([cin, cout // groups, *kernel], -1, 1),
                  x.uniform([cout], -1, 1) if bias else None],
                 {"stride": stride, "padding": padding, "outputPadding": outputPadding, "dilation": dilation, "groups": groups})
    # Without a batch dimension.
    fam.case("conv2d", F.conv2d, [x.uniform([2, 4, 4], -1, 1), x.uniform([2, 2, 3, 3], -1, 1), None],
             {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1})
    return fam


def attention():
    fam = Family("attention", 33)
    x = fam.inputs
    run = lambda q, k, v, mask, isCausal: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=isCausal)
    q, k, v = (lambda t: x.uniform([1, 2, t, 4])), (lambda t: x.uniform([1, 2, t, 4])), (lambda t: x.uniform([1, 2, t, 4]))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        fam.case("scaledDotProductAttention", run, [q(3), k(5), v(5), None], {"isCausal": False})
        fam.case("scaledDotProductAttention", run, [q(4), k(4), v(4), None], {"isCausal": True})
        mask = torch.tensor([[True, False, True], [True, True, False]])
        fam.case("scaledDotProductAttention", run, [q(2), k(3), v(3), mask], {"isCausal": False})
        fam.case("scaledDotProductAttention", run, [q(2), k(3), v(3), x.uniform([2, 3])], {"isCausal": False})
    return fam


FAMILIES = [matmul, convolution, attention]
