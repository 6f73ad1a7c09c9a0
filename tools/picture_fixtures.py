#!/usr/bin/env python3
"""Writes tests/media/pictures/: small picture files of every kind, each with the pixels that Pillow reads from it (.ppm).

    .venv/bin/python tools/picture_fixtures.py            writes them
    .venv/bin/python tools/picture_fixtures.py --check    whether Pillow reads the committed files so

The pixels are Image.open(file), ImageOps.exif_transpose, convert("RGB"). What Pillow cannot write (interlaced PNG, odd
GIF) is put together here. For 16-bit grey, where Pillow cuts off above 255, the expected pixels are the upper bytes.
"""
import io
import pathlib
import struct
import sys
import warnings
import zlib

try:
    import numpy as np
    from PIL import Image, ImageOps
except ImportError as missing:
    print(f"skipped: {missing}; run ./setup.sh --test")
    sys.exit(77)

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "media" / "pictures"


def scene(width, height, channels=3, seed=0):
    """Smooth in places, busy in others, and not symmetric in any way."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (9 + 4 * c) + y * (15 - 5 * c) + 40 * c) % 256 for c in range(channels)]
    picture = np.stack(planes, -1).astype(np.uint8)
    noise = np.random.default_rng(seed).integers(0, 256, (height // 2, width // 2, channels), dtype=np.uint8)
    picture[: height // 2, : width // 2] = noise
    return picture


def encoded(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


# PNG ---------------------------------------------------------------------------------------------------------------

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed_rows(samples, depth):
    """[height, width, channels] -> rows with a filter byte of 0."""
    rows = b""
    for row in samples:
        flat = row.reshape(-1)
        if depth == 16:
            data = flat.astype(">u2").tobytes()
        else:
            bits = "".join(format(int(value), f"0{depth}b") for value in flat)
            bits += "0" * (-len(bits) % 8)
            data = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        rows += b"\0" + data
    return rows


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, depth, colour_type, before=b"", after=b"", interlaced=False):
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        data = b"".join(packed_rows(part, depth) for part in parts if part.size)
    else:
        data = packed_rows(samples, depth)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data, 9)) + after
            + chunk(b"IEND", b""))


def png_files():
    random = np.random.default_rng(7)
    palette = random.integers(0, 256, (256, 3), dtype=np.uint8)
    for interlaced in (False, True):
        suffix = "_interlaced" if interlaced else ""
        for depth in (1, 2, 4, 8, 16):
            grey = random.integers(0, 1 << depth, (9, 13, 1))
            yield f"grey{depth}{suffix}.png", png(grey, depth, 0, interlaced=interlaced)
        for depth in (1, 2, 4, 8):
            indices = random.integers(0, 1 << depth, (9, 13, 1))
            colours = chunk(b"PLTE", palette[: 1 << depth].tobytes())
            clear = chunk(b"tRNS", bytes(range(0, 1 << min(depth, 3))))
            yield f"palette{depth}{suffix}.png", png(indices, depth, 3, colours + clear, interlaced=interlaced)
        for depth in (8, 16):
            for name, colour_type, channels in (("grey_alpha", 4, 2), ("rgb", 2, 3), ("rgba", 6, 4)):
                samples = random.integers(0, 1 << depth, (7, 11, channels))
                yield f"{name}{depth}{suffix}.png", png(samples, depth, colour_type, interlaced=interlaced)
    indices = random.integers(0, 256, (9, 13, 1))
    yield "palette_short.png", png(indices, 8, 3, chunk(b"PLTE", palette[:10].tobytes()))
    yield "grey_transparent.png", png(indices, 8, 0, chunk(b"tRNS", b"\0\x40"))
    samples = random.integers(0, 256, (7, 11, 3))
    extras = (chunk(b"gAMA", struct.pack(">I", 200000)) + chunk(b"iCCP", b"p\0\0" + zlib.compress(b"garbage"))
              + chunk(b"tRNS", struct.pack(">HHH", *samples[0, 0])) + chunk(b"zTXt", b"k\0\0garbage")
              + chunk(b"tEXt", b"Comment\0text"))
    yield "rgb_extras.png", png(samples, 8, 2, extras)
    yield "exif_before.png", png(samples, 8, 2, before=chunk(b"eXIf", exif(6)))
    yield "exif_after.png", png(samples, 8, 2, after=chunk(b"eXIf", exif(8, big=True)))
    yield "filters.png", encoded(Image.fromarray(scene(24, 18)), "PNG")
    yield "animated.png", encoded(Image.fromarray(scene(12, 10)), "PNG", save_all=True,
                                  append_images=[Image.fromarray(scene(12, 10, seed=1))])


# EXIF, JPEG --------------------------------------------------------------------------------------------------------

def exif(orientation, big=False, kind=3, count=1):
    order = ">" if big else "<"
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else struct.pack(order + "I", orientation)
    entries = [struct.pack(order + "HHI4s", 0x0100, 3, 1, b"\1\0\0\0"),
               struct.pack(order + "HHI4s", 0x0112, kind, count, value)]
    return ((b"MM\0*" if big else b"II*\0") + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries)
            + b"\0\0\0\0")


def jpeg_files():
    picture = Image.fromarray(scene(19, 13))
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"rgb{name}.jpg", encoded(picture, "JPEG", quality=90, subsampling=subsampling)
    yield "progressive.jpg", encoded(picture, "JPEG", progressive=True, icc_profile=b"garbage")
    yield "restarts.jpg", encoded(picture, "JPEG", restart_marker_blocks=1)
    yield "kept_rgb.jpg", encoded(picture, "JPEG", keep_rgb=True)
    yield "grey.jpg", encoded(picture.convert("L"), "JPEG")
    inks = encoded(Image.fromarray(scene(19, 13, 4), "CMYK"), "JPEG", quality=90)
    yield "cmyk.jpg", inks
    adobe = inks.index(b"Adobe")
    yield "ycck.jpg", inks[: adobe + 11] + b"\2" + inks[adobe + 12:]  # the transform that the marker tells
    yield "cmyk_plain.jpg", inks[: adobe - 4] + inks[adobe + 12:]  # without the marker
    yield "cmyk_progressive.jpg", encoded(Image.fromarray(scene(19, 13, 4), "CMYK"), "JPEG", progressive=True)
    held = Image.fromarray(scene(13, 8))
    for orientation in range(1, 9):
        yield f"exif{orientation}.jpg", encoded(held, "JPEG", exif=b"Exif\0\0" + exif(orientation))
    strange = {"big": exif(6, big=True), "long": exif(5, kind=4), "nine": exif(9), "zero": exif(0),
               "two_values": exif(6, count=2), "cut": exif(6)[:30], "far": b"II*\0\xff\xff\xff\xff",
               "letters": b"garbage", "empty": b""}
    for name, data in strange.items():
        yield f"exif_{name}.jpg", encoded(held, "JPEG", exif=b"Exif\0\0" + data)


# WebP --------------------------------------------------------------------------------------------------------------

def riff(*chunks):
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
                              for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def uint24(value):
    return struct.pack("<I", value)[:3]


def webp_files():
    picture, clear = Image.fromarray(scene(19, 13)), Image.fromarray(scene(19, 13, 4))
    yield "lossy.webp", encoded(picture, "WEBP", quality=80)
    yield "lossless.webp", encoded(picture, "WEBP", lossless=True)
    yield "lossy_alpha.webp", encoded(clear, "WEBP", quality=80)
    yield "lossless_alpha.webp", encoded(clear, "WEBP", lossless=True, exact=True)
    yield "exif.webp", encoded(picture, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(7))
    yield "exif_plain.webp", encoded(picture, "WEBP", quality=80, exif=exif(5))
    yield "exif_garbage.webp", encoded(picture, "WEBP", lossless=True, exif=b"garbage")
    yield "animated.webp", encoded(picture, "WEBP", lossless=True, save_all=True,
                                   append_images=[Image.fromarray(scene(19, 13, seed=1))])
    small = encoded(Image.fromarray(scene(9, 7, 4)), "WEBP", lossless=True, exact=True)
    bitstream = small[20:20 + struct.unpack("<I", small[16:20])[0]]
    frame = (uint24(2), uint24(1), uint24(8), uint24(6), uint24(100), b"\0")  # at (4, 2)
    yield "animated_offset.webp", riff(
        (b"VP8X", b"\x12\0\0\0" + uint24(18) + uint24(12)), (b"ANIM", b"\x40\x80\xc0\xff\0\0"),
        (b"ANMF", b"".join(frame) + b"VP8L" + struct.pack("<I", len(bitstream)) + bitstream
         + b"\0" * (len(bitstream) % 2)))


# GIF ---------------------------------------------------------------------------------------------------------------

def lzw(indices):
    """Codes of nine bits, never compressed: a clear code comes before they would grow."""
    bits, count, out = 0, 0, bytearray()
    codes = []
    for i, index in enumerate(indices):
        codes += ([256] if i % 200 == 0 else []) + [int(index)]
    for code in codes + [257]:
        bits |= code << count
        count += 9
        while count >= 8:
            out.append(bits & 255)
            bits >>= 8
            count -= 8
    if count:
        out.append(bits & 255)
    return b"\x08" + b"".join(bytes([len(out[i:i + 255])]) + out[i:i + 255] for i in range(0, len(out), 255)) + b"\0"


def gif(canvas, frame, indices, palette=None, local=None, transparent=None, interlaced=False):
    x, y, width, height = frame
    out = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x81 if palette else 0, 1, 0) + (palette or b"")
    out += b"\x21\xfe\x05hello\0"
    if transparent is not None:
        out += b"\x21\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    out += b"," + struct.pack("<HHHHB", x, y, width, height, (0x81 if local else 0) | (0x40 if interlaced else 0))
    rows = np.asarray(indices).reshape(height, width)
    if interlaced:
        rows = np.concatenate([rows[0::8], rows[4::8], rows[2::4], rows[1::2]])
    return out + (local or b"") + lzw(rows.reshape(-1)) + b";"


def gif_files():
    picture = Image.fromarray(scene(19, 13))
    yield "plain.gif", encoded(picture, "GIF")
    yield "grey.gif", encoded(picture.convert("L"), "GIF")
    yield "animated.gif", encoded(picture, "GIF", save_all=True,
                                  append_images=[Image.fromarray(scene(19, 13, seed=1))])
    colours, others = bytes(range(10, 130, 10)), bytes(range(250, 130, -10))
    four = np.random.default_rng(3).integers(0, 4, 77)
    whole, part = (0, 0, 11, 7), (2, 3, 11, 7)
    yield "interlaced.gif", gif((11, 7), whole, four, colours, interlaced=True)
    yield "local.gif", gif((11, 7), whole, four, colours, local=others)
    yield "local_only.gif", gif((15, 12), part, four, local=others)
    yield "offset.gif", gif((15, 12), part, four, colours)
    yield "transparent.gif", gif((15, 12), part, four, colours, transparent=2)
    yield "transparent_beyond.gif", gif((15, 12), part, four, colours, transparent=200)
    yield "beyond_canvas.gif", gif((5, 5), part, four, colours)
    yield "no_canvas.gif", gif((0, 0), whole, four, colours)
    yield "no_palette.gif", gif((11, 7), whole, four * 60)
    yield "short_palette.gif", gif((11, 7), whole, four * 60, colours)
    yield "one_pixel.gif", gif((1, 1), (0, 0, 1, 1), [3], colours)


def expected(name, data):
    picture = Image.open(io.BytesIO(data))
    if picture.mode == "I;16":
        upper = (np.asarray(picture) >> 8).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    try:
        return ImageOps.exif_transpose(picture).convert("RGB")
    except SyntaxError:  # of EXIF that is garbage; Heed leaves the picture as it stands
        return picture.convert("RGB")


def check():
    names = sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".ppm")
    for name in names:
        pixels = np.asarray(expected(name, (FOLDER / name).read_bytes())).astype(int)
        written = np.asarray(Image.open(FOLDER / (name + ".ppm"))).astype(int)
        tolerance = 1 if name.endswith(".jpg") else 0
        assert pixels.shape == written.shape and abs(pixels - written).max() <= tolerance, name
    print(f"{len(names)} pictures are as Pillow {Image.__version__} reads them")


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["--check"]:
        return check()
    FOLDER.mkdir(parents=True, exist_ok=True)
    total = 0
    for files in (jpeg_files(), png_files(), webp_files(), gif_files()):
        for name, data in files:
            pixels = expected(name, data)
            ppm = b"P6\n%d %d\n255\n" % pixels.size + pixels.tobytes()
            (FOLDER / name).write_bytes(data)
            (FOLDER / (name + ".ppm")).write_bytes(ppm)
            total += len(data) + len(ppm)
    print(f"{FOLDER}: {total} bytes")


if __name__ == "__main__":
    main()
