"""Signed versions: who published them can be told, and nothing of them can be changed."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from configs.errors import ConfigError, ModelError
from servables.base import LoadOptions
from servables.load import load_servable
from servables.push import push_model
from servables.signing import check_signature, signature, trusted_keys
from servables.versions import verify

PEM = serialization.Encoding.PEM
PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


def sign(version: Path, key: Path) -> None:
    (version / "digests.sig").write_bytes(signature(version, key))


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private key's file, and its public key's."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(PEM, PUBLIC))
    return private, public


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version that was pushed."""
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "signature.json").write_text('{"module": "tests.support.nodes:Add"}')
    return push_model(tmp_path / "model", "m", tmp_path / "models").version.path


def test_only_what_a_trusted_key_signed_passes(tmp_path: Path, version: Path) -> None:
    private, public = keys(tmp_path, "ours")
    other_private, other = keys(tmp_path, "other")
    sign(version, private)
    check_signature(version, trusted_keys([other, public]))
    verify(version)  # the signature is no file that was not pushed
    with pytest.raises(ModelError, match="signed by none of the 1 `trusted_keys`"):
        check_signature(version, trusted_keys([other]))
    sign(version, other_private)
    with pytest.raises(ModelError, match="signed by none"):
        check_signature(version, trusted_keys([public]))


def test_a_push_signs_and_a_load_looks(tmp_path: Path, version: Path) -> None:
    private, public = keys(tmp_path, "ours")
    signed = push_model(version, "signed", tmp_path / "models", private_key=private).version.path
    options = LoadOptions(keys=trusted_keys([public]))
    load_servable(signed, options).close()
    with pytest.raises(ModelError, match="is not signed"):
        load_servable(version, options)


def test_a_change_after_the_signature_is_seen(tmp_path: Path, version: Path) -> None:
    private, public = keys(tmp_path, "ours")
    sign(version, private)
    digests = version / "digests.json"
    digests.write_text(digests.read_text() + " ")
    with pytest.raises(ModelError, match="was changed after that"):
        check_signature(version, trusted_keys([public]))


@pytest.mark.parametrize("name", ["code/__pycache__/helper.cpython-311.pyc", ".hidden", "a/.b/c", "__pycache__/x.py"])
def test_what_was_not_signed_is_refused_wherever_it_lies(tmp_path: Path, version: Path, name: str) -> None:
    private, public = keys(tmp_path, "ours")
    sign(version, private)
    options = LoadOptions(keys=trusted_keys([public]))
    load_servable(version, options).close()
    (version / name).parent.mkdir(parents=True, exist_ok=True)
    (version / name).write_bytes(b"code")
    verify(version)  # without keys such a file belongs to no version
    with pytest.raises(ModelError, match=f"what was not signed: {name} .1 in all.*remove it"):
        load_servable(version, options)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "is not signed .digests.sig is missing.*--sign"), (b"\xff\n", "no signature as")]
)
def test_what_is_not_signed_says_so(tmp_path: Path, version: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (version / "digests.sig").write_bytes(content)
    with pytest.raises(ModelError, match=says):
        check_signature(version, trusted_keys([keys(tmp_path, "ours")[1]]))


def test_a_short_signature_is_none(tmp_path: Path, version: Path) -> None:
    (version / "digests.sig").write_bytes(b"AAAA\n")
    with pytest.raises(ModelError, match="signed by none"):
        check_signature(version, trusted_keys([keys(tmp_path, "ours")[1]]))


def test_files_that_hold_no_key(tmp_path: Path, version: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(PEM, PUBLIC)
    for content in (b"", b"no key", b"\xff", curve, keys(tmp_path, "ours")[0].read_bytes()):
        (tmp_path / "bad.pub").write_bytes(content)
        with pytest.raises(ConfigError, match=r"trusted_keys: .*bad\.pub is no Ed25519 public key"):
            trusted_keys([tmp_path / "bad.pub"])
    with pytest.raises(ConfigError, match=r"absent\.pub"):
        trusted_keys([tmp_path / "absent.pub"])
    for bad in (tmp_path / "absent.pem", keys(tmp_path, "ours")[1]):
        with pytest.raises(ModelError, match="is no Ed25519 private key"):
            sign(version, bad)
