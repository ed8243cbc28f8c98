"""Indexing, assignment by index, views and the operations that move elements."""

import torch
import torch.nn.functional as F

from common import Family


def indexing():
    fam = Family("indexing", 21)
    x = fam.inputs
    ix = lambda shape, hi: x.integers(shape, 0, hi)
    gather = lambda a, index, dim: torch.gather(a, dim, index)
    fam.case("gather", gather, [x.uniform([3, 4]), ix([3, 2], 4)], {"dim": 1})
    fam.case("gather", gather, [x.uniform([3, 4]), ix([5, 4], 3)], {"dim": 0})
    fam.case("gather", gather, [x.uniform([2, 3, 4]), ix([2, 2, 3], 3)], {"dim": -2})
    fam.case("gather", gather, [x.uniform([5]), ix([7], 5)], {"dim": 0})
    fam.case("takeAlongDim", lambda a, i, dim: torch.take_along_dim(a, i, dim), [x.uniform([3, 4]), ix([3, 2], 4)], {"dim": 1})
    unique_rows = torch.stack([torch.randperm(4, generator=torch.Generator().manual_seed(i))[:3] for i in range(3)])
    scatter = lambda a, index, src, dim: torch.scatter(a, dim, index, src)
    fam.case("scatter", scatter, [x.uniform([3, 4]), unique_rows, x.uniform([3, 3])], {"dim": 1})
    fam.case("scatter", scatter, [x.uniform([4, 3]), unique_rows.t().contiguous(), x.uniform([3, 3])], {"dim": 0})
    fam.case("scatter", lambda a, index, dim, value: torch.scatter(a, dim, index, value), [x.uniform([3, 4]), unique_rows],
             {"dim": 1, "value": 2.5})
    add = lambda a, index, src, dim: torch.scatter_add(a, dim, index, src)
    fam.case("scatterAdd", add, [x.uniform([3, 4]), ix([3, 5], 4), x.uniform([3, 5])], {"dim": 1})
    fam.case("scatterAdd", add, [x.uniform([3, 4]), ix([6, 4], 3), x.uniform([6, 4])], {"dim": 0})
    fam.case("scatterAdd", add, [x.uniform([4]), ix([9], 4), x.uniform([9])], {"dim": 0})
    reduce = lambda a, index, src, dim, reduce, includeSelf: torch.scatter_reduce(
        a, dim, index, src, reduce=reduce, include_self=includeSelf)
    for how in ("sum", "prod", "mean", "amax", "amin"):
        for include in (True, False):
            attrs = {"dim": 1, "reduce": how, "includeSelf": include}
            fam.case("scatterReduce", reduce, [x.away_from_zero([3, 4], 0.5, 2), ix([3, 5], 4), x.distinct([3, 5], 0.13, 0.11)],
                     attrs)
        fam.case("scatterReduce", reduce, [x.integers([4], 0, 9, torch.int32), ix([7], 4), x.integers([7], 0, 9, torch.int32)],
                 {"dim": 0, "reduce": how, "includeSelf": True}, grads=False)
    select = lambda a, index, dim: torch.index_select(a, dim, index)
    fam.case("indexSelect", select, [x.uniform([3, 4]), ix([5], 4)], {"dim": 1})
    fam.case("indexSelect", select, [x.uniform([3, 4]), ix([2], 3)], {"dim": 0})
    fam.case("indexSelect", select, [x.uniform([2, 3, 4]), ix([4], 3)], {"dim": -2})
    fam.case("indexAdd", lambda a, index, src, dim: torch.index_add(a, dim, index, src),
             [x.uniform([3, 4]), ix([5], 4), x.uniform([3, 5])], {"dim": 1})
    fam.case("indexCopy", lambda a, index, src, dim: torch.index_copy(a, dim, index, src),
             [x.uniform([3, 4]), torch.tensor([2, 0]), x.uniform([3, 2])], {"dim": 1})
    fam.case("indexFill", lambda a, index, dim, value: torch.index_fill(a, dim, index, value),
             [x.uniform([3, 4]), torch.tensor([2, 0])], {"dim": 1, "value": 1.5})
    fam.case("take", torch.take, [x.uniform([3, 4]), ix([2, 5], 12)])
    fam.case("maskedSelect", torch.masked_select, [x.uniform([3, 4]), x.booleans([3, 4])])
    fam.case("maskedSelect", torch.masked_select, [x.uniform([3, 4]), x.booleans([4])])
    fam.case("maskedScatter", torch.masked_scatter, [x.uniform([2, 3]), x.booleans([2, 3]), x.uniform([6])])
    # "index": one entry a dimension; a [start, stop, step] triple is a slice, a tensor an index tensor or mask.
    fam.case("index", lambda a, i, j: a[i, j], [x.uniform([3, 4]), ix([5], 3), ix([5], 4)])
    fam.case("index", lambda a, i, j: a[i, j], [x.uniform([3, 4]), ix([2, 1], 3), ix([3], 4)])
    fam.case("index", lambda a, i: a[i], [x.uniform([3, 4]), torch.tensor([-1, 0, 0, 2])])
    fam.case("index", lambda a, m: a[m], [x.uniform([3, 4]), torch.tensor([True, False, True])])
    fam.case("index", lambda a, i, j: a[i, j], [x.uniform([3, 4, 2]), ix([5], 3), ix([5], 4)])
    for accumulate in (False, True):
        index = [torch.tensor([0, 2, 1]), torch.tensor([3, 0, 1])] if not accumulate else [ix([6], 3), ix([6], 4)]
        fam.case("indexPut", lambda a, i, j, v, accumulate: torch.index_put(a, (i, j), v, accumulate),
                 [x.uniform([3, 4]), *index, x.uniform([len(index[0])])], {"accumulate": accumulate})
    embedding = lambda index, w, paddingIdx=None: F.embedding(index, w, padding_idx=paddingIdx)
    fam.case("embedding", embedding, [ix([2, 5], 6), x.uniform([6, 3])])
    fam.case("embedding", embedding, [ix([7], 4), x.uniform([4, 2])], {"paddingIdx": 1})
    fam.case("oneHot", lambda a, numClasses: F.one_hot(a, numClasses), [ix([2, 3], 4)], {"numClasses": 5}, grads=False)
    return fam


def _slice(a, slices):
    """A slice with a negative step, which PyTorch itself lacks, as the same elements by index."""
    for d, (start, stop, step) in enumerate(slices):
        picked = list(range(a.shape[d]))[slice(start, stop, step)]
        a = a.index_select(d, torch.tensor(picked, dtype=torch.int64))
    return a


def shape():
    fam = Family("shape", 22)
    x = fam.inputs
    fam.case("slice", _slice, [x.uniform([5, 6])], {"slices": [[1, 4, 1], [None, None, 2]]})
    fam.case("slice", _slice, [x.uniform([5, 6])], {"slices": [[None, None, -1], [None, 1, -2]]})
    fam.case("slice", _slice, [x.uniform([5, 6])], {"slices": [[-3, None, 1], [4, 0, -3]]})
    fam.case("slice", _slice, [x.uniform([7])], {"slices": [[10, None, -3]]})
    fam.case("reshape", lambda a, shape: a.reshape(shape), [x.uniform([2, 6])], {"shape": [3, -1]})
    fam.case("permute", lambda a, dims: a.permute(dims), [x.uniform([2, 3, 4])], {"dims": [2, 0, 1]})
    fam.case("transpose", lambda a, dim0, dim1: a.transpose(dim0, dim1), [x.uniform([2, 3, 4])], {"dim0": 0, "dim1": -1})
    fam.case("expand", lambda a, shape: a.expand(shape), [x.uniform([3, 1])], {"shape": [2, -1, 4]})
    fam.case("squeeze", lambda a: a.squeeze(), [x.uniform([1, 3, 1])])
    fam.case("squeeze", lambda a, dim: a.squeeze(dim), [x.uniform([1, 3, 1])], {"dim": -1})
    fam.case("unsqueeze", lambda a, dim: a.unsqueeze(dim), [x.uniform([2, 3])], {"dim": -1})
    fam.case("flatten", lambda a, startDim, endDim: a.flatten(startDim, endDim), [x.uniform([2, 3, 2, 2])],
             {"startDim": 1, "endDim": 2})
    fam.case("movedim", lambda a, source, destination: a.movedim(source, destination), [x.uniform([2, 3, 4])],
             {"source": 0, "destination": 2})
    fam.case("diagonal", lambda a, offset, dim1, dim2: a.diagonal(offset, dim1, dim2), [x.uniform([3, 4])],
             {"offset": 1, "dim1": 0, "dim2": 1})
    fam.case("diag", torch.diag, [x.uniform([3])], {"diagonal": 1})
    fam.case("diag", torch.diag, [x.uniform([3, 4])], {"diagonal": -1})
    fam.case("unfold", lambda a, dim, size, step: a.unfold(dim, size, step), [x.uniform([2, 7])],
             {"dim": 1, "size": 3, "step": 2})
    concat = lambda tensors, dim: torch.cat(tensors, dim)
    fam.case("concat", concat, [[x.uniform([2, 3]), x.uniform([1, 3]), x.uniform([3, 3])]], {"dim": 0})
    fam.case("concat", concat, [[x.uniform([2, 3]), x.uniform([2, 1])]], {"dim": -1})
    fam.case("concat", concat, [[x.uniform([2]), x.integers([3], 0, 9, torch.int32)]], {"dim": 0}, grads=False)
    fam.case("stack", lambda tensors, dim: torch.stack(tensors, dim), [[x.uniform([2, 3]), x.uniform([2, 3])]], {"dim": 1})
    fam.case("stack", lambda tensors, dim: torch.stack(tensors, dim), [[x.uniform([2]), x.uniform([2])]], {"dim": -1})
    fam.case("split", lambda a, size, dim: torch.split(a, size, dim), [x.uniform([5, 2])], {"size": 2, "dim": 0})
    fam.case("split", lambda a, size, dim: torch.split(a, size, dim), [x.uniform([2, 6])], {"size": [1, 3, 2], "dim": 1})
    fam.case("chunk", lambda a, chunks, dim: torch.chunk(a, chunks, dim), [x.uniform([7])], {"chunks": 3, "dim": 0})
    fam.case("flip", torch.flip, [x.uniform([2, 3, 2])], {"dims": [0, 2]})
    fam.case("flip", torch.flip, [x.uniform([5])], {"dims": [0]})
    fam.case("roll", lambda a, shifts, dims=None: torch.roll(a, shifts, dims), [x.uniform([3, 4])], {"shifts": [1, -2], "dims": [0, 1]})
    fam.case("roll", lambda a, shifts, dims=None: torch.roll(a, shifts, dims), [x.uniform([2, 3])], {"shifts": 2})
    fam.case("tile", lambda a, repeats: torch.tile(a, tuple(repeats)), [x.uniform([2, 3])], {"repeats": [2, 1, 2]})
    fam.case("tile", lambda a, repeats: torch.tile(a, tuple(repeats)), [x.uniform([3])], {"repeats": [3]})
    fam.case("repeatInterleave", lambda a, repeats, dim: torch.repeat_interleave(a, repeats, dim), [x.uniform([2, 3])],
             {"repeats": 2, "dim": 1})
    fam.case("repeatInterleave", lambda a, repeats, dim: torch.repeat_interleave(a, torch.tensor(repeats), dim),
             [x.uniform([3, 2])], {"repeats": [1, 0, 3], "dim": 0})
    for diagonal in (0, 1, -1):
        fam.case("tril", torch.tril, [x.uniform([3, 4])], {"diagonal": diagonal})
        fam.case("triu", torch.triu, [x.uniform([2, 3, 3])], {"diagonal": diagonal})
    return fam


def creation():
    fam = Family("creation", 23)
    for start, end, step in ((0, 5, 1), (1, 10, 3), (5, 0, -2)):
        fam.case("arange", torch.arange, [start, end, step], grads=False)
    fam.case("arange", torch.arange, [0.0, 1.05, 0.25], grads=False)
    for start, end, steps in ((0, 1, 5), (-2, 3, 7), (1, 1, 1), (3, -1, 4)):
        fam.case("linspace", torch.linspace, [start, end, steps], grads=False)
    fam.case("eye", torch.eye, [3, 4], grads=False)
    return fam


FAMILIES = [indexing, shape, creation]
