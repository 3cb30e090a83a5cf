//! Structured logs, and traces where somebody collects them.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt,
};

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

/// Starts logging as JSON lines, and exporting traces if `endpoint` is not empty. Keep what
/// comes back until the end: it holds spans that are not sent yet.
///
/// Called outside of the async runtime, because the exporter brings a thread of its own.
///
/// # Errors
/// If a setting cannot be used.
pub fn start(filter: &str, endpoint: &str) -> Result<Option<SdkTracerProvider>, Error> {
    let filter = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let provider = exporter(endpoint)?;
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("cloister")));
    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    let layers: Box<dyn Layer<Registry> + Send + Sync> =
        Box::new(traces.with_filter(filter.clone()));
    tracing_subscriber::registry()
        .with(layers)
        .with(logs.with_filter(filter))
        .try_init()?;
    Ok(provider)
}

fn exporter(endpoint: &str) -> Result<Option<SdkTracerProvider>, Error> {
    if endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|source| Error::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(
            Resource::builder()
                .with_service_name("cloister-operator")
                .build(),
        )
        .build();
    Ok(Some(provider))
}
