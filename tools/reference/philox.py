"""Philox4x32-10 in NumPy, in the layout of `trireme/data`: the same numbers, bit for bit."""

import numpy as np

TENSOR, PERMUTATION, SPLIT, AUGMENTATION, ITEM, SAMPLING = range(6)


def blocks(indices, seed, stream, domain):
    """The four words of each element: uint64 arrays below 2^32."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    i = np.asarray(indices, dtype=np.uint64)
    x = [i & low, i >> shift, np.full_like(i, stream), np.full_like(i, domain)]
    key = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    for _ in range(10):
        a = np.uint64(0xD2511F53) * x[0]
        b = np.uint64(0xCD9E8D57) * x[2]
        x = [
            (b >> shift) ^ x[1] ^ np.uint64(key[0]),
            b & low,
            (a >> shift) ^ x[3] ^ np.uint64(key[1]),
            a & low,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x


def uniform(n, seed, low=0.0, high=1.0, stream=0):
    """`uniformArray`: n float32 numbers in [low, high)."""
    words = blocks(np.arange(n), seed, stream, TENSOR)
    u = (words[0] >> np.uint64(8)).astype(np.float64) * 2.0**-24
    return (low + (high - low) * u).astype(np.float32)


def below(count, limit, seed, stream=0, domain=SAMPLING):
    """`PhiloxStream.below` of elements 0 .. count-1: int64 from 0 to limit-1."""
    words = blocks(np.arange(count), seed, stream, domain)
    bits = (words[0] >> np.uint64(5)) * np.uint64(2**26) + (words[1] >> np.uint64(6))
    return np.floor(bits.astype(np.float64) * 2.0**-53 * limit).astype(np.int64)
