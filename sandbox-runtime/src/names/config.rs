//! The text of `resolv.conf(5)` and of `hosts(5)` → what they say. Pure.

use std::net::IpAddr;

/// As many as the C library heeds (`MAXNS`, and `MAXDNSRCH` of old; Kubernetes gives up to 32).
const MAX_SERVERS: usize = 3;
const MAX_DOMAINS: usize = 32;
/// Where nothing is said.
const DOTS: usize = 1;
const MAX_DOTS: usize = 15;

/// What `resolv.conf` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whom to ask.
    pub servers: Vec<IpAddr>,
    /// What to put behind a name.
    pub domains: Vec<String>,
    /// A name with so many dots is first tried as it stands.
    pub dots: usize,
}

/// Reads it. What is not known is passed over, as the C library does.
pub fn parse(text: &str) -> Config {
    let mut config = Config {
        servers: vec![],
        domains: vec![],
        dots: DOTS,
    };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let server: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
                config.servers.extend(server);
            }
            Some("search" | "domain") => {
                config.domains = words
                    .map(|word| word.trim_end_matches('.').to_owned())
                    .collect();
            }
            Some("options") => {
                let mut dots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                config.dots = dots.next_back().unwrap_or(config.dots).min(MAX_DOTS);
            }
            Some(_) | None => {}
        }
    }
    config.servers.truncate(MAX_SERVERS);
    config.domains.truncate(MAX_DOMAINS);
    config
}

impl Config {
    /// What to ask for, in order, for this name.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let as_it_is = name.to_owned();
        let mut all: Vec<String> = self
            .domains
            .iter()
            .filter(|domain| !domain.is_empty())
            .map(|domain| format!("{name}.{domain}"))
            .collect();
        if name.matches('.').count() >= self.dots {
            all.insert(0, as_it_is);
        } else {
            all.push(as_it_is);
        }
        all
    }
}

/// The addresses that a file of hosts has for a name.
pub fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let is_it = words.any(|word| word.eq_ignore_ascii_case(name));
        is_it.then_some(address)
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBELETS: &str = "search tenant-a.svc.cluster.local svc.cluster.local cluster.local\n\
                            nameserver 10.96.0.10\noptions ndots:5 edns0\n";

    #[test]
    fn what_the_kubelet_writes_is_understood() {
        let config = parse(KUBELETS);
        assert_eq!(config.servers, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        assert_eq!(config.dots, 5);
        assert_eq!(
            config.candidates("canary.system.svc"),
            [
                "canary.system.svc.tenant-a.svc.cluster.local",
                "canary.system.svc.svc.cluster.local",
                "canary.system.svc.cluster.local",
                "canary.system.svc",
            ]
        );
        assert_eq!(config.candidates("a.b."), ["a.b"]);
        assert_eq!(config.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
    }

    #[test]
    fn what_it_does_not_know_is_passed_over_and_nothing_is_without_end() {
        let config =
            parse("; a\n# b\nnameserver x\nnameserver fd00::10\nsortlist 1\noptions x ndots:99");
        assert_eq!(config.servers, ["fd00::10".parse::<IpAddr>().unwrap()]);
        assert_eq!((config.dots, config.domains.len()), (MAX_DOTS, 0));
        let many = parse(&format!(
            "{}search {}",
            "nameserver 1.1.1.1\n".repeat(9),
            "a ".repeat(99)
        ));
        assert_eq!((many.servers.len(), many.domains.len()), (3, 32));
        assert!(parse("").servers.is_empty());
    }

    #[test]
    fn a_file_of_hosts_is_read_by_name_and_not_by_part_of_one() {
        let text =
            "127.0.0.1 localhost a.test # b.test\n::1 LOCALHOST\n# 1.1.1.1 a.test\nx a.test\n";
        let both: Vec<IpAddr> = ["127.0.0.1", "::1"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(hosts(text, "localhost"), both);
        assert_eq!(hosts(text, "A.test"), both[..1]);
        assert!(hosts(text, "b.test").is_empty() && hosts(text, "test").is_empty());
    }
}
