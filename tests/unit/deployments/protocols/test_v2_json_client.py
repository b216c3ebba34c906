"""Bodies that tritonclient makes are read, and it reads ours; no server and no socket."""

import numpy as np
import pytest

from configs.tensors import Datatype
from deployments.protocols import v2_json
from tests.unit.deployments.protocols.samples import random_tensor, same, signature

client = pytest.importorskip("tritonclient.http")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype not in ("BF16", "FP16")])
def test_tritonclient_both_ways(datatype: Datatype, binary_in: bool, binary_out: bool) -> None:
    graph = signature(x=f"{datatype}[-1, 3]")
    array = random_tensor(datatype, (2, 3), 1)
    tensor = client.InferInput("x", [2, 3], datatype.value)
    tensor.set_data_from_numpy(array, binary_data=binary_in)
    wanted = [client.InferRequestedOutput("x", binary_data=binary_out)]
    body, length = client.InferenceServerClient.generate_request_body([tensor], outputs=wanted, request_id="7")
    request = v2_json.decode_infer(body, None if length is None else str(length), graph, "m", "")
    assert same(request.rows["x"], array)
    answer, header = v2_json.encode_infer(request, request.rows, "m", "1")
    whole = answer if header is None else b"".join(answer)
    result = client.InferenceServerClient.parse_response_body(whole, header_length=header)
    back = result.as_numpy("x")
    if datatype is Datatype.BYTES and not binary_out:
        back = np.array([text.encode() for text in back.ravel()], dtype=object).reshape(back.shape)
    assert same(back, array)
    assert result.get_response()["id"] == "7"
