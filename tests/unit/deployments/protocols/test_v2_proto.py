import subprocess
import sys
from pathlib import Path

import pytest

from deployments.protocols import v2_proto

FOLDER = Path(v2_proto.__file__).parent
ROOT = FOLDER.parent.parent

# Compares our descriptors with the client's: each message, enumeration and field of ours is theirs.
COMPARE = """
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2
from deployments.protocols import grpc_pool

PARTLY = {"ModelConfig", "ModelInput", "ModelOutput", "ModelDynamicBatching", "ModelSequenceBatching",
          "ModelStatistics"}

def facts(message):
    oneofs = [oneof.name for oneof in message.oneof_decl]
    fields = {(f.name, f.number, f.type, f.label, f.type_name, f.HasField("oneof_index") and oneofs[f.oneof_index])
              for f in message.field}
    nested = {n.name: (facts(n), n.options.map_entry) for n in message.nested_type}
    return fields, nested

def values(enum):
    return [(value.name, value.number) for value in enum.value]

for name, module in (("open_inference.proto", service_pb2), ("model_config.proto", model_config_pb2)):
    mine, theirs = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
    grpc_pool.POOL.FindFileByName(name).CopyToProto(mine)
    module.DESCRIPTOR.CopyToProto(theirs)
    assert mine.package == theirs.package
    messages = {message.name: message for message in theirs.message_type}
    for message in mine.message_type:
        (fields, nested), (their_fields, their_nested) = facts(message), facts(messages[message.name])
        if message.name in PARTLY:
            assert fields < their_fields and nested.items() <= their_nested.items(), message.name
        else:
            assert (fields, nested) == (their_fields, their_nested), message.name
    enums = {enum.name: values(enum) for enum in theirs.enum_type}
    assert {enum.name: values(enum) for enum in mine.enum_type} == enums
    for service in mine.service:
        calls = {call.name: call for call in theirs.service[0].method}
        assert service.name == theirs.service[0].name
        for call in service.method:
            calls[call.name].ClearField("options")
            assert call == calls[call.name], call.name
"""

# The same for health, reflection and errors' details, against gRPC's own packages.
STANDARD = """
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2, status_pb2
from {module} import {name}
from deployments.protocols import grpc_pool

def fields(message):
    return [(f.name, f.number, f.type, f.is_repeated, f.message_type and f.message_type.full_name)
            for f in message.fields]

names = [message.full_name for message in {name}.DESCRIPTOR.message_types_by_name.values()]
for name in names:
    theirs = {name}.DESCRIPTOR.pool.FindMessageTypeByName(name)
    if not name.startswith("grpc.health.v1.HealthList"):
        assert fields(grpc_pool.message(name).DESCRIPTOR) == fields(theirs), name
for theirs in (status_pb2.Status, error_details_pb2.RetryInfo):
    assert fields(grpc_pool.message(theirs.DESCRIPTOR.full_name).DESCRIPTOR) == fields(theirs.DESCRIPTOR)
"""

ROUND_TRIP = """
import {first}
import {second}
from deployments.protocols import v2_proto
from tritonclient.grpc import service_pb2
mine = v2_proto.ModelInferRequest(model_name="m", raw_input_contents=[b"1"])
mine.inputs.add(name="x", datatype="UINT8", shape=[1]).parameters["a"].int64_param = 1
theirs = service_pb2.ModelInferRequest.FromString(mine.SerializeToString())
assert theirs.inputs[0].parameters["a"].int64_param == 1
assert v2_proto.ModelInferRequest.FromString(theirs.SerializeToString()) == mine
"""


def run(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_messages_are_those_of_the_clients() -> None:
    run(COMPARE)


@pytest.mark.parametrize(
    ("module", "name"), [("grpc_health.v1", "health_pb2"), ("grpc_reflection.v1alpha", "reflection_pb2")]
)
def test_messages_are_those_of_grpc(module: str, name: str) -> None:
    run(STANDARD.format(module=module, name=name))


@pytest.mark.parametrize("order", [("tritonclient.grpc", "deployments.protocols.v2_proto"), None])
def test_lives_beside_a_client_in_one_process(order: tuple[str, str] | None) -> None:
    first, second = order or ("deployments.protocols.v2_proto", "tritonclient.grpc")
    run(ROUND_TRIP.format(first=first, second=second))


def test_the_compiled_descriptors_are_up_to_date(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    target, files = tmp_path / "fresh.desc", sorted(path.name for path in FOLDER.glob("*.proto"))
    includes = str(Path(protoc.__file__).with_name("_proto"))
    arguments = ["protoc", f"-I{FOLDER}", f"-I{includes}", "--include_imports", f"--descriptor_set_out={target}"]
    assert protoc.main([*arguments, *files]) == 0
    assert target.read_bytes() == (FOLDER / "open_inference.desc").read_bytes()
