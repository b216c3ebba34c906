"""The schema of a graph: what a user writes in `configs/<graph>.yaml`, or builds in Python."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from configs.frozen import Frozen
from configs.node_options import Batch, Cache, Callable_, Fallback, Replicas, Sequences
from configs.tensors import TensorSpec
from configs.versions import Number, Versions

NODE_NAME = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
GRAPH_NAME = r"^[a-zA-Z][a-zA-Z0-9_-]*$"
MODEL = "model"
"""The input of a `models` node that names the model of each row."""
RESERVED_NAMES = ("admin", "docs", "v2")
"""Names that are paths of the server itself, where a graph would hide them; GRAPH_NAME keeps out the others."""

NodeName = Annotated[str, Field(pattern=NODE_NAME)]
Column = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_-]*$")]
Reference = Annotated[
    str,
    Field(
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_-]*)?$",
        description="A graph input (`image`) or a node's output (`scale.x`).",
    ),
]


class NodeBase(Frozen):
    """What every kind of node may say about where it runs and what happens when it is slow or fails."""

    inputs: Any = Field(default_factory=dict, description="Input name → reference.")
    outputs: dict[str, TensorSpec] | None = Field(
        None, description="Outputs with datatype and shape, where the node's code or artifact does not declare them."
    )
    cpus: float | None = Field(None, gt=0, description="CPUs of each replica; more than the gateway's share places it.")
    gpus: float = Field(0, ge=0, description="GPUs of each replica; a fraction shares one GPU. Placed when above 0.")
    replicas: Replicas | None = Field(None, description="A number, or {min, max}. Placed when given.")
    isolate: bool = Field(False, description="Run in a process of its own although nothing else asks for it.")
    batch: Batch | None = Field(None, description="Batching of this node's calls.")
    timeout_s: float | None = Field(
        None, gt=0, description="Seconds that one try may take; blocking code goes on, its answer is dropped."
    )
    retries: int = Field(0, ge=0, le=10, description="Further tries after a failure that is not the rows' fault.")
    idempotent: bool = Field(
        True,
        description="False: a call is made once. Requests do not share calls, which are made again without a bad row, "
        "and rows that a placed node had when its process died are not sent to another replica.",
    )
    fallback: Fallback | None = Field(None, description="What answers when all tries failed.")
    hedge: bool = Field(
        False, description="Ask a second replica when the first is slower than 95 of 100 calls; 5 % more calls at most."
    )
    cache: Cache | None = Field(None, description="Remember answers; {} for the defaults.")

    @property
    def guarded(self) -> bool:
        """Whether each request's call of this node has a policy of its own, so that it is not fused with others."""
        return bool(self.timeout_s or self.retries or self.fallback or self.hedge or self.cache)

    @property
    def placed(self) -> bool:
        """Whether this node asks for a stage deployment of its own, whatever the gateway's share of CPUs."""
        return self.gpus > 0 or self.replicas is not None or self.isolate

    @model_validator(mode="after")
    def _made_once_if_not_idempotent(self) -> Self:
        if not self.idempotent:
            _refuse(self, ("retries", "hedge", "cache"), "the node is not idempotent, so a call is made once")
        return self

    @model_validator(mode="after")
    def _hedge_has_two(self) -> Self:
        if self.hedge and (self.replicas is None or self.replicas.max < 2):
            raise ValueError("`hedge` asks a second replica: give the node `replicas: {max: 2}` or more")
        return self


_PLACEMENT = ("cpus", "gpus", "replicas", "isolate")
_POLICIES = ("timeout_s", "retries", "idempotent", "fallback", "hedge", "cache")


def _refuse(node: NodeBase, fields: tuple[str, ...], why: str) -> None:
    given = [field for field in fields if field in node.model_fields_set]
    if given:
        raise ValueError(f"remove {', '.join(given)}: {why}")


class _OneReferenceEach(NodeBase):
    inputs: dict[str, Reference] = Field(default_factory=dict, description="Input name → reference.")


class CallNode(_OneReferenceEach):
    """A function, class or coroutine of the user's: `call: package.module:name`."""

    call: Callable_ = Field(description="Import path `package.module:name` of a function, class or coroutine.")
    with_: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="Keyword arguments of the class, or of each function call."
    )
    sequences: Sequences | None = Field(
        None, description="The class keeps state for sequences of requests; {} for the defaults. Placed when given."
    )

    @property
    def placed(self) -> bool:
        """A node with state is: only a placed node's requests can always go to the same process."""
        return super().placed or self.sequences is not None

    @model_validator(mode="after")
    def _state_is_used_once(self) -> Self:
        if self.sequences is not None:
            _refuse(self, ("retries", "hedge", "cache"), "a call that changes state is made once")
        return self


class ServableNode(_OneReferenceEach):
    """A node that serves versions of an artifact."""

    model: str = Field(min_length=1)
    version: Number | None = Field(None, description="A fixed version instead of the newest.")
    versions: Versions | None = Field(None, description="Which versions are in; without it the newest that works.")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.version is not None and self.versions is not None:
            raise ValueError(f"`version: {self.version}` and `versions` are two rules; give one of them")
        alias = None if self.versions is None else self.versions.alias
        if alias is not None and not self.model.startswith("mlflow:"):
            raise ValueError(
                f"`versions: {{alias: {alias}}}`: {self.model} has no aliases, only MLflow's registries have "
                "(`model: mlflow:<registered model>`); use `latest`, `all` or `only`"
            )
        return self


class ModelNode(ServableNode):
    """A model: `model: models/<name>`, the folder that holds its numbered versions, or where else they come from."""

    model: str = Field(
        min_length=1,
        description="Folder of the model, `models/<name>`; versions lie inside it. Or a URL of such a folder "
        "(`s3://bucket/models/<name>`), or `mlflow:<registered model>`.",
    )
    format: str | None = Field(
        None,
        description="torch, torchscript, safetensors, onnx, sklearn, xgboost, lightgbm, python or mlflow; else "
        "detected.",
    )
    trust: Literal["pickle"] | None = Field(
        None, description="`pickle` allows joblib and pickle files, which can run any code when loaded."
    )


class LookupNode(ServableNode):
    """A table of precomputed answers: `lookup: lookups/<name>`. Its versions come and go like a model's.

    The input is `key`, BYTES or INT64 as the table's keys are. The outputs are the table's columns and `found` (BOOL):
    false for a key that the table does not have, whose other outputs are zeros or empty bytes.
    """

    model: str = Field(
        alias="lookup",
        min_length=1,
        description="Folder of the table, `lookups/<name>`; versions lie inside it. Or a URL of such a folder.",
    )
    otherwise: dict[Column, Reference] | None = Field(
        None,
        min_length=1,
        description="Output → reference that takes its place for rows whose key is not found. Nodes that only these "
        "need run for those rows only.",
    )

    @model_validator(mode="after")
    def _by_a_key(self) -> Self:
        _one_input(self, "key", "lookup")
        _refuse(self, ("gpus",), "a lookup computes nothing")
        if "found" in (self.otherwise or {}):
            raise ValueError(
                "`otherwise` names `found`, which says whether the table has the key; give it another name"
            )
        return self


class RetrieveNode(ServableNode):
    """The nearest neighbours in a vector index: `retrieve: indexes/<name>`. Its versions come and go like a model's.

    The input is `vector` (FP32 [-1, d]). The outputs are `ids` ([-1, k], BYTES or INT64 as the index's ids are) and
    `scores` (FP32 [-1, k]), the best first.
    """

    model: str = Field(
        alias="retrieve",
        min_length=1,
        description="Folder of the index, `indexes/<name>`; versions lie inside it. Or a URL of such a folder.",
    )
    k: int = Field(10, ge=1, description="Neighbours for each row.")

    @model_validator(mode="after")
    def _by_a_vector(self) -> Self:
        _one_input(self, "vector", "retrieve")
        _refuse(self, ("gpus",), "an index is searched on the CPU")
        return self


def _one_input(node: _OneReferenceEach, name: str, kind: str) -> None:
    if set(node.inputs) != {name}:
        raise ValueError(f"a {kind} node has one input, `{name}`, but this has {', '.join(node.inputs) or 'none'}")


class ModelsNode(_OneReferenceEach):
    """Many models, of which those that are asked for are in memory: `models: models/tenants`.

    The input `model` (BYTES) names the model of each row; the others are the models' own, which must all have the same
    inputs and outputs. The node is always placed. The newest version of a model that works answers.
    """

    models: str = Field(
        min_length=1,
        description="Folder that holds the models, each a folder with its numbered versions. Or a URL of such a folder "
        "(`s3://bucket/models`), which needs `outputs`.",
    )
    max_bytes: int = Field(
        1 << 30,
        ge=1,
        description="Most bytes of loaded models in one process, of the host's memory and, with `gpus`, as many of the "
        "GPU's; 1 GiB by default. Who was used longest ago leaves first.",
    )
    format: str | None = Field(None, description="As of a `model` node.")
    trust: Literal["pickle"] | None = Field(None, description="As of a `model` node.")

    @property
    def placed(self) -> bool:
        """Always: its memory is counted by the process."""
        return True

    @model_validator(mode="after")
    def _models_are_named(self) -> Self:
        if MODEL not in self.inputs:
            raise ValueError(f"the input `{MODEL}` is missing, which names the model of each row")
        _refuse(self, ("cache",), "what is remembered would outlive a model's version")
        _refuse(self, ("hedge",), "a model is in the memory of few replicas")
        if self.models.startswith("mlflow:"):
            raise ValueError(f"{self.models}: a registry is no folder of models; give each a `model` node")
        if "://" in self.models and self.outputs is None:
            raise ValueError(f"give `outputs`: which models {self.models} holds is not known before they are asked for")
        return self


class EnsembleNode(NodeBase):
    """Several nodes' answers made into one: `ensemble: mean`."""

    ensemble: Literal["mean", "weighted_mean", "majority_vote", "max", "concat", "stacking"] | Callable_ = Field(
        description="How members are combined; or an import path to a callable over the list of members."
    )
    inputs: dict[str, list[Reference]] = Field(description="`members`: the references to combine.")
    weights: list[float] | None = Field(None, description="One weight a member, for `weighted_mean`.")
    model: str | None = Field(None, description="For `stacking`: the model that takes all members, concatenated.")
    version: Number | None = Field(None, description="For `stacking`: a fixed version instead of the newest.")
    trust: Literal["pickle"] | None = Field(None, description="As for a model node, for `stacking`.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        members = self.inputs.get("members", [])
        if not members or len(self.inputs) != 1:
            raise ValueError("an ensemble has one input, `members`, a list of at least one reference")
        if (self.ensemble == "weighted_mean") != (self.weights is not None):
            raise ValueError("`weights` goes with `ensemble: weighted_mean`, and only with it")
        if self.weights is not None:
            if len(self.weights) != len(members):
                raise ValueError(f"{len(self.weights)} weights for {len(members)} members; give one a member")
            if min(self.weights) < 0 or sum(self.weights) <= 0:
                raise ValueError(f"weights {self.weights}: none may be negative and their sum must be positive")
        if (self.ensemble == "stacking") != (self.model is not None):
            raise ValueError("`model` goes with `ensemble: stacking`, and only with it")
        return self


class SwitchNode(_OneReferenceEach):
    """Sends each row one of several ways; nodes that only one case needs run for that case's rows only.

    `switch: confidence` sends rows whose largest score is at least `with.threshold` to the case
    `confident` and the others to `rest`. A callable gets the inputs and returns one case name a row
    (or one bool a row: cases `true` and `false`).
    """

    switch: Literal["confidence"] | Callable_ = Field(
        description="`confidence`, or an import path to a callable that decides for each row."
    )
    with_: dict[str, Any] = Field(default_factory=dict, alias="with", description="Arguments, e.g. {threshold: 0.9}.")
    cases: dict[
        Annotated[str, BeforeValidator(lambda v: str(v).lower() if isinstance(v, bool) else v)], dict[str, Reference]
    ] = Field(min_length=1, description="Case → {output name: reference}; every case gives the same outputs.")

    @model_validator(mode="after")
    def _same_outputs(self) -> Self:
        names = {case: sorted(outputs) for case, outputs in self.cases.items()}
        if len({tuple(outputs) for outputs in names.values()}) > 1:
            raise ValueError(f"every case must give the same outputs, but they give {names}")
        if self.switch == "confidence":
            if set(self.cases) != {"confident", "rest"}:
                raise ValueError(f"`switch: confidence` has the cases confident and rest, not {sorted(self.cases)}")
            if set(self.with_) != {"threshold"} or not isinstance(self.with_["threshold"], int | float):
                raise ValueError("`switch: confidence` needs `with: {threshold: <number>}` and nothing else")
            if set(self.inputs) != {"scores"}:
                raise ValueError("`switch: confidence` has one input, `scores`")
        _refuse(self, _PLACEMENT, "a switch runs in the gateway")
        _refuse(self, _POLICIES, "a switch computes nothing; say it at the nodes of its cases")
        return self


class SubgraphNode(_OneReferenceEach):
    """Another graph used as one node: `graph: configs/other.yaml`."""

    graph: str = Field(min_length=1, description="Path of the other graph's YAML file.")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        _refuse(self, (*_PLACEMENT, *_POLICIES, "batch", "outputs"), "say it at the nodes of the other graph")
        return self


_KINDS: dict[str, type[NodeBase]] = {
    "call": CallNode,
    "model": ModelNode,
    "models": ModelsNode,
    "lookup": LookupNode,
    "retrieve": RetrieveNode,
    "ensemble": EnsembleNode,
    "switch": SwitchNode,
    "graph": SubgraphNode,
}


def node_class(fields: Mapping[str, Any]) -> type[NodeBase]:
    """The class of a node by the one kind key it has. Raises ValueError if it has none or several."""
    kinds = [kind for kind in _KINDS if kind in fields]
    if "ensemble" in kinds:  # `model` is also a field of a stacking ensemble
        kinds = [kind for kind in kinds if kind != "model"]
    if len(kinds) != 1:
        has = f"has {' and '.join(kinds)}" if kinds else "has none of them"
        raise ValueError(f"a node has exactly one of the keys {', '.join(_KINDS)}; this one {has}")
    return _KINDS[kinds[0]]


def fallback_node(node: NodeBase) -> CallNode | ModelNode | RetrieveNode | None:
    """The node that stands in for this one, with its inputs; None without one, or if it is a constant.

    A model that stands in for an index is another index.
    """
    given = node.fallback
    if given is None or given.constant is not None:
        return None
    if given.call is not None:
        return CallNode.model_validate({"call": given.call, "with": given.with_, "inputs": node.inputs})
    if isinstance(node, RetrieveNode):
        return RetrieveNode.model_validate(
            {"retrieve": given.model, "version": given.version, "k": node.k, "inputs": node.inputs}
        )
    fields = given.model_dump(include={"model", "version", "trust"})
    return ModelNode.model_validate({**fields, "inputs": node.inputs})


def _parse_node(value: Any) -> Any:
    if isinstance(value, Mapping):
        return node_class(value).model_validate(value)
    return value


Node = Annotated[
    CallNode | ModelNode | ModelsNode | LookupNode | RetrieveNode | EnsembleNode | SwitchNode | SubgraphNode,
    BeforeValidator(_parse_node),
    PlainSerializer(lambda node: node.model_dump(by_alias=True, exclude_unset=True)),
]


class NodeOverride(Frozen):
    """What a profile may change of a node: where it runs, never what it computes."""

    cpus: float | None = Field(None, gt=0)
    gpus: float | None = Field(None, ge=0)
    replicas: Replicas | None = None
    isolate: bool | None = None
    batch: Batch | None = None


class GraphConfig(Frozen):
    """A named graph: typed inputs, nodes that refer to each other by name, and outputs."""

    name: str = Field(pattern=GRAPH_NAME, description="Name of the graph: its path and its model name for clients.")
    description: str = Field("", description="Shown in OpenAPI and by `millrace explain`.")
    inputs: dict[NodeName, TensorSpec] = Field(min_length=1, description="What a request must carry.")
    nodes: dict[NodeName, Node] = Field(min_length=1, description="The steps, in any order.")
    outputs: dict[NodeName, Reference] = Field(min_length=1, description="Output name → reference.")
    batch: Batch = Field(default_factory=Batch, description="Batching of the nodes that run in the gateway.")
    profiles: dict[str, dict[NodeName, NodeOverride]] = Field(
        default_factory=dict,
        description="Profile → node → other placement, e.g. `cpu: {cnn: {gpus: 0}}` for machines without a GPU.",
    )

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError(f"/{name} is a path of the server itself; choose another name")
        return name

    @model_validator(mode="after")
    def _rows_first(self) -> Self:
        fixed = {name: spec for name, spec in self.inputs.items() if spec.shape[0] != -1 and not spec.is_shared}
        if fixed:
            listed = ", ".join(f"{name} {spec}" for name, spec in fixed.items())
            raise ValueError(
                f"inputs {listed}: the first dimension is the rows; write it as -1, or [1] for one number for all rows"
            )
        return self

    @model_validator(mode="after")
    def _profiles_name_nodes(self) -> Self:
        for profile, overrides in self.profiles.items():
            for name in overrides:
                node = self.nodes.get(name)
                if node is None:
                    raise ValueError(f"profile {profile}: there is no node {name}; there are {', '.join(self.nodes)}")
                if isinstance(node, SwitchNode | SubgraphNode):
                    raise ValueError(
                        f"profile {profile}: node {name} is not placed; only calls, models and ensembles are"
                    )
                if isinstance(node, LookupNode | RetrieveNode) and overrides[name].gpus:
                    raise ValueError(f"profile {profile}: node {name} runs on the CPU; remove gpus")
        return self

    def with_profile(self, profile: str) -> "GraphConfig":
        """This graph with the placement of `profile`; unchanged if it has no such profile."""
        overrides = self.profiles.get(profile, {})
        nodes = {
            name: node.model_copy(update=_set_fields(overrides[name])) if name in overrides else node
            for name, node in self.nodes.items()
        }
        return self.model_copy(update={"nodes": nodes})


def _set_fields(override: NodeOverride) -> dict[str, Any]:
    return {field: getattr(override, field) for field in override.model_fields_set}
