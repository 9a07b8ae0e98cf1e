"""Writes golden.bin: random blocks of every storage and the values that the `gguf` package reads from them.

For each storage, in the order of `Storage::ALL`: the bytes of 256 weights, then the 256 values as f32. Then 256
weights as f32 and, for each of QUANTIZED, the bytes that the package makes of them. All little endian, no padding.

    pip install gguf numpy && python make.py
"""

from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

WEIGHTS = 256
STORAGES = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0,
            T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS]
QUANTIZED = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0]
# Where the half precision scales of a block lie; everything else may be any byte.
HALVES = {T.F16: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
          T.IQ4_NL: [0], T.IQ4_XS: [0]}


def random_blocks(rng, storage):
    """Random bytes, but no scale that is infinite or NaN (whose payload bits are nobody's promise)."""
    block_len, block_bytes = GGML_QUANT_SIZES[storage]
    blocks = rng.integers(0, 256, (WEIGHTS // block_len, block_bytes), dtype=np.uint8)
    for at in HALVES.get(storage, []):
        high = blocks[:, at + 1]
        high[(high & 0x7C) == 0x7C] ^= 0x40
    if storage in (T.F32, T.BF16):
        blocks[:, -1] &= 0xBF  # exponents below 128
    return blocks


def main():
    rng = np.random.default_rng(20240229)
    out = b""
    for storage in STORAGES:
        blocks = random_blocks(rng, storage)
        values = dequantize(blocks, storage).astype("<f4").ravel()
        assert values.size == WEIGHTS and np.isfinite(values).all(), storage
        out += blocks.tobytes() + values.tobytes()
    weights = rng.standard_normal(WEIGHTS).astype("<f4")
    weights[32:64] = 0.0
    out += weights.tobytes()
    for storage in QUANTIZED:
        out += quantize(weights, storage).tobytes()
    Path(__file__).with_name("golden.bin").write_bytes(out)


if __name__ == "__main__":
    main()
