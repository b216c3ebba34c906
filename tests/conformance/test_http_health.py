"""Health, readiness and metadata over HTTP."""

import pytest
from rest import Rest, refused
from wire import EACH

pytestmark = pytest.mark.model("simple")


def test_live(rest: Rest) -> None:
    """OIP REST, "Server Live": 200 when the server receives requests."""
    assert rest.get("/v2/health/live").status_code == 200


def test_ready(rest: Rest) -> None:
    """OIP REST, "Server Ready": 200 when all models are ready."""
    assert rest.get("/v2/health/ready").status_code == 200


def test_model_ready(rest: Rest) -> None:
    """OIP REST, "Model Ready": 200; a body, if there is one, names the model."""
    response = rest.get("/v2/models/simple/ready")
    assert response.status_code == 200
    if response.content:
        assert response.json()["name"] == "simple"
        assert response.json()["ready"] is True


def test_unknown_model_is_not_ready(rest: Rest) -> None:
    """OIP REST, "Model Ready": 4xx for a model that the server does not have."""
    assert 400 <= rest.get("/v2/models/no_such_model/ready").status_code < 500


def test_server_metadata(rest: Rest) -> None:
    """OIP REST, "Server Metadata Response JSON Object"."""
    response = rest.get("/v2")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    document = response.json()
    assert document["name"]
    assert isinstance(document["name"], str)
    assert isinstance(document["version"], str)
    assert all(isinstance(name, str) for name in document["extensions"])


def test_model_metadata(rest: Rest) -> None:
    """OIP REST, "Model Metadata Response JSON Object"."""
    response = rest.get("/v2/models/simple")
    assert response.status_code == 200
    document = response.json()
    assert document["name"] == "simple"
    assert isinstance(document["platform"], str)
    assert all(isinstance(version, str) for version in document.get("versions", []))
    tensor = {"datatype": "INT32", "shape": [-1, 16]}
    assert _by_name(document["inputs"]) == {"INPUT0": tensor, "INPUT1": tensor}
    assert _by_name(document["outputs"]) == {"OUTPUT0": tensor, "OUTPUT1": tensor}


def _by_name(tensors: list[dict]) -> dict[str, dict]:
    return {item["name"]: {"datatype": item["datatype"], "shape": item["shape"]} for item in tensors}


@pytest.mark.parametrize("datatype", EACH)
def test_datatypes_have_their_names(rest: Rest, datatype: str) -> None:
    """OIP REST, "Tensor Data Types": metadata names each datatype as the table does."""
    [tensor] = rest.get(f"/v2/models/identity_{datatype.lower()}").json()["inputs"]
    assert tensor["datatype"] == datatype


def test_versions_answer(rest: Rest) -> None:
    """OIP REST, "Model Metadata": `versions` "may be explicitly requested via the appropriate endpoint"."""
    versions = rest.get("/v2/models/simple").json().get("versions", [])
    for version in versions:
        base = f"/v2/models/simple/versions/{version}"
        assert rest.get(f"{base}/ready").status_code == 200
        assert rest.get(base).json()["name"] == "simple"


def test_metadata_of_an_unknown_model(rest: Rest) -> None:
    """OIP REST, "Model Metadata Response JSON Error Object"."""
    assert "no_such_model" in refused(rest.get("/v2/models/no_such_model"))


def test_metadata_of_an_unknown_version(rest: Rest) -> None:
    """OIP REST, "Model Metadata Response JSON Error Object"."""
    refused(rest.get("/v2/models/simple/versions/987654"))


@pytest.mark.needs("model_list")
def test_model_list(rest: Rest) -> None:
    """Not in the protocol; KServe's Python server: GET /v2/models gives `{"models": [name, ...]}`."""
    assert "simple" in rest.get("/v2/models").json()["models"]
