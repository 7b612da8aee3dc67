"""The waterfall of a trace: order, depth, place in the whole."""

from devenv.console.trace_pages import TraceSpan, waterfall


def _span(method: str, at: float, ended: float) -> TraceSpan:
    return TraceSpan(method, "kind", "caller", "resource", "200", at, ended, "/journal/1")


def test_spans_are_ordered_and_nested_in_requests() -> None:
    spans = waterfall(
        [
            _span("storage.objects.get", 102.0, 102.5),
            _span("execution", 101.0, 103.0),
            _span("tasks.CloudTasks.CreateTask", 100.0, 100.5),
            _span("deliver", 101.9, 102.6),
            _span("run.invoke", 103.5, 104.0),
        ]
    )

    assert [(span.method, span.depth) for span in spans] == [
        ("tasks.CloudTasks.CreateTask", 0),
        ("execution", 0),
        ("deliver", 1),
        ("storage.objects.get", 2),
        ("run.invoke", 0),
    ]
    assert [span.start for span in spans][:2] == [0.0, 250.0]
    assert spans[1].width == 500.0


def test_trace_without_spans_is_empty() -> None:
    assert waterfall([]) == []


def test_short_span_stays_visible() -> None:
    [_, short] = waterfall([_span("deliver", 0.0, 1000.0), _span("run.invoke", 1.0, 1.0)])

    assert short.width == 3
