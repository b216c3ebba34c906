import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from deployments.protocols import v2_proto

FOLDER = Path(v2_proto.__file__).parent
ROOT = FOLDER.parent.parent

# Compares our descriptors with the client's, message by message and field by field.
COMPARE = """
from google.protobuf import descriptor_pb2
from tritonclient.grpc import service_pb2 as theirs
from deployments.protocols import v2_proto as ours

def facts(descriptor):
    proto = descriptor_pb2.DescriptorProto()
    descriptor.CopyToProto(proto)
    return flat(proto)

def flat(message):
    fields = {(f.name, f.number, f.type, f.label, f.type_name, f.HasField("oneof_index")) for f in message.field}
    nested = {n.name: (flat(n), n.options.map_entry) for n in message.nested_type}
    return fields, [o.name for o in message.oneof_decl], nested

names = [name for name, value in vars(ours).items() if hasattr(getattr(value, "DESCRIPTOR", None), "fields")]
assert len(names) == 14, names
for name in names:
    mine, other = getattr(ours, name).DESCRIPTOR, theirs.DESCRIPTOR.message_types_by_name[name]
    assert mine.full_name == other.full_name
    assert facts(mine) == facts(other), name
service = theirs.DESCRIPTOR.services_by_name["GRPCInferenceService"]
assert service.full_name == ours.SERVICE
for method in ours.METHODS:
    call = service.methods_by_name[method]
    assert (call.input_type.name, call.output_type.name) == (method + "Request", method + "Response")
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


@pytest.mark.parametrize("order", [("tritonclient.grpc", "deployments.protocols.v2_proto"), None])
def test_lives_beside_a_client_in_one_process(order: tuple[str, str] | None) -> None:
    first, second = order or ("deployments.protocols.v2_proto", "tritonclient.grpc")
    run(ROUND_TRIP.format(first=first, second=second))


def test_the_compiled_descriptors_are_up_to_date(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    target = tmp_path / "fresh.desc"
    assert protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={target}", "open_inference.proto"]) == 0
    assert target.read_bytes() == (FOLDER / "open_inference.desc").read_bytes()


class Echo:
    """Answers ModelReady from raw bytes; the other calls are there, as Serve's stand-in has them."""

    def __getattr__(self, name: str) -> object:
        assert name in v2_proto.METHODS
        return self.answer

    async def answer(self, message: bytes, context: grpc.aio.ServicerContext) -> object:
        assert type(message) is bytes
        return v2_proto.ModelReadyResponse(ready=v2_proto.ModelReadyRequest.FromString(message).name == "m")


async def test_a_servicer_gets_bytes_and_returns_messages() -> None:
    server = grpc.aio.server()
    v2_proto.add_servicer(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(
                f"/{v2_proto.SERVICE}/ModelReady",
                request_serializer=v2_proto.ModelReadyRequest.SerializeToString,
                response_deserializer=v2_proto.ModelReadyResponse.FromString,
            )
            assert (await call(v2_proto.ModelReadyRequest(name="m"))).ready
            assert not (await call(v2_proto.ModelReadyRequest(name="n"))).ready
    finally:
        await server.stop(None)
