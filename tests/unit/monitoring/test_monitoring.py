"""Names of metrics and the Server-Timing header."""

from pathlib import Path

from graphs.run import NodeTiming
from monitoring import names
from monitoring.reference import reference
from monitoring.server_timing import server_timing


def test_the_metrics_page_is_up_to_date() -> None:
    page = Path("docs/metrics.md").read_text()
    assert page == reference(), "run: python -m monitoring.reference > docs/metrics.md"


def test_names_are_unique_and_histograms_have_rising_bounds() -> None:
    assert len({metric.name for metric in names.ALL}) == len(names.ALL)
    for metric in names.ALL:
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(set(metric.bounds))


def test_server_timing_names_each_node_and_counts_a_shared_wait_once() -> None:
    nodes = [NodeTiming("sub/a", 0.001, 0.0005, 0.002, 8), NodeTiming("b", 0.0, 0.0, 0.003, 8)]
    assert server_timing(nodes, 0.0075) == (
        "total;dur=7.500, sub-a.queue;dur=1.000, sub-a.batch;dur=0.500, sub-a.compute;dur=2.000, b.compute;dur=3.000"
    )
