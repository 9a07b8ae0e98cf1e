//! Where a server listens, and who may ask it what.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::error::Error;
use crate::keep_alive::KeepAlive;
use crate::names::{Alias, NamedAdapter};
use crate::origins::Origins;

/// How a server is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes any that is free.
    pub address: SocketAddr,
    /// Keys, one of which each request must have; with none, all may ask, from this machine only.
    pub keys: Keys,
    /// Keys for what changes the models that there are, which also open all else. Without any key at all everybody on
    /// this machine may do that; with keys only those who have one of these.
    pub admin_keys: Keys,
    /// Names by which this machine may be called, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Pages of other sites that may ask.
    pub origins: Origins,
    /// Requests that may wait for each model.
    pub waiting_max: usize,
    /// Other names for models.
    pub aliases: Vec<Alias>,
    /// Adapters for models.
    pub adapters: Vec<NamedAdapter>,
    /// Models that are loaded before the first request asks for them.
    pub load_first: Vec<String>,
    /// Models that are loaded at the same time.
    pub models_max: usize,
    /// Bytes that all models together take at most, adapters and states of sequences included.
    pub memory_max: u64,
    /// How long a model stays loaded after its last request, where that says nothing.
    pub keep_alive: KeepAlive,
    /// Time that running answers have when the server is stopped.
    pub drain_time: Duration,
    /// Whether responses and conversations are kept for later requests.
    pub storing: Storing,
    /// Where a line for each request goes. It never holds what was asked or answered.
    pub log: fn(&str),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            address: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), DEFAULT_PORT),
            keys: Keys::default(),
            admin_keys: Keys::default(),
            hosts: Vec::new(),
            origins: Origins::default(),
            waiting_max: 64,
            aliases: Vec::new(),
            adapters: Vec::new(),
            load_first: Vec::new(),
            models_max: usize::MAX,
            memory_max: u64::MAX,
            keep_alive: KeepAlive::DEFAULT,
            drain_time: Duration::from_secs(30),
            storing: Storing::InMemory,
            log: |_| {},
        }
    }
}

/// Whether responses and conversations are kept for later requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storing {
    /// In memory, until the server ends or newer ones want the place.
    #[default]
    InMemory,
    /// Not at all, whatever a request says.
    Off,
}

/// Ollama's port: its clients look there without being told, while all others are told an address anyway.
pub const DEFAULT_PORT: u16 = 11434;

impl Settings {
    /// Refuses what would let strangers in.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.address.ip().is_loopback() && self.keys.is_empty() {
            return Err(Error::KeyNeeded { address: self.address });
        }
        if self.origins.are_all() && self.keys.is_empty() {
            return Err(Error::EveryOrigin);
        }
        Ok(())
    }

    /// Whether a `Host` header names this machine. A name of somebody else's that leads here is how a web page reaches
    /// a server on its reader's machine (DNS rebinding); an address cannot be such a name.
    pub(crate) fn is_own_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// API keys, of which only digests are kept.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Takes in one more.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for one that is short, or that no header can hold.
    pub fn add(&mut self, key: &str) -> Result<(), Error> {
        let found = match key {
            _ if !(8..=512).contains(&key.len()) => "too short or too long",
            _ if !key.bytes().all(|byte| byte.is_ascii_graphic()) => "not plain text",
            _ => {
                self.0.push(digest(key));
                return Ok(());
            }
        };
        Err(Error::Key { found })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them; takes the same time for each that is not.
    pub(crate) fn has(&self, key: &str) -> bool {
        let found = digest(key);
        let any = self.0.iter().fold(Choice::from(0), |any, own| any | own.ct_eq(&found));
        any.into()
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_hosts() {
        let settings = Settings { hosts: vec!["Box.lan".into()], ..Settings::default() };
        let own = [
            "localhost",
            "LOCALHOST:11434",
            "127.0.0.1:80",
            "[::1]:11434",
            "[::1]",
            "192.168.1.7",
            "a.localhost:1",
            "box.lan:9",
            "localhost.",
        ];
        let others = [
            "evil.example",
            "localhost.evil.example:11434",
            "127.0.0.1.evil.example",
            "",
            ":80",
            "box.lan.x",
        ];
        assert!(own.iter().all(|host| settings.is_own_host(host)));
        for host in others {
            assert!(!settings.is_own_host(host), "{host}");
        }
    }

    #[test]
    fn without_a_key_only_this_machine_is_served() {
        let at = |address: &str| Settings { address: address.parse().unwrap(), ..Settings::default() };
        assert!(at("127.0.0.1:0").check().is_ok() && at("[::1]:0").check().is_ok());
        for address in ["0.0.0.0:0", "[::]:0", "192.168.1.7:80"] {
            assert!(matches!(at(address).check(), Err(Error::KeyNeeded { .. })), "{address}");
            let mut settings = at(address);
            settings.keys.add("a-long-key").unwrap();
            assert!(settings.check().is_ok());
        }
    }

    #[test]
    fn keys_are_told_apart() {
        let mut keys = Keys::default();
        assert!(!keys.has(""));
        keys.add("first-key").unwrap();
        keys.add("second-key").unwrap();
        assert!(keys.has("first-key") && keys.has("second-key"));
        assert!(!keys.has("first-ke") && !keys.has("first-key ") && !keys.has(""));
        for bad in ["short", "with space in it", "käsekuchen-key", "line\nbreak-key"] {
            assert!(keys.add(bad).is_err(), "{bad}");
        }
    }
}
