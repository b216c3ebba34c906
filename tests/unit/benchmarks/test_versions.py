"""The pure parts of the benchmark of versions: what is judged, what is written. No server runs."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from benchmarks.versions.ask import Http, Lost
from benchmarks.versions.judge import SPLIT, Unwanted, gone, split, steps_of, tail, unknown, unwanted
from benchmarks.versions.load import Load
from benchmarks.versions.models import ALIASED, INLINE, NETWORK, PLACED, WIDTH, Numbered, Publisher, graph
from benchmarks.versions.outcome import ALONE, CALM, SWAPS, Outcome, Part, keep, kept
from benchmarks.versions.plot import draw
from benchmarks.versions.records import NONE, RECORD, Records, load_records
from benchmarks.versions.report import about, aims, render
from benchmarks.versions.run import Seen
from benchmarks.versions.summary import summarise
from configs.errors import ModelError
from configs.graph import GraphConfig
from rollouts.life import Key, Phase
from rollouts.store import Transition
from servables.base import LoadOptions
from servables.load import load_servable

STREAMS = [(model, protocol) for model in WIDTH for protocol in ("HTTP", "gRPC")]
UP = (Phase.DISCOVERED, Phase.FETCHED, Phase.VERIFIED, Phase.LOADED, Phase.WARMED_UP, Phase.READY, Phase.ROUTED)


def records(*requests: tuple[float, int], stream: int = 0, took: float = 0.01) -> Records:
    """Requests that were sent at a time and answered by a version."""
    rows = [(stream, at, at, at + took, version) for at, version in requests]
    lost = [(at, "inline/HTTP", "HTTP 500: no") for at, version in requests if version == NONE]
    return Records(STREAMS, np.array(rows, RECORD), lost, 0.2)


def changes(number: int, *steps: tuple[float, Phase], before: Phase | None = None) -> list[Transition]:
    """What happened to a version."""
    found = []
    for at, after in steps:
        found.append(Transition(Key("inline.model", number, ""), at, before, after, ""))
        before = after
    return found


def up(number: int, at: float) -> list[Transition]:
    """A version that comes up, with a second from phase to phase."""
    return changes(number, *((at + second, phase) for second, phase in enumerate(UP)))


def test_an_answer_is_unwanted_if_it_was_asked_for_after_the_last_acknowledgement() -> None:
    history = [*up(1, 0), *changes(1, (10, Phase.DRAINING), (12, Phase.UNLOADING), before=Phase.ROUTED)]
    answers = records((11.9, 1), (12.5, 2), (12.1, 1), (13, 1))
    found = unwanted(answers, INLINE, history)
    assert [(each.version, round(each.after_s, 3)) for each in found] == [(1, 0.1), (1, 1.0)]
    assert unwanted(answers, PLACED, history) == []


def test_a_version_that_is_routed_again_is_wanted_again() -> None:
    again = ((10, Phase.DRAINING), (12, Phase.READY), (20, Phase.ROUTED), (30, Phase.DRAINING), (31, Phase.UNLOADING))
    history = [*up(1, 0), *changes(1, *again, before=Phase.ROUTED)]
    assert gone(history) == {1: [(12, 20), (31, inf)]}


def test_a_version_whose_gateways_have_not_all_acknowledged_is_not_gone() -> None:
    assert gone([*up(1, 0), *changes(1, (10, Phase.DRAINING), before=Phase.ROUTED)]) == {}
    # Its processes ended before they were asked for it no more, and it came back.
    assert gone(changes(1, (10, Phase.DRAINING), (11, Phase.DISCOVERED), before=Phase.ROUTED)) == {}


def test_an_answer_of_a_broken_version_is_not_known() -> None:
    assert unknown(records((1, 1), (2, 5), (3, NONE)), INLINE, [1, 2]) == 1


def test_latency_counts_from_the_planned_moment_of_what_was_answered() -> None:
    late = np.array([(0, 1.0, 1.5, 1.6, 3), (0, 2.0, 2.0, 9.0, NONE)], RECORD)
    assert tail(late).count == 1
    assert tail(late).p50 == pytest.approx(600)
    assert np.isnan(tail(late[1:]).p99)


def test_the_time_to_the_first_answer_is_split_by_phase() -> None:
    assert steps_of(-2.0, up(2, 0), 6.5) == [2, 1, 1, 1, 1, 1, 1, 0.5]
    assert len(SPLIT) == 8


def test_a_step_that_was_taken_again_ends_with_the_last_time() -> None:
    history = [*up(2, 0)[:4], *changes(2, (10, Phase.DISCOVERED), before=Phase.LOADED), *up(2, 20)[1:]]
    assert steps_of(0, history, 27) == [0, 21, 1, 1, 1, 1, 1, 1]


def test_what_was_not_in_every_phase_is_told() -> None:
    with pytest.raises(ValueError, match="never was ready, routed"):
        steps_of(0, up(2, 0)[:5], 9)


def test_the_split_is_of_the_versions_that_answered() -> None:
    found = split(INLINE, {2: 0, 3: 10}, [*up(2, 1), *up(3, 13)], {2: 7.5})
    assert (found.count, found.median[0], found.median[-1]) == (1, 1, 7.5)


def outcome(*requests: tuple[float, int]) -> Outcome:
    """Of a run with a calm part, a swap, and a swap while control was killed once."""
    parts = [
        Part(CALM, 0, 10, {INLINE: 0, NETWORK: 0, PLACED: 0}, 0, 0, 1.0),
        Part(ALONE + INLINE, 10, 20, {INLINE: 1, NETWORK: 0, PLACED: 0}, 0, 0, 1.0),
        Part(SWAPS, 20, 30, {INLINE: 1, NETWORK: 0, PLACED: 0}, 1, 1, 1.5),
    ]
    old = changes(1, (17, Phase.DRAINING), (18, Phase.UNLOADING), before=Phase.ROUTED)
    history = {INLINE: [*up(2, 10), *old, *up(3, 20)], NETWORK: [], PLACED: [], ALIASED: []}
    published = {INLINE: {1: 0.0, 2: 10.0, 3: 20.0}, **{model: {1: 0.0} for model in (NETWORK, PLACED, ALIASED)}}
    seen = Seen(300, records(*requests), parts, published, history, [25.0], [4.0], [])
    return summarise("haproxy", {"cores": "2"}, seen)


CALM_ONES = [(at / 10, 1) for at in range(100)]


def test_a_run_without_a_loss_meets_the_aims(tmp_path: Path) -> None:
    good = outcome(*CALM_ONES, (16.5, 2), (26.5, 3), (27, 3))
    assert all(met for *_, met in aims(good))
    assert [(each.model, each.count) for each in (*good.alone, *good.killed)] == [(INLINE, 1), (INLINE, 1)]
    page = render([good])
    assert "| all swapped, control killed | 10 | 1 inline | 1 | 1 | 2 | 0 | 10.0 | 10.0 | 10.0 | 0.0 | 1.5 |" in page
    assert "Lost:" not in page
    draw([good], tmp_path / "results.png")
    assert (tmp_path / "results.png").stat().st_size > 10_000


def test_losses_and_unwanted_answers_are_told_with_their_reasons() -> None:
    bad = outcome(*CALM_ONES, (16.5, 2), (19, 1), (26.5, 3), (27, NONE))
    assert [name for name, *_, met in aims(bad) if not met] == [
        "requests lost, of 104",
        "answers of an unwanted version",
    ]
    assert bad.unwanted == [Unwanted(INLINE, 1, 1.0)]
    assert "| inline/HTTP: HTTP 500: no | 1 |" in render([bad])


def test_a_busy_machine_is_told() -> None:
    quiet = outcome(*CALM_ONES, (16.5, 2), (26.5, 3))
    calm, *rest = quiet.parts
    busy = replace(quiet, parts=[replace(calm, behind_ms=20.0), *rest])
    assert "other work" not in about(quiet)
    assert "was sent 20 ms late or more" in about(busy)


def test_an_outcome_is_kept(tmp_path: Path) -> None:
    good = outcome(*CALM_ONES, (16.5, 2), (26.5, 3))
    keep(good, tmp_path / "haproxy.json")
    assert render([kept(tmp_path / "haproxy.json")]) == render([good])
    for judged in good.parts:
        del judged.tails[ALIASED]  # as of an outcome from before there was that model
    assert "aliased" not in render([good])


def test_an_alias_that_goes_to_and_fro_makes_each_version_unwanted_in_turn() -> None:
    steps = ((10, Phase.DRAINING), (11, Phase.READY), (12, Phase.ROUTED), (14, Phase.DRAINING), (15, Phase.READY))
    history = [*up(1, 0), *changes(1, *steps, before=Phase.ROUTED)]
    aliased = STREAMS.index((ALIASED, "HTTP"))
    found = unwanted(records((10.5, 1), (11.5, 1), (13, 1), (16, 1), stream=aliased), ALIASED, history)
    assert [round(each.after_s, 3) for each in found] == [0.5, 1.0]


def test_a_published_version_answers_with_its_number_and_a_broken_one_does_not_load(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(PLACED, 7)
    loaded = load_servable(tmp_path / PLACED / "7", LoadOptions())
    assert loaded({"x": np.zeros((1, 1), np.float32)})["y"][0, 0] == 7
    publisher.publish(PLACED, 8, broken=True)
    with pytest.raises(ModelError, match="nonsense"):
        load_servable(tmp_path / PLACED / "8", LoadOptions())


def test_the_graphs_are_graphs(tmp_path: Path) -> None:
    assert {GraphConfig.model_validate(graph(model, tmp_path)).name for model in WIDTH} == set(WIDTH)
    assert Numbered(2)(np.zeros((1, 1), np.float32))["y"].dtype == np.float32


async def test_requests_go_round_about_and_each_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def answers() -> int:
        return 3

    async def loses() -> int:
        raise Lost("HTTP 503: full")

    end = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, end.set)
    found = await Load({(INLINE, "HTTP"): answers, (PLACED, "gRPC"): loses}).run(1000, end)
    found.save(tmp_path)
    again = load_records(tmp_path)
    assert again.streams == [(INLINE, "HTTP"), (PLACED, "gRPC")]
    assert set(again.requests["version"][again.requests["stream"] == 0]) == {3}
    assert len(again.lost) == (again.requests["version"] == NONE).sum() > 0
    assert again.lost[0][1:] == ("placed/gRPC", "HTTP 503: full")
    assert capsys.readouterr().out == "seen inline 3\n"


async def test_a_connection_that_closes_under_a_request_loses_it_and_is_not_used_again() -> None:
    connections, ended = 0, asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(3 - connections):  # two requests on the first, then it closes under a third
            await reader.readuntil(b"]]}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + b'{"y":[[4.0]]}')
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"]]}")
        writer.close()
        await writer.wait_closed()
        if connections == 2:
            ended.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        ask = Http(server.sockets[0].getsockname()[1], INLINE)
        assert [await ask(), await ask()] == [4, 4]
        with pytest.raises(Lost, match="IncompleteReadError on a used connection, 0 bytes came"):
            await ask()
        assert await ask() == 4
        ask.close()
        await ended.wait()
    assert connections == 2
