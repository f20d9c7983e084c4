"""The SDK of OpenTelemetry and its exporter: the extra ``telemetry``, imported only where tracing is on.

Its own variables count: ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, headers, certificates, time-outs,
and those of the queue (``OTEL_BSP_…``: 2,048 spans, 512 in a request, every 5 s).
"""

from importlib.metadata import version
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from shared.observability.spans import MAX_LINKS, Recorder


def recorder_of(process: str, ratio: float) -> Recorder:
    """Spans go to the SDK's queue. What it gets is sampled already: the decision is the parent's, or ``Recorder.is_drawn``."""
    resource = Resource.create(
        {
            "service.name": f"tidemark-{process.replace('_', '-')}",
            "service.namespace": "tidemark",
            "service.version": version("tidemark"),
            "service.instance.id": uuid4().hex,
        }
    )
    provider = TracerProvider(
        sampler=ALWAYS_ON, resource=resource, span_limits=SpanLimits(max_links=MAX_LINKS), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Recorder(provider.get_tracer("tidemark"), ratio, provider.shutdown)
