"""Image nodes: real JPEG and PNG bytes, hostile bytes, resizing and normalising against Pillow and NumPy."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.errors import ConfigError, InvalidInput
from graphs.nodes import DecodeImage, Normalise, Resize

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)


def encode(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without detail, which survives JPEG and scaling."""
    ramp = np.linspace(0, 255, height)[:, None] * np.linspace(0, 1, width)
    return np.stack([ramp, ramp[::-1], ramp], axis=-1).astype(np.uint8)


def rows(*images: bytes) -> np.ndarray:
    return np.array(images, dtype=object)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(64))
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_png_is_decoded_exactly() -> None:
    other = PIXELS[::-1]
    decoded = DecodeImage()(rows(encode(PIXELS), encode(other)))["image"]
    assert decoded.dtype == np.uint8
    assert (decoded == np.stack([PIXELS, other])).all()


def test_jpeg_is_decoded_as_pillow_does() -> None:
    data = encode(smooth(40, 30), "JPEG")
    decoded = DecodeImage()(rows(data))["image"]
    assert (decoded[0] == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_mode_decides_the_channels(mode: str, channels: int) -> None:
    node = DecodeImage(mode=mode)
    assert node(rows(encode(PIXELS)))["image"].shape == (1, 6, 5, channels)
    assert node.outputs == {"image": ("UINT8", [-1, -1, -1, channels])}


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 256, 32768, 65535]], np.uint16)
    assert DecodeImage(mode="L")(rows(encode(deep)))["image"].ravel().tolist() == [0, 1, 128, 255]


def test_size_makes_images_of_different_sizes_one_array() -> None:
    node = DecodeImage(size=[16, 8])
    large, small = smooth(640, 320), smooth(32, 16)
    decoded = node(rows(encode(large, "JPEG"), encode(small)))["image"].astype(int)
    assert decoded.shape == (2, 16, 8, 3)
    expected = np.asarray(Image.fromarray(large).resize((8, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decoded[0] - expected).max() < 12  # decoded at a smaller scale, but the same picture
    assert node.outputs == {"image": ("UINT8", [-1, 16, 8, 3])}


def test_images_of_different_sizes_need_a_size() -> None:
    with pytest.raises(InvalidInput, match=r"row 1 has 5 × 5 pixels and row 0 has 6 × 5; .* a size"):
        DecodeImage()(rows(encode(PIXELS), encode(PIXELS[:5])))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"row 1 \(0 bytes\) is not a JPEG or PNG"),
        (b"hello", r"row 1 \(5 bytes\) is not a JPEG or PNG"),
        (encode(PIXELS, "GIF"), "row 1 .* is not a JPEG or PNG"),
        (encode(PIXELS)[:60], "row 1 is broken: .*; send the whole file"),
        (encode(smooth(64, 64), "JPEG")[:700], "row 1 is broken: .* truncated"),
        (huge_png(4097, 4096), "row 1 has 4096 × 4097 pixels, more than max_pixels 16777216"),
        (huge_png(10_000, 9_999), "row 1 has 9999 × 10000 pixels"),
        (huge_png(2_000_000, 2_000_000), "row 1: .* decompression bomb"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*decompression bomb:PIL.Image.DecompressionBombWarning")
def test_hostile_bytes_are_refused_by_row(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        DecodeImage()(rows(encode(PIXELS), data))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_any_damage_is_the_requests_fault_or_harmless(file_format: str) -> None:
    data, node = encode(smooth(16, 16), file_format), DecodeImage(size=[8, 8])
    for _ in range(300):
        damaged = bytearray(data)
        for place in RNG.integers(0, len(data), 4):
            damaged[place] = RNG.integers(256)
        try:
            assert node(rows(bytes(damaged)))["image"].shape == (1, 8, 8, 3)
        except InvalidInput:
            continue


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "CMYK"}, "'CMYK'; DecodeImage gives one of L, RGB, RGBA"),
        ({"size": [0, 4]}, r"size is \[0, 4\]"),
        ({"size": [4]}, "write .height, width"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"max_pixels": 10**9}, "at most Pillow's own limit, 89478485"),
    ],
)
def test_decode_arguments_that_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DecodeImage(**arguments)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_treats_every_channel_alike(channels: int) -> None:
    images = RNG.integers(0, 256, (2, 9, 7, channels), dtype=np.uint8)
    resized = Resize(4, 5)(images)["image"]
    assert resized.dtype == np.uint8
    for row, channel in [(0, 0), (1, channels - 1)]:
        plane = Image.fromarray(images[row, ..., channel]).resize((5, 4), Image.Resampling.BILINEAR)
        assert (resized[row, ..., channel] == np.asarray(plane)).all()


def test_resize_of_floats_keeps_their_values() -> None:
    resized = Resize(2, 2, datatype="FP32")(np.full((1, 8, 8, 2), -0.3, np.float32))["image"]
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, np.full((1, 2, 2, 2), -0.3), rtol=1e-6)


def test_resize_to_the_same_size_copies_nothing() -> None:
    images = PIXELS[None]
    assert Resize(6, 5)(images)["image"] is images


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_normalise(layout: str, datatype: str) -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    images = PIXELS[None].astype(np.uint8 if datatype == "UINT8" else np.float32)
    node = Normalise(mean, std, layout=layout, datatype=datatype)  # type: ignore[arg-type]
    x = node(images)["x"]
    expected = (PIXELS[None] / 255 - np.array(mean)) / np.array(std)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected.transpose(0, 3, 1, 2) if layout == "NCHW" else expected, atol=1e-5)
    assert len(node.outputs["x"][1]) == x.ndim
    assert node.outputs["x"][1].index(3) == x.shape.index(3)


def test_normalise_needs_a_mean_for_each_channel() -> None:
    with pytest.raises(ValueError, match="3 channels, but Normalise has 1 means"):
        Normalise([0.5], [0.5])(PIXELS[None])


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": [0.5], "std": [0.0]},
        {"mean": [0.5], "std": [0.5, 0.5]},
        {"mean": [], "std": []},
        {"mean": [0.5], "std": [0.5], "layout": "CHWN"},
        {"mean": [0.5], "std": [0.5], "datatype": "INT8"},
    ],
)
def test_normalise_arguments_that_cannot_work(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Normalise(**arguments)
