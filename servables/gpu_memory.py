"""How much memory a GPU has, from the CUDA driver, for libraries that count in bytes."""

import ctypes

from configs.errors import ModelError


def total_bytes(index: int) -> int:
    """Bytes of memory of CUDA device `index` (`cuDeviceTotalMem_v2`). Raises ModelError if the driver can't say."""
    device, size = ctypes.c_int(), ctypes.c_size_t()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise ModelError(f"device cuda:{index}: the CUDA driver cannot be loaded ({error}); use device cpu") from error
    code: int = driver.cuInit(0)
    code = code or driver.cuDeviceGet(ctypes.byref(device), index)
    code = code or driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    if code != 0:
        raise ModelError(f"device cuda:{index}: the CUDA driver answers error {code}; use device cpu")
    return size.value
