"""Whatever the plan fuses, places or spares, the answers are those of a row-by-row reference."""

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest

from configs.graph import GraphConfig
from configs.tensors import Rows
from graphs.batcher import BatchTiming
from graphs.check import check_graph
from graphs.executor import Executor
from graphs.instances import Instance, load_instance
from graphs.plan import compile_plan
from graphs.segment import call_node
from graphs.terms import Terms
from servables.base import LoadOptions
from tests.support.random_graphs import expected, random_graph


class Placed:
    """Stands for a stage."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    async def __call__(self, rows: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
        await asyncio.sleep(0)
        assert all(len(value) == count for value in rows.values())
        return call_node(self._instance, rows, count), BatchTiming(0, 0, {}, count)


@pytest.mark.parametrize("block", range(8))
async def test_random_graphs(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        chance = random.Random(seed)
        graph = random_graph(chance)
        plan = compile_plan(check_graph(GraphConfig.model_validate(graph), Path.cwd()).flat)
        loaded = {name: load_instance(node, Path.cwd(), LoadOptions()) for name, node in plan.graph.nodes.items()}
        placed = {name: Placed(loaded[name]) for name in plan.placed}
        executor = Executor(plan, loaded, placed, threads=chance.choice([1, 2]))
        numbers = np.random.default_rng(seed)
        requests = [{name: numbers.integers(0, 1000, rows) for name in graph["inputs"]} for rows in (1, 5, 2)]
        answers = await asyncio.gather(*(executor.run(rows, len(next(iter(rows.values())))) for rows in requests))
        executor.close()
        for rows, (outputs, _) in zip(requests, answers, strict=True):
            for name, values in expected(graph, rows).items():
                np.testing.assert_array_equal(outputs[name], values, f"seed {seed}, output {name}")
