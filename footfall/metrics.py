"""Every figure that `/metrics` shows, in one table; the rooms count into these, and only the API reads them out."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EVENTS_ACCEPTED = Counter(
    "footfall_events_accepted",
    "Events answered with 202 that count, since this process started",
    registry=REGISTRY,
)
EVENTS_DROPPED = Counter(
    "footfall_events_dropped",
    "Events answered with 202 that will not count, since this process started",
    ["reason"],
    registry=REGISTRY,
)
EVENTS_REJECTED = Counter(
    "footfall_events_rejected", "Events refused as invalid, since this process started", registry=REGISTRY
)
REQUESTS_REFUSED = Counter(
    "footfall_requests_refused",
    "Ingestion requests refused whole, by status: 401, 403, 413, 429, 503",
    ["status"],
    registry=REGISTRY,
)
PUT_SECONDS = Histogram(
    "footfall_put_seconds", "Time to make one group of events durable in the queue", buckets=_FAST_S, registry=REGISTRY
)
PUT_EVENTS = Histogram(
    "footfall_put_events",
    "Events made durable by one group commit",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000),
    registry=REGISTRY,
)
EVENTS_STORED = Counter(
    "footfall_events_stored", "Events this worker wrote to the store, by outcome", ["outcome"], registry=REGISTRY
)
WRITE_SECONDS = Histogram(
    "footfall_write_seconds", "Time of one write to the store", buckets=_FAST_S, registry=REGISTRY
)
WRITE_EVENTS = Histogram(
    "footfall_write_events",
    "Events written to the store at once",
    buckets=(1, 10, 100, 1_000, 10_000, 100_000),
    registry=REGISTRY,
)
JOBS_RETRIED = Counter("footfall_jobs_retried", "Jobs given back for another attempt", registry=REGISTRY)
JOBS_FAILED = Counter("footfall_jobs_failed", "Jobs set aside as failed", registry=REGISTRY)
LOG_LINES_DROPPED = Counter(
    "footfall_log_lines_dropped", "Log lines that could not be sent to CloudWatch", registry=REGISTRY
)
QUEUE_JOBS = Gauge("footfall_queue_jobs", "Jobs in the queue, by state", ["state"], registry=REGISTRY)
QUEUE_EVENTS = Gauge("footfall_queue_events", "Events in the queue: unfinished or failed", ["state"], registry=REGISTRY)
QUEUE_LAG_SECONDS = Gauge("footfall_queue_lag_seconds", "Age of the oldest unfinished job", registry=REGISTRY)
REPORT_SECONDS = Histogram(
    "footfall_report_seconds", "Time to answer one report", ["report"], buckets=_FAST_S, registry=REGISTRY
)
