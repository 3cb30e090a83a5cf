//! JSON → a [`Config`] that can be served, or what is wrong with it. Pure.

use std::path::PathBuf;
use std::time::Duration;

use contract::serve::{SERVE_VERSION, ServeConfig};

use super::dial::{Dispatch, DispatchError};
use crate::probe::{Checked, RequestError};

/// Bounds of the time between two looks.
const MIN_INTERVAL_MS: u32 = 1_000;
const MAX_INTERVAL_MS: u32 = 600_000;

/// What this sandbox was told, understood.
#[derive(Debug)]
pub struct Config {
    /// Whom to dial, and how to know that it is the one.
    pub dispatch: Dispatch,
    /// Where the token is.
    pub token: PathBuf,
    /// What to look at.
    pub probe: Checked,
    /// From the beginning of a look to the next.
    pub interval: Duration,
    /// Most processes and threads, if the kernel keeps that.
    pub processes: Option<u64>,
    /// How long a run may go on without the operator, if there is an end to that.
    pub fence: Option<Duration>,
}

/// Why a configuration is refused; asking again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No JSON, or not of a configuration's shape.
    #[error("failed to read it as JSON")]
    Json(#[from] serde_json::Error),
    /// Written by another version of the operator.
    #[error("it has version {0}, and this sandbox speaks version {SERVE_VERSION}")]
    Version(u32),
    /// Looks too often, or too seldom.
    #[error("probeIntervalMs is {0}, and has to be {MIN_INTERVAL_MS} to {MAX_INTERVAL_MS}")]
    Interval(u32),
    /// Nobody to dial, or nobody to believe.
    #[error("failed to understand whom to dial")]
    Dispatch(#[from] DispatchError),
    /// What to look at.
    #[error("refused `probe`")]
    Probe(#[from] RequestError),
}

/// Reads and checks a configuration.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    // First alone: the fields of another version would be reported as unknown fields.
    let version = crate::version_of(text)?;
    if version != SERVE_VERSION {
        return Err(ConfigError::Version(version));
    }
    let ServeConfig {
        version: _,
        dispatch,
        authorities,
        token,
        probe,
        probe_interval_ms,
        processes,
        fence_ms,
    } = serde_json::from_str(text)?;
    if !(MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(&probe_interval_ms) {
        return Err(ConfigError::Interval(probe_interval_ms));
    }
    Ok(Config {
        dispatch: Dispatch::new(&dispatch, &authorities)?,
        token: token.into(),
        probe: Checked::new(probe)?,
        interval: Duration::from_millis(probe_interval_ms.into()),
        processes,
        fence: fence_ms.map(|span| Duration::from_millis(span.into())),
    })
}

#[cfg(test)]
mod tests {
    use contract::VERSION;
    use serde_json::{Value, json};

    use super::*;

    fn config() -> Value {
        let authority = rcgen::generate_simple_self_signed(["operator".to_owned()]).unwrap();
        json!({
            "version": SERVE_VERSION,
            "dispatch": "cloister-dispatch.cloister-system.svc:8443",
            "authorities": authority.cert.pem(),
            "token": "/run/cloister/token",
            "probe": { "version": VERSION, "timeoutMs": 1000, "targets": [], "places": [] },
            "probeIntervalMs": 30_000,
        })
    }

    fn with(field: &str, value: Value) -> Result<Config, ConfigError> {
        let mut config = config();
        config[field] = value;
        parse(&config.to_string())
    }

    #[test]
    fn accepts_names_and_addresses_and_the_bounds_of_the_interval() {
        for dispatch in ["operator:1", "10.0.0.1:8443", "[fd00::1]:8443"] {
            assert!(with("dispatch", json!(dispatch)).is_ok(), "{dispatch}");
        }
        for interval in [MIN_INTERVAL_MS, MAX_INTERVAL_MS] {
            assert!(with("probeIntervalMs", json!(interval)).is_ok());
        }
    }

    #[test]
    fn rejects_who_cannot_be_dialled() {
        for dispatch in [
            "",
            "operator",
            ":1",
            "operator:",
            "operator:x",
            "operator:65536",
            "a b:1",
        ] {
            let refused = with("dispatch", json!(dispatch));
            assert!(
                matches!(refused, Err(ConfigError::Dispatch(_))),
                "{dispatch}"
            );
        }
    }

    #[test]
    fn rejects_authorities_that_are_none() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for authorities in ["", "no certificate", broken] {
            let refused = with("authorities", json!(authorities));
            assert!(
                matches!(refused, Err(ConfigError::Dispatch(_))),
                "{authorities}"
            );
        }
    }

    #[test]
    fn rejects_what_is_out_of_bounds_and_what_it_does_not_know() {
        for interval in [0, MIN_INTERVAL_MS - 1, MAX_INTERVAL_MS + 1] {
            let refused = with("probeIntervalMs", json!(interval));
            assert!(
                matches!(refused, Err(ConfigError::Interval(_))),
                "{interval}"
            );
        }
        let no_time = json!({ "version": VERSION, "timeoutMs": 0, "targets": [], "places": [] });
        assert!(matches!(with("probe", no_time), Err(ConfigError::Probe(_))));
        assert!(matches!(with("more", json!(1)), Err(ConfigError::Json(_))));
    }

    #[test]
    fn rejects_another_version_whatever_else_it_says() {
        let refused = parse(r#"{"version":3,"somethingNew":true}"#);
        assert!(matches!(refused, Err(ConfigError::Version(3))));
    }
}
