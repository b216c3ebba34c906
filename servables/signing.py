"""`digests.sig` of a version: says who published it, by an Ed25519 signature (RFC 8032) of its `digests.json`."""

import base64
import binascii
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, ModelError
from servables.digests import read_digests
from servables.extras import require
from servables.files import DIGESTS, SIGNED, tree

Key = Any
"""A public key of `cryptography`'s, which is an extra."""


def signature(folder: Path, private_key: Path) -> bytes:
    """Content of the signature's file for a version folder that has its digests.

    Args:
        private_key: an Ed25519 key in PEM without a password, as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        ModelError: the key cannot be used.
        MissingExtra: `cryptography` is not installed.
    """
    serialization = require("cryptography.hazmat.primitives.serialization", "signing")
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
        return base64.b64encode(key.sign((folder / DIGESTS).read_bytes())) + b"\n"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{private_key} is no Ed25519 private key in PEM without a password: {error}") from error


def trusted_keys(paths: Sequence[Path]) -> tuple[str, ...]:
    """The public keys in these files, as PEM. Raises ConfigError for a file that holds none."""
    texts = []
    for path in paths:
        try:
            text = path.read_text("ascii")
            _public(text)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"trusted_keys: {path} is no Ed25519 public key in PEM (`openssl pkey -pubout`): {error}"
            ) from error
        texts.append(text)
    return tuple(texts)


def check_signature(folder: Path, keys: Sequence[str]) -> None:
    """Check that one of these keys (PEM) signed the version's digests, and that they list every file that is there.

    Files are not read: see `servables.versions.verify`. Raises ModelError, also for hidden files and Python's caches.
    """
    exceptions = require("cryptography.exceptions", "signing")
    try:
        given = base64.b64decode((folder / SIGNED).read_bytes().strip(), validate=True)
        signed = (folder / DIGESTS).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} is not signed ({Path(error.filename).name} is missing), and only versions signed by one of "
            "`trusted_keys` are served; push it with --sign"
        ) from error
    except (OSError, binascii.Error) as error:
        raise ModelError(f"{folder / SIGNED} is no signature as `millrace models push --sign` writes it") from error
    for key in keys:
        try:
            _public(key).verify(given, signed)
        except exceptions.InvalidSignature:
            continue
        return _check_all_listed(folder)
    raise ModelError(f"{folder} is signed by none of the {len(keys)} `trusted_keys`, or was changed after that")


def _check_all_listed(folder: Path) -> None:
    """Of the version or not, its code could load the file: Python prefers what lies in `__pycache__` to the source."""
    digests = read_digests(folder)
    listed = {DIGESTS, SIGNED, *(digests.files if digests is not None else ())}
    added = sorted(name for name, status in tree(folder).items() if stat.S_ISREG(status.st_mode) and name not in listed)
    if added:
        raise ModelError(
            f"{folder} holds what was not signed: {', '.join(added[:3])} ({len(added)} in all); with `trusted_keys` "
            "there may be nothing else in a version, hidden files neither: remove it, or push the model again"
        )


def _public(text: str) -> Key:
    serialization = require("cryptography.hazmat.primitives.serialization", "signing")
    ed25519 = require("cryptography.hazmat.primitives.asymmetric.ed25519", "signing")
    key = serialization.load_pem_public_key(text.encode())
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise TypeError(f"it is a {type(key).__name__}")
    return key
