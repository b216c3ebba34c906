"""tritonclient.http: label and score of rows, in JSON and in binary. Arguments: host:port, rows.npy, answers.npz."""

import sys

import numpy as np
import tritonclient.http as triton


def ask(client: triton.InferenceServerClient, rows: np.ndarray, binary: bool) -> list[np.ndarray]:
    tensor = triton.InferInput("image", list(rows.shape), "UINT8")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "score")]
    answer = client.infer("digits", [tensor], outputs=wanted)
    return [answer.as_numpy("label"), answer.as_numpy("score")]


def main(address: str, rows_file: str, answers_file: str) -> None:
    calls = np.load(rows_file)
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert [tensor["name"] for tensor in client.get_model_metadata("digits")["inputs"]] == ["image"]
    answers = {}
    for name, binary in (("json", False), ("binary", True)):
        labels, scores = zip(*(ask(client, rows, binary) for rows in calls.values()), strict=True)
        answers |= {f"{name}_label": np.concatenate(labels), f"{name}_score": np.concatenate(scores)}
    np.savez(answers_file, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
