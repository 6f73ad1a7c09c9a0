"""The block formats of quantised weights in numpy: to_float(name, bytes) and from_float(name, values).

An oracle for src/tensor/blocks.cpp, written from the formats' definitions and sharing nothing with it, and what
tools/export_gguf.py quantises with. Values are float32 arrays [rows, columns], blocks uint8 arrays [rows, bytes].
Rounding is plain: scales from the extremes of a group, codes to the nearest.

Sources: github.com/ggml-org/ggml, src/ggml-common.h (layouts); OCP Microscaling Formats 1.0 (MXFP4).
"""
import numpy as np

F32 = np.float32
# name: (number in GGUF or none, elements of a block, bytes of a block)
FORMATS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
           "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110),
           "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
           "BF16": (30, 1, 2), "MXFP4": (39, 32, 17), "Q4_Z": (None, 32, 19), "Q8_F": (None, 32, 36),
           "Q8_Z": (None, 32, 35), "FP8": (None, 128, 132)}
IQ4_TABLE = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], F32)
# E4M3 times 512, whole numbers; what stands for no number elsewhere is 480 times 512 here.
FP8_WHOLE = np.array([(-1 if b & 128 else 1) * ((b & 7) if not b >> 3 & 15 else (8 + (b & 7)) << ((b >> 3 & 15) - 1))
                      for b in range(256)], F32)
FP4_TABLE = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], F32)


# ---- fields of blocks; b: [blocks, bytes] ----

def half(b, at):
    return b[:, at:at + 2].copy().view(np.float16).astype(F32)


def put_half(b, at, values):
    b[:, at:at + 2] = values.astype(np.float16).reshape(-1, 1).view(np.uint8)


def rounded_half(values):
    return values.astype(np.float16).astype(F32)


def nibbles(b, at, count=16):
    """Element i in the low half of byte i, element count + i in its high half."""
    part = b[:, at:at + count]
    return np.concatenate([part & 15, part >> 4], axis=1).astype(np.int32)


def put_nibbles(b, at, codes):
    count = codes.shape[1] // 2
    b[:, at:at + count] = codes[:, :count] | (codes[:, count:] << 4)


def bits32(b, at):
    return np.unpackbits(b[:, at:at + 4], axis=1, bitorder="little").astype(np.int32)


def put_bits32(b, at, bits):
    b[:, at:at + 4] = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")


# ---- blocks to values ----

def q4_0(b):
    return (nibbles(b, 2) - 8).astype(F32) * half(b, 0)


def q4_1(b):
    return nibbles(b, 4).astype(F32) * half(b, 0) + half(b, 2)


def q5_0(b):
    return ((nibbles(b, 6) | bits32(b, 2) << 4) - 16).astype(F32) * half(b, 0)


def q5_1(b):
    return (nibbles(b, 8) | bits32(b, 4) << 4).astype(F32) * half(b, 0) + half(b, 2)


def q8_0(b):
    return b[:, 2:34].copy().view(np.int8).astype(F32) * half(b, 0)


def iq4_nl(b):
    return IQ4_TABLE[nibbles(b, 2)] * half(b, 0)


def mxfp4(b):
    return np.ldexp(FP4_TABLE[nibbles(b, 1)], b[:, :1].astype(np.int32) - 127).astype(F32)


def q4_z(b):
    return nibbles(b, 3).astype(F32) * half(b, 0) - half(b, 0) * b[:, 2:3].astype(F32)


def q8_f(b):
    return b[:, 4:36].copy().view(np.int8).astype(F32) * b[:, :4].copy().view(F32)


def q8_z(b):
    zero = b[:, 2:3].astype(F32) - F32(128)
    return b[:, 3:35].copy().view(np.int8).astype(F32) * half(b, 0) - half(b, 0) * zero


def fp8(b):
    return FP8_WHOLE[b[:, 4:132]] * (b[:, :4].copy().view(F32) / F32(512))


def pairs_of_bits(part):
    """[blocks, 32 n] bytes as [blocks, n, 4, 32]: four runs of 32 elements lie in 32 bytes."""
    runs = part.reshape(len(part), -1, 1, 32)
    return (runs >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)) & 3


def q2_k(b):
    codes = pairs_of_bits(b[:, 16:80]).reshape(len(b), 16, 16).astype(F32)
    scale = half(b, 80) * (b[:, :16] & 15).astype(F32)
    least = half(b, 82) * (b[:, :16] >> 4).astype(F32)
    return (scale[:, :, None] * codes - least[:, :, None]).reshape(len(b), 256)


def q3_k(b):
    low = pairs_of_bits(b[:, 32:96]).reshape(len(b), 256).astype(np.int32)
    third = np.stack([(b[:, :32] >> k) & 1 for k in range(8)], axis=1).reshape(len(b), 256).astype(np.int32)
    codes = (low + 4 * third - 4).astype(F32).reshape(len(b), 16, 16)
    s = b[:, 96:108].astype(np.int32)
    six = np.concatenate([s[:, :8] & 15, s[:, :8] >> 4], axis=1)
    six |= np.concatenate([(s[:, 8:] >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1) << 4
    return (half(b, 108) * (six - 32).astype(F32))[:, :, None].repeat(16, 2).reshape(len(b), 256) * \
        codes.reshape(len(b), 256)


def six_bits(b):
    """Scales and offsets of eight groups in bytes 4 to 15."""
    first, second, mixed = (b[:, at:at + 4].astype(np.int32) for at in (4, 8, 12))
    scale = np.concatenate([first & 63, (mixed & 15) | (first >> 6) << 4], axis=1)
    least = np.concatenate([second & 63, (mixed >> 4) | (second >> 6) << 4], axis=1)
    return half(b, 0) * scale.astype(F32), half(b, 2) * least.astype(F32)


def k_with_offsets(b, codes):
    scale, least = six_bits(b)
    return (scale[:, :, None] * codes.reshape(len(b), 8, 32).astype(F32) - least[:, :, None]).reshape(len(b), 256)


def runs_of_nibbles(b, at, bytes_of_run):
    count = 128 // bytes_of_run
    return np.concatenate([nibbles(b, at + k * bytes_of_run, bytes_of_run) for k in range(count)], axis=1)


def q4_k(b):
    return k_with_offsets(b, runs_of_nibbles(b, 16, 32))


def q5_k(b):
    fifth = np.concatenate([(b[:, 16:48] >> k) & 1 for k in range(8)], axis=1).astype(np.int32)
    return k_with_offsets(b, runs_of_nibbles(b, 48, 32) + 16 * fifth)


def q6_k(b):
    high = pairs_of_bits(b[:, 128:192]).reshape(len(b), 256).astype(np.int32)
    codes = (runs_of_nibbles(b, 0, 64) + 16 * high - 32).astype(F32)
    scale = half(b, 208) * b[:, 192:208].copy().view(np.int8).astype(F32)
    return scale.repeat(16, axis=1) * codes


READERS = {"Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0, "Q2_K": q2_k, "Q3_K": q3_k,
           "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k, "IQ4_NL": iq4_nl, "MXFP4": mxfp4, "Q4_Z": q4_z, "Q8_F": q8_f,
           "Q8_Z": q8_z, "FP8": fp8}


def to_float(name, rows):
    if name == "F32":
        return rows.copy().view(F32)
    if name == "F16":
        return rows.copy().view(np.float16).astype(F32)
    if name == "BF16":
        return (rows.copy().view(np.uint16).astype(np.uint32) << 16).view(F32)
    _, elements, size = FORMATS[name]
    blocks = np.ascontiguousarray(rows).reshape(-1, size)
    with np.errstate(over="ignore", invalid="ignore"):
        return READERS[name](blocks).reshape(len(rows), -1)


# ---- values to blocks; x: [blocks, elements] ----

def divided(x, by):
    return np.divide(x, by, out=np.zeros_like(x), where=by != 0)


def codes_of(x, scale, least, highest):
    return np.clip(np.rint(divided(x, np.broadcast_to(scale, x.shape))), least, highest).astype(np.int32)


def extreme(x):
    """The element of largest magnitude, with its sign."""
    return np.take_along_axis(x, np.abs(x).argmax(axis=-1)[..., None], -1)


def nearest_of(x, table):
    order = np.argsort(table, kind="stable")
    middles = (table[order][1:] + table[order][:-1]) / 2
    return order[np.searchsorted(middles, x)]


def to_q4_0(x, b):
    scale = extreme(x) / F32(-8)
    put_half(b, 0, scale)
    put_nibbles(b, 2, codes_of(x, scale, -8, 7) + 8)


def to_q5_0(x, b):
    scale = extreme(x) / F32(-16)
    put_half(b, 0, scale)
    codes = codes_of(x, scale, -16, 15) + 16
    put_bits32(b, 2, codes >> 4)
    put_nibbles(b, 6, codes & 15)


def with_least(x, steps):
    least = x.min(axis=-1, keepdims=True)
    return (x.max(axis=-1, keepdims=True) - least) / F32(steps), least


def to_q4_1(x, b):
    scale, least = with_least(x, 15)
    put_half(b, 0, scale)
    put_half(b, 2, least)
    put_nibbles(b, 4, codes_of(x - least, scale, 0, 15))


def to_q5_1(x, b):
    scale, least = with_least(x, 31)
    put_half(b, 0, scale)
    put_half(b, 2, least)
    codes = codes_of(x - least, scale, 0, 31)
    put_bits32(b, 4, codes >> 4)
    put_nibbles(b, 8, codes & 15)


def to_q8_0(x, b):
    scale = np.abs(x).max(axis=-1, keepdims=True) / F32(127)
    put_half(b, 0, scale)
    b[:, 2:] = codes_of(x, scale, -127, 127).astype(np.int8).view(np.uint8)


def to_iq4_nl(x, b):
    scale = np.abs(x).max(axis=-1, keepdims=True) / F32(127)
    put_half(b, 0, scale)
    put_nibbles(b, 2, nearest_of(divided(x, np.broadcast_to(scale, x.shape)), IQ4_TABLE))


def to_mxfp4(x, b):
    largest = np.maximum(np.abs(x).max(axis=-1, keepdims=True), F32(2) ** -100)
    power = np.floor(np.log2(largest)).astype(np.int32) - 2
    b[:, :1] = power + 127
    put_nibbles(b, 1, nearest_of(np.ldexp(x, -power), FP4_TABLE) % 16)


def to_q4_z(x, b):
    least = np.minimum(x.min(axis=-1, keepdims=True), 0)
    scale = rounded_half((np.maximum(x.max(axis=-1, keepdims=True), 0) - least) / F32(15))
    put_half(b, 0, scale)
    zero = codes_of(-least, scale, 0, 15)
    b[:, 2:3] = zero
    put_nibbles(b, 3, np.clip(codes_of(x, scale, -15, 15) + zero, 0, 15))


def to_q8_z(x, b):
    least = np.minimum(x.min(axis=-1, keepdims=True), 0)
    scale = rounded_half((np.maximum(x.max(axis=-1, keepdims=True), 0) - least) / F32(255))
    put_half(b, 0, scale)
    zero = codes_of(-least, scale, 0, 255)
    b[:, 2:3] = zero
    b[:, 3:] = (np.clip(codes_of(x, scale, -255, 255) + zero, 0, 255) - 128).astype(np.int8).view(np.uint8)


def to_q8_f(x, b):
    scale = np.abs(x).max(axis=-1, keepdims=True) / F32(127)
    b[:, :4] = scale.astype(F32).view(np.uint8)
    b[:, 4:] = codes_of(x, scale, -127, 127).astype(np.int8).view(np.uint8)


def to_fp8(x, b):
    scale = np.maximum(np.abs(x).max(axis=-1, keepdims=True) / F32(448), F32(1e-30))
    b[:, :4] = scale.astype(F32).view(np.uint8)
    positive = FP8_WHOLE[:127]  # ascending
    wanted = np.abs(x) / scale * F32(512)
    codes = np.searchsorted((positive[1:] + positive[:-1]) / 2, wanted)
    b[:, 4:] = codes.astype(np.uint8) | (x < 0).astype(np.uint8) << 7


def scales_and_leasts(x, group, steps, largest):
    """Groups with offsets: the block's two factors, and whole scales and offsets up to `largest`."""
    groups = x.reshape(len(x), -1, group)
    least = np.maximum(-groups.min(axis=-1), 0)
    scale = (groups.max(axis=-1) + least) / F32(steps)
    factors = [rounded_half(v.max(axis=-1, keepdims=True) / F32(largest)) for v in (scale, least)]
    whole = [codes_of(v, f, 0, largest) for v, f in zip((scale, least), factors)]
    step, offset = (f * w.astype(F32) for f, w in zip(factors, whole))
    codes = codes_of(groups + offset[:, :, None], step[:, :, None], 0, steps)
    return factors, whole, codes


def to_q2_k(x, b):
    factors, (scale, least), codes = scales_and_leasts(x, 16, 3, 15)
    b[:, :16] = scale | least << 4
    runs = codes.reshape(len(x), 2, 4, 32)
    b[:, 16:80] = sum(runs[:, :, k] << 2 * k for k in range(4)).reshape(len(x), 64)
    put_half(b, 80, factors[0])
    put_half(b, 82, factors[1])


def put_six_bits(b, factors, scale, least):
    put_half(b, 0, factors[0])
    put_half(b, 2, factors[1])
    b[:, 4:8] = scale[:, :4] | scale[:, 4:] >> 4 << 6
    b[:, 8:12] = least[:, :4] | least[:, 4:] >> 4 << 6
    b[:, 12:16] = (scale[:, 4:] & 15) | (least[:, 4:] & 15) << 4


def put_runs(b, at, codes, bytes_of_run):
    for k in range(128 // bytes_of_run):
        put_nibbles(b, at + k * bytes_of_run, codes[:, 2 * k * bytes_of_run:2 * (k + 1) * bytes_of_run])


def to_q4_k(x, b):
    factors, (scale, least), codes = scales_and_leasts(x, 32, 15, 63)
    put_six_bits(b, factors, scale, least)
    put_runs(b, 16, codes.reshape(len(x), 256), 32)


def to_q5_k(x, b):
    factors, (scale, least), codes = scales_and_leasts(x, 32, 31, 63)
    put_six_bits(b, factors, scale, least)
    codes = codes.reshape(len(x), 8, 32)
    b[:, 16:48] = sum((codes[:, k] >> 4) << k for k in range(8))
    put_runs(b, 48, (codes & 15).reshape(len(x), 256), 32)


def signed_scales(x, least_code, lowest, highest):
    """Groups of 16 without offsets: the block's factor, whole scales, codes."""
    groups = x.reshape(len(x), 16, 16)
    scale = extreme(groups)[:, :, 0] / F32(least_code)
    factor = rounded_half(extreme(scale) / F32(lowest))
    whole = codes_of(scale, factor, lowest, highest)
    step = factor * whole.astype(F32)
    return factor, whole, codes_of(groups, step[:, :, None], least_code, -least_code - 1)


def to_q3_k(x, b):
    factor, whole, codes = signed_scales(x, -4, -32, 31)
    codes = codes.reshape(len(x), 256) + 4
    third = (codes >> 2).reshape(len(x), 8, 32)
    b[:, :32] = sum(third[:, k] << k for k in range(8))
    runs = (codes & 3).reshape(len(x), 2, 4, 32)
    b[:, 32:96] = sum(runs[:, :, k] << 2 * k for k in range(4)).reshape(len(x), 64)
    six = whole + 32
    b[:, 96:104] = (six[:, :8] & 15) | (six[:, 8:] & 15) << 4
    b[:, 104:108] = sum((six[:, 4 * k:4 * k + 4] >> 4) << 2 * k for k in range(4))
    put_half(b, 108, factor)


def to_q6_k(x, b):
    factor, whole, codes = signed_scales(x, -32, -128, 127)
    codes = codes.reshape(len(x), 256) + 32
    put_runs(b, 0, codes & 15, 64)
    runs = (codes >> 4).reshape(len(x), 2, 4, 32)
    b[:, 128:192] = sum(runs[:, :, k] << 2 * k for k in range(4)).reshape(len(x), 64)
    b[:, 192:208] = whole.astype(np.int8).view(np.uint8)
    put_half(b, 208, factor)


WRITERS = {"Q4_0": to_q4_0, "Q4_1": to_q4_1, "Q5_0": to_q5_0, "Q5_1": to_q5_1, "Q8_0": to_q8_0, "Q2_K": to_q2_k,
           "Q3_K": to_q3_k, "Q4_K": to_q4_k, "Q5_K": to_q5_k, "Q6_K": to_q6_k, "IQ4_NL": to_iq4_nl,
           "MXFP4": to_mxfp4, "Q4_Z": to_q4_z, "Q8_F": to_q8_f, "Q8_Z": to_q8_z, "FP8": to_fp8}


def from_float(name, values):
    values = np.ascontiguousarray(values, F32)
    if name == "F32":
        return values.view(np.uint8)
    if name == "F16":
        return values.astype(np.float16).view(np.uint8)
    if name == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16).view(np.uint8)
    _, elements, size = FORMATS[name]
    blocks = np.zeros((values.size // elements, size), np.uint8)
    WRITERS[name](values.reshape(-1, elements), blocks)
    return blocks.reshape(len(values), -1)
