//! Structured logs, and traces where somebody collects them.
//!
//! Every pass is a trace, collected or not: its lines carry the trace's id, so that all of
//! them can be found by any one, and beside the trace where there is one.

use std::{fmt, time::Duration};

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Format, Json, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// How long one batch of spans may take to the collector. What it does not take is lost:
/// nothing waits for a trace.
const EXPORT: Duration = Duration::from_secs(3);

/// How long the end of the process may be put off for the last spans.
const LAST_EXPORT: Duration = Duration::from_secs(3);

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("failed to read the log filter \"{filter}\": {source}")]
    Filter {
        /// As typed.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter cannot be made.
    #[error("failed to set up the trace exporter for {endpoint}: {source}")]
    Exporter {
        /// As typed.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Somebody has set up logging already.
    #[error("failed to start logging: {0}")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging as JSON lines, and exporting traces if `endpoint` is not empty. What
/// comes back holds spans that are not sent yet: [`stop`] sends them.
///
/// Called outside of the async runtime, because the exporter brings a thread of its own.
///
/// # Errors
/// If a setting cannot be used.
pub fn start(filter: &str, endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let filter = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let provider = provider(endpoint)?;
    subscriber(filter, &provider, std::io::stdout).try_init()?;
    Ok(provider)
}

/// Sends the spans that are left, for [`LAST_EXPORT`] at most.
///
/// # Errors
/// If the collector did not take them in time.
pub fn stop(provider: &SdkTracerProvider) -> Result<(), OTelSdkError> {
    provider.shutdown_with_timeout(LAST_EXPORT)
}

/// Logs by `filter` to `writer`, and spans to `provider`: those of passes whatever is
/// logged, because it is they that lines are found by.
fn subscriber<W>(
    filter: EnvFilter,
    provider: &SdkTracerProvider,
    writer: W,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("cloister"));
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .map_event_format(Line)
        .with_writer(writer);
    Registry::default()
        .with(traces.with_filter(LevelFilter::INFO))
        .with(logs.with_filter(filter))
}

/// Where spans go: to the collector at `endpoint`, or nowhere if that is empty. Then they
/// are not recorded either, and only have their ids.
fn provider(endpoint: &str) -> Result<SdkTracerProvider, Error> {
    if endpoint.is_empty() {
        let nowhere = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff);
        return Ok(nowhere.build());
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT)
        .build()
        .map_err(|source| Error::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    let resource = Resource::builder().with_service_name("cloister-operator");
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

/// A line of JSON, with the ids of the span that was entered when it was written.
struct Line(Format<Json>);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let span = Context::current().span().span_context().clone();
        writeln!(writer, "{}", identified(line.trim_end(), &span))
    }
}

/// The JSON object `line` with `trace_id` and `span_id` (OpenTelemetry's names for them in
/// formats other than its own), if it was written within a span.
fn identified(line: &str, span: &SpanContext) -> String {
    match line.strip_suffix('}') {
        Some(open) if span.is_valid() => {
            let (trace, span) = (span.trace_id(), span.span_id());
            format!(r#"{open},"trace_id":"{trace}","span_id":"{span}"}}"#)
        }
        Some(_) | None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
        time::Instant,
    };

    use serde_json::{Value, json};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn read(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    /// Logs under this filter while `act` runs.
    fn logged(filter: &str, provider: &SdkTracerProvider, act: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let logging = subscriber(EnvFilter::new(filter), provider, move || writer.clone());
        tracing::subscriber::with_default(logging, act);
        lines.read()
    }

    /// As the runtime starts one.
    fn pass(object: &str, act: impl FnOnce()) {
        tracing::info_span!("pass", room = "tenant", object).in_scope(act);
    }

    fn id<'a>(line: &'a Value, key: &str) -> &'a str {
        line[key].as_str().unwrap_or_default()
    }

    #[test]
    fn the_lines_of_one_pass_carry_one_trace_id_and_no_other_pass_has_it() {
        let nowhere = provider("").unwrap();
        let lines = logged("info", &nowhere, || {
            tracing::info!("before");
            pass("acme", || {
                tracing::warn!(reason = "WriteFailed", "one");
                tracing::info_span!("within").in_scope(|| tracing::info!("two"));
            });
            pass("acme", || tracing::info!("three"));
        });
        let [before, one, two, three] = &lines[..] else {
            panic!("{lines:#?}")
        };
        assert!(before.get("trace_id").is_none() && before.get("span_id").is_none());
        for line in [one, two, three] {
            assert_eq!(id(line, "trace_id").len(), 32, "{line}");
            assert_eq!(id(line, "span_id").len(), 16, "{line}");
        }
        assert_eq!(one["trace_id"], two["trace_id"]);
        assert_ne!(one["span_id"], two["span_id"]);
        assert_ne!(one["trace_id"], three["trace_id"]);

        let mut rest = one.clone();
        for ours in ["timestamp", "trace_id", "span_id"] {
            rest.as_object_mut().unwrap().remove(ours);
        }
        let expected = json!({
            "level": "WARN", "message": "one", "reason": "WriteFailed",
            "target": "operator::telemetry::tests",
            "span": {"name": "pass", "room": "tenant", "object": "acme"},
        });
        assert_eq!(rest, expected);
    }

    #[test]
    fn a_line_carries_the_id_also_where_only_warnings_are_logged() {
        let nowhere = provider("").unwrap();
        let lines = logged("warn", &nowhere, || {
            pass("acme", || {
                tracing::info!("not this");
                tracing::warn!("this");
            });
        });
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_eq!(id(&lines[0], "trace_id").len(), 32, "{lines:#?}");
    }

    /// Takes one request as a collector does; returns its head and its body.
    fn collect(listener: &TcpListener) -> (String, Vec<u8>) {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
            content-length: 0\r\nconnection: close\r\n\r\n";
        reader.get_mut().write_all(answer).unwrap();
        (head, body)
    }

    /// A collector's address, and what listens there.
    fn listen() -> (String, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (
            format!("http://{}", listener.local_addr().unwrap()),
            listener,
        )
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    #[test]
    fn the_collector_gets_the_span_of_a_pass_under_the_id_that_its_lines_carry() {
        let (endpoint, listener) = listen();
        let collector = thread::spawn(move || collect(&listener));
        let exporting = provider(&endpoint).unwrap();
        let lines = logged("info", &exporting, || {
            pass("acme", || tracing::warn!("pass failed"));
        });
        stop(&exporting).unwrap();

        let (head, body) = collector.join().unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf\r\n"),
            "{head}"
        );
        let trace = bytes(id(&lines[0], "trace_id"));
        let span = bytes(id(&lines[0], "span_id"));
        assert_eq!((trace.len(), span.len()), (16, 8), "{lines:#?}");
        let words: [&[u8]; 5] = [b"cloister-operator", b"pass", b"acme", &trace, &span];
        for word in words {
            let found = body.windows(word.len()).any(|part| part == word);
            assert!(
                found,
                "{word:?} is not in {:?}",
                body.escape_ascii().to_string()
            );
        }
    }

    /// What takes longer does not go on: an exporter that is waited for has no end.
    const A_HANG: Duration = Duration::from_secs(10);

    #[test]
    fn a_collector_that_is_gone_or_hangs_keeps_nothing_from_going_on_and_ending() {
        let (gone, listener) = listen();
        drop(listener);
        // Accepts, by its backlog, and never answers.
        let (hangs, _listener) = listen();
        for endpoint in [gone, hangs] {
            let exporting = provider(&endpoint).unwrap();
            let begun = Instant::now();
            let lines = logged("info", &exporting, || {
                // More than what waits for a collector at most.
                for _ in 0..5000 {
                    pass("acme", || {});
                }
                pass("acme", || tracing::info!("done"));
            });
            assert!(begun.elapsed() < A_HANG, "{:?}", begun.elapsed());
            // Among lines of the exporter's own, about spans that it had to drop.
            let done = lines.iter().find(|line| line["message"] == "done");
            assert_eq!(id(done.unwrap(), "trace_id").len(), 32);
            let begun = Instant::now();
            let _lost = stop(&exporting);
            assert!(
                begun.elapsed() < LAST_EXPORT + A_HANG,
                "{:?}",
                begun.elapsed()
            );
        }
    }
}
