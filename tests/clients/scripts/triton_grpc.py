"""tritonclient.grpc: label and score of rows. Arguments: host:port, rows.npz, answers.npz."""

import sys

import numpy as np
import tritonclient.grpc as triton


def ask(client: triton.InferenceServerClient, rows: np.ndarray) -> list[np.ndarray]:
    tensor = triton.InferInput("image", list(rows.shape), "UINT8")
    tensor.set_data_from_numpy(rows)
    answer = client.infer("digits", [tensor])
    return [answer.as_numpy("label"), answer.as_numpy("score")]


def main(address: str, rows_file: str, answers_file: str) -> None:
    calls = np.load(rows_file)
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.get_server_metadata().name == "millrace"
    assert [tensor.name for tensor in client.get_model_metadata("digits").inputs] == ["image"]
    labels, scores = zip(*(ask(client, rows) for rows in calls.values()), strict=True)
    np.savez(answers_file, grpc_label=np.concatenate(labels), grpc_score=np.concatenate(scores))


if __name__ == "__main__":
    main(*sys.argv[1:])
