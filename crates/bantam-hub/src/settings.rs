//! What the hub is told about this machine. The environment is read here and nowhere else in this crate.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// May this process open sockets and start programs?
///
/// Whatever does either is made from an [`Allowed`], so under `Forbidden` there is nothing to do it with.
#[derive(Clone, Debug)]
pub enum Network {
    /// No socket, no subprocess.
    Forbidden,
    /// Both, when a model must be fetched.
    Allowed(Allowed),
}

impl Network {
    /// The network may be used.
    pub fn allowed() -> Network {
        Network::Allowed(Allowed(()))
    }
}

/// The permission to open sockets and start programs.
#[derive(Clone, Debug)]
pub struct Allowed(());

/// Where proxies come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proxying {
    /// `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in either case.
    Environment,
    /// None.
    Direct,
}

/// A secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as the hub gave it; an error if it could not stand in a header.
    pub fn new(text: &str) -> Result<Token> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Setting {
                name: "HF_TOKEN",
                why: "is not a token: expected one printable word".into(),
            });
        }
        Ok(Token(text.into()))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Everything the hub needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether the network may be used at all.
    pub network: Network,
    /// The store: `BANTAM_HOME`.
    pub home: PathBuf,
    /// The cache shared with other programs of the Hugging Face hub: `HF_HUB_CACHE`.
    pub cache: PathBuf,
    /// Folders that may be a store of Ollama's, in order: `OLLAMA_MODELS`, or where its programs keep them.
    pub ollama: Vec<PathBuf>,
    /// The hub's address, without a slash at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// Sent to the endpoint and to no other host.
    pub token: Option<Token>,
    /// Interpreters to look for `pip` in, in order.
    pub pythons: Vec<PathBuf>,
    /// Where proxies come from.
    pub proxying: Proxying,
    /// Certificates to trust instead of the built-in ones, as PEM: `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`.
    pub certificates: Option<PathBuf>,
}

impl Settings {
    /// From this process's environment; without `HOME`, the system is asked for the user's folder.
    pub fn from_env() -> Result<Settings> {
        let user_home = || std::env::home_dir().map(PathBuf::into_os_string);
        Settings::from_lookup(|name| {
            std::env::var_os(name).or_else(|| if name == "HOME" { user_home() } else { None })
        })
    }

    /// From any environment: `lookup` gives a variable's value.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Settings> {
        let env = Environment { lookup: &|name| lookup(name).filter(|value| !value.is_empty()) };
        let hf_home = env.hf_home()?;
        Ok(Settings {
            network: env.network(),
            home: env.home()?,
            cache: env.path("HF_HUB_CACHE").unwrap_or_else(|| hf_home.join("hub")),
            ollama: env.ollama(),
            endpoint: env.endpoint()?,
            token: env.token(&hf_home)?,
            pythons: env.pythons(),
            proxying: Proxying::Environment,
            certificates: env.path("SSL_CERT_FILE").or_else(|| env.path("REQUESTS_CA_BUNDLE")),
        })
    }
}

struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Environment<'_> {
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from((self.lookup)(name)?);
        let Ok(rest) = path.strip_prefix("~") else { return Some(path) };
        self.user_home().ok().map(|home| home.join(rest))
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name)?.into_string().ok()
    }

    fn is_on(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().to_ascii_lowercase();
        ["1", "on", "yes", "true"].contains(&text.as_str())
    }

    fn network(&self) -> Network {
        let offline = ["BANTAM_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        if offline.iter().any(|name| self.is_on(name)) { Network::Forbidden } else { Network::allowed() }
    }

    fn user_home(&self) -> Result<PathBuf> {
        let home = (self.lookup)("HOME").or_else(|| (self.lookup)("USERPROFILE"));
        let why = "is not set, so there is no place for models; set BANTAM_HOME and HF_HOME";
        home.map(PathBuf::from).ok_or_else(|| Error::Setting { name: "HOME", why: why.into() })
    }

    fn home(&self) -> Result<PathBuf> {
        if let Some(home) = self.path("BANTAM_HOME") {
            return Ok(home);
        }
        if let Some(data) = self.path("XDG_DATA_HOME") {
            return Ok(data.join("bantam"));
        }
        if cfg!(windows)
            && let Some(data) = self.path("LOCALAPPDATA")
        {
            return Ok(data.join("bantam"));
        }
        let below = if cfg!(target_os = "macos") {
            "Library/Application Support/bantam"
        } else {
            ".local/share/bantam"
        };
        Ok(self.user_home()?.join(below))
    }

    fn hf_home(&self) -> Result<PathBuf> {
        if let Some(home) = self.path("HF_HOME") {
            return Ok(home);
        }
        let cache = match self.path("XDG_CACHE_HOME") {
            Some(cache) => cache,
            None => self.user_home()?.join(".cache"),
        };
        Ok(cache.join("huggingface"))
    }

    fn ollama(&self) -> Vec<PathBuf> {
        if let Some(folder) = self.path("OLLAMA_MODELS") {
            return vec![folder];
        }
        // The user's own, and that of its service.
        let own = self.user_home().ok().map(|home| home.join(".ollama/models"));
        own.into_iter().chain([PathBuf::from("/usr/share/ollama/.ollama/models")]).collect()
    }

    fn endpoint(&self) -> Result<String> {
        let text = self.text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into());
        let endpoint = text.trim().trim_end_matches('/');
        if endpoint.starts_with("https://") || endpoint.starts_with("http://") {
            return Ok(endpoint.into());
        }
        Err(Error::Setting {
            name: "HF_ENDPOINT",
            why: format!("`{endpoint}` does not start with https:// or http://"),
        })
    }

    fn token(&self, hf_home: &Path) -> Result<Option<Token>> {
        if let Some(text) = self.text("HF_TOKEN") {
            return Token::new(&text).map(Some);
        }
        if self.is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return Ok(None);
        }
        let path = self.path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token"));
        // Another program's file: if it holds no token, there is none.
        Ok(fs::read_to_string(path).ok().and_then(|text| Token::new(&text).ok()))
    }

    fn pythons(&self) -> Vec<PathBuf> {
        match self.path("BANTAM_PYTHON").or_else(|| self.path("PYTHON")) {
            Some(python) => vec![python],
            None if cfg!(windows) => ["py", "python", "python3"].map(PathBuf::from).into(),
            None => ["python3", "python"].map(PathBuf::from).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_lookup(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn folders_follow_the_environment() {
        let plain = settings(&[("HOME", "/h")]).unwrap();
        assert_eq!(plain.cache, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(plain.ollama[0], Path::new("/h/.ollama/models"));
        let xdg = settings(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d"), ("XDG_CACHE_HOME", "/c")]).unwrap();
        assert_eq!((xdg.home, xdg.cache), ("/d/bantam".into(), "/c/huggingface/hub".into()));
        let own =
            settings(&[("BANTAM_HOME", "/b"), ("HF_HOME", "/f"), ("HF_ENDPOINT", "http://m/hf/")]).unwrap();
        assert_eq!(
            (own.home, own.cache, own.endpoint.as_str()),
            ("/b".into(), "/f/hub".into(), "http://m/hf")
        );
        let ollama = settings(&[("HOME", "/h"), ("OLLAMA_MODELS", "/o")]).unwrap();
        assert_eq!(ollama.ollama, [Path::new("/o")]);
        let tilde = settings(&[("HOME", "/h"), ("BANTAM_HOME", "~/models"), ("HF_HUB_CACHE", "/x")]).unwrap();
        assert_eq!((tilde.home, tilde.cache), ("/h/models".into(), "/x".into()));
    }

    #[test]
    fn offline_is_any_of_three_switches() {
        for name in ["BANTAM_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            let on = settings(&[("HOME", "/h"), (name, "True")]).unwrap();
            assert!(matches!(on.network, Network::Forbidden), "{name}");
            let off = settings(&[("HOME", "/h"), (name, "0")]).unwrap();
            assert!(matches!(off.network, Network::Allowed(_)), "{name}");
        }
    }

    #[test]
    fn tokens_are_checked_and_never_printed() {
        let with = settings(&[("HOME", "/h"), ("HF_TOKEN", " hf_secret\n")]).unwrap();
        assert_eq!(with.token.as_ref().map(Token::secret), Some("hf_secret"));
        assert!(!format!("{with:?}").contains("secret"));
        assert!(settings(&[("HOME", "/h"), ("HF_TOKEN", "two words")]).is_err());
        assert!(settings(&[("HOME", "/h"), ("HF_ENDPOINT", "ftp://x")]).is_err());
    }

    #[test]
    fn no_home_is_an_error_that_names_the_way_out() {
        let error = settings(&[]).unwrap_err().to_string();
        assert!(error.contains("BANTAM_HOME"), "{error}");
    }
}
