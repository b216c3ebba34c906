"""Image nodes: decode JPEG and PNG bytes, resize, normalise."""

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np

from configs.errors import ConfigError, InvalidInput
from configs.tensors import Rows
from servables.extras import require

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}

# What Pillow's JPEG and PNG readers raise for bytes that are not a whole, sound image; damaged files
# reach its assertions too.
_UNDECODABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, AssertionError),
    *(IndexError, KeyError, OverflowError, struct.error, zlib.error),
)


class DecodeImage:
    """Bytes of a JPEG or PNG file a row → pixels, as Pillow decodes them (EXIF orientation is not applied).

    Input `image` BYTES [-1]; output `image` UINT8 [-1, H, W, C]. The header's size is checked before
    a pixel is decoded. Large JPEGs are decoded at the smallest scale that still holds `size`.

    Args:
        mode: `L` (grey, C = 1), `RGB` or `RGBA`.
        size: [height, width] of the output; without it the images of one call must have one size.
        max_pixels: largest height × width of an image that is decoded.

    Raises:
        ConfigError: an argument is out of its range.
        MissingExtra: Pillow is not installed.
    """

    def __init__(self, mode: str = "RGB", size: list[int] | None = None, max_pixels: int = 16_777_216) -> None:
        self._pillow = require("PIL.Image", "images")
        if mode not in CHANNELS:
            raise ConfigError(f"mode is {mode!r}; DecodeImage gives one of {', '.join(CHANNELS)}")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ConfigError(f"size is {size}; write [height, width], both at least 1")
        limit = self._pillow.MAX_IMAGE_PIXELS
        if not 1 <= max_pixels <= limit:
            raise ConfigError(f"max_pixels is {max_pixels}; it is at least 1 and at most Pillow's own limit, {limit}")
        self._mode, self._size, self._max_pixels = mode, size, max_pixels
        self.inputs = {"image": ("BYTES", [-1])}
        self.outputs = {"image": ("UINT8", [-1, *(size or [-1, -1]), CHANNELS[mode]])}

    def __call__(self, image: np.ndarray) -> Rows:
        """Decode each row. Raises InvalidInput naming the row that is too large, broken or of another size."""
        pixels = [self._decode(row, data) for row, data in enumerate(image)]
        for row, decoded in enumerate(pixels):
            if decoded.shape != pixels[0].shape:
                raise InvalidInput(
                    f"image in row {row} has {_size(decoded)} pixels and row 0 has {_size(pixels[0])}; "
                    "send images of one size, or give DecodeImage a size: [height, width]"
                )
        return {"image": np.stack(pixels)}

    def _decode(self, row: int, data: bytes) -> np.ndarray:
        try:
            opened = self._pillow.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        except self._pillow.DecompressionBombError as error:
            raise InvalidInput(f"image in row {row}: {error}") from error
        except _UNDECODABLE as error:
            raise InvalidInput(f"row {row} ({len(data)} bytes) is not a JPEG or PNG image") from error
        if opened.width * opened.height > self._max_pixels:
            raise InvalidInput(
                f"image in row {row} has {opened.height} × {opened.width} pixels, more than max_pixels "
                f"{self._max_pixels}; send a smaller image"
            )
        try:
            return self._pixels(opened)
        except _UNDECODABLE as error:
            raise InvalidInput(f"image in row {row} is broken: {error}; send the whole file") from error

    def _pixels(self, opened: Any) -> np.ndarray:
        if self._size is not None:
            opened.draft(None, (self._size[1], self._size[0]))
        if opened.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
            opened = self._pillow.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
        image = opened.convert(self._mode)
        if self._size is not None:
            image = image.resize((self._size[1], self._size[0]), self._pillow.Resampling.BILINEAR)
        return np.asarray(image).reshape(image.height, image.width, CHANNELS[self._mode])


class Resize:
    """Pixels of any size → pixels of one size, bilinear with antialiasing, each channel by itself.

    Input and output `image` UINT8 or FP32, [-1, H, W, C].

    Args:
        height: rows of pixels of the output.
        width: columns of pixels of the output.
        datatype: of input and output.

    Raises:
        ConfigError: an argument is out of its range.
        MissingExtra: Pillow is not installed.
    """

    def __init__(self, height: int, width: int, datatype: Literal["UINT8", "FP32"] = "UINT8") -> None:
        self._pillow = require("PIL.Image", "images")
        if min(height, width) < 1:
            raise ConfigError(f"height {height} and width {width}: both are at least 1")
        _check_datatype(datatype)
        self._height, self._width = height, width
        self.inputs = {"image": (datatype, [-1, -1, -1, -1])}
        self.outputs = {"image": (datatype, [-1, height, width, -1])}

    def __call__(self, image: np.ndarray) -> Rows:
        """Resize each row; an array that has the size already is returned as it is."""
        rows, height, width, channels = image.shape
        if (height, width) == (self._height, self._width):
            return {"image": image}
        resized = np.empty((rows, self._height, self._width, channels), image.dtype)
        for row in range(rows):
            if channels == 3 and image.dtype == np.uint8:
                resized[row] = self._resize(image[row])
            else:
                for channel in range(channels):
                    resized[row, ..., channel] = self._resize(image[row, ..., channel])
        return {"image": resized}

    def _resize(self, plane: np.ndarray) -> np.ndarray:
        resized = self._pillow.fromarray(plane).resize((self._width, self._height), self._pillow.Resampling.BILINEAR)
        return np.asarray(resized)


class Normalise:
    """Pixels → `(image * scale - mean) / std` for each channel, in the layout that the model takes.

    Input `image` UINT8 or FP32 [-1, H, W, C]; output `x` FP32, [-1, C, H, W] or [-1, H, W, C].

    Args:
        mean: one value a channel, after scaling.
        std: one value a channel, after scaling; none is 0.
        scale: what pixels are multiplied by first.
        layout: `NCHW` or `NHWC`.
        datatype: of the input.

    Raises:
        ConfigError: an argument is out of its range.
    """

    def __init__(
        self,
        mean: list[float],
        std: list[float],
        scale: float = 1 / 255,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        datatype: Literal["UINT8", "FP32"] = "UINT8",
    ) -> None:
        if len(mean) != len(std) or not mean or min(np.abs(std)) == 0:
            raise ConfigError(f"mean {mean} and std {std}: give both one value a channel, and no std of 0")
        if layout not in ("NCHW", "NHWC"):
            raise ConfigError(f"layout is {layout!r}; Normalise gives NCHW or NHWC")
        _check_datatype(datatype)
        # In FP64 until here: one multiplication and one subtraction in FP32 remain for each pixel.
        self._factor = (scale / np.array(std)).astype(np.float32)
        self._offset = (np.array(mean) / np.array(std)).astype(np.float32)
        self._layout = layout
        channels = len(mean)
        self.inputs = {"image": (datatype, [-1, -1, -1, channels])}
        self.outputs = {"x": ("FP32", [-1, channels, -1, -1] if layout == "NCHW" else [-1, -1, -1, channels])}

    def __call__(self, image: np.ndarray) -> Rows:
        """Normalise each row. Raises ValueError if there is not one mean a channel."""
        rows, height, width, channels = image.shape
        if channels != len(self._factor):
            raise ValueError(f"images have {channels} channels, but Normalise has {len(self._factor)} means")
        if self._layout == "NCHW":
            x = np.multiply(np.ascontiguousarray(image.transpose(0, 3, 1, 2)), self._factor[:, None, None])
            x -= self._offset[:, None, None]
            return {"x": x}
        # One long axis instead of an inner axis of three channels: NumPy's inner loop runs along the last axis.
        x = image.reshape(rows, height, width * channels) * np.tile(self._factor, width)
        x -= np.tile(self._offset, width)
        return {"x": x.reshape(image.shape)}


def _check_datatype(datatype: str) -> None:
    if datatype not in ("UINT8", "FP32"):
        raise ConfigError(f"datatype is {datatype!r}; pixels are UINT8 or FP32")


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} × {pixels.shape[1]}"
