"""Writes small.gguf and small.safetensors with the reference packages of the two formats.

    pip install gguf numpy safetensors && python make.py
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.numpy import save_file

HERE = Path(__file__).parent
MATRIX = np.arange(15, dtype=np.float32).reshape(3, 5)
HALVES = np.array([1.0, 0.5, -2.0], dtype=np.float16)


def write_gguf():
    """Every kind of value, and three tensors in three storages."""
    w = GGUFWriter(HERE / "small.gguf", "small")
    w.add_uint8("a.u8", 200)
    w.add_int8("a.i8", -100)
    w.add_uint16("a.u16", 60_000)
    w.add_int16("a.i16", -30_000)
    w.add_uint32("a.u32", 4_000_000_000)
    w.add_int32("a.i32", -2_000_000_000)
    w.add_uint64("a.u64", 1 << 63)
    w.add_int64("a.i64", -(1 << 62))
    w.add_float32("a.f32", 0.1)
    w.add_float64("a.f64", 0.1)
    w.add_bool("a.bool", True)
    w.add_array("a.i32s", [1, -2, 3])
    w.add_array("a.f32s", [0.5, -1.5])
    w.add_array("a.bools", [True, False])
    w.add_array("a.strings", ["", "a", "\u2581word"])
    w.add_tensor("matrix", MATRIX)
    w.add_tensor("halves", HALVES)
    blocks = np.arange(2 * 34, dtype=np.uint8).reshape(2, 34)
    w.add_tensor("blocks", blocks, raw_dtype=GGMLQuantizationType.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_safetensors():
    """Two weights, and a buffer of integers as transformers saves it."""
    tensors = {"matrix": MATRIX, "halves": HALVES, "position_ids": np.arange(4, dtype=np.int64).reshape(1, 4)}
    save_file(tensors, HERE / "small.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    write_gguf()
    write_safetensors()
