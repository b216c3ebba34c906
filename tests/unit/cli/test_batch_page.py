"""docs/batch.md: its commands are ones that `millrace batch` takes, its manifests are whole."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli.main import app
from tests.support.pages import snippets

PAGE = "docs/batch.md"
COMMANDS = re.findall(r"millrace batch (configs/[^\n]*(?:\n +--[^\n]*)*)", Path(PAGE).read_text())


@pytest.mark.parametrize("written", COMMANDS)
def test_a_command_of_the_page_can_be_typed(written: str) -> None:
    arguments = shlex.split(written.rstrip().removesuffix('"').replace(r"\%", "%").replace("{{ ds }}", "2026-11-23"))
    batch: Any = typer.main.get_command(app).commands["batch"]  # type: ignore[attr-defined]
    given = batch.make_context("batch", arguments).params
    assert given["input"]
    assert str(given["graph"]) == "configs/digits.yaml"


def test_the_page_has_commands_for_each_place() -> None:
    assert len(COMMANDS) >= 5


def test_the_job_of_each_night_is_a_rayjob() -> None:
    [shown] = snippets(PAGE, "a job each night", "yaml")
    texts, cron = yaml.safe_load_all(shown)
    job = yaml.safe_load(texts["data"]["job.yaml"])
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert "--resume --address auto" in job["spec"]["entrypoint"]
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [volume] = pod["volumes"]
    assert volume["configMap"]["name"] == texts["metadata"]["name"]
    assert pod["containers"][0]["command"][-1] == f"{pod['containers'][0]['volumeMounts'][0]['mountPath']}/job.yaml"


def test_the_python_of_the_page_compiles() -> None:
    for marker in ("run this", "a task of a DAG"):
        for code in snippets(PAGE, marker, "python"):
            compile(code, PAGE, "exec")
