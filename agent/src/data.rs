//! What takes effect without a reload: endpoints, which DNS answers for, and certificates, which NGINX reads at
//! handshakes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use prost::Message as _;
use proto::fleet::{self, Endpoints, Report};
use tokio::sync::watch;
use tracing::warn;

use crate::{
    dns::{Dns, Table, Upstream},
    files::{self, RelativePath},
    prefix::Prefix,
};

/// Why data is not in effect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] files::Error),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged")]
    Decode {
        path: PathBuf,
        source: prost::DecodeError,
    },
}

/// The data in effect, on disk and in DNS.
///
/// What the newest data no longer has goes on to exist until [`Self::retire`]: the configuration that NGINX still
/// serves may need it.
#[derive(Debug)]
pub struct InEffect {
    prefix: Prefix,
    dns: Dns,
    report: watch::Sender<Report>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newest: fleet::Data,
    /// Those of the newest data, and older ones that are not retired yet.
    endpoints: BTreeMap<Upstream, Endpoints>,
}

impl InEffect {
    /// Nothing yet.
    #[must_use]
    pub fn new(prefix: &Prefix, dns: &Dns, report: &watch::Sender<Report>) -> Self {
        Self {
            prefix: prefix.clone(),
            dns: dns.clone(),
            report: report.clone(),
            state: Mutex::default(),
        }
    }

    /// Takes up what was in effect when the agent last ran; its certificates are where they were.
    pub fn restore(&self) -> Result<(), Error> {
        let path = self.prefix.data();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let data = fleet::Data::decode(bytes.as_slice()).map_err(|source| Error::Decode { path, source })?;
        self.take_up(data);
        Ok(())
    }

    /// Puts newer data into effect.
    pub fn put(&self, data: fleet::Data) -> Result<(), Error> {
        for file in &data.certificates {
            let path = RelativePath::new(&file.path)?;
            files::replace(&path.below(&self.prefix.certificates()), &file.content)?;
        }
        files::replace(&self.prefix.data(), &data.encode_to_vec())?;
        self.take_up(data);
        Ok(())
    }

    /// Removes what only an older configuration needed, when NGINX serves the newest.
    pub fn retire(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.endpoints.len() > state.newest.endpoints.len() {
            state.endpoints = by_upstream(&state.newest).collect();
            self.answer(&state);
        }
        let folder = self.prefix.certificates();
        let needed: Vec<PathBuf> = state
            .newest
            .certificates
            .iter()
            .map(|file| Ok(RelativePath::new(&file.path)?.below(&folder)))
            .collect::<Result<_, files::Error>>()?;
        for path in files::below(&folder)? {
            if !needed.contains(&path) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }

    fn take_up(&self, data: fleet::Data) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.endpoints.extend(by_upstream(&data));
        self.answer(&state);
        self.report.send_if_modified(|report| {
            let is_new = report.data != data.version;
            report.data.clone_from(&data.version);
            is_new
        });
        state.newest = data;
    }

    fn answer(&self, state: &State) {
        let (table, problems) = Table::new(state.endpoints.values());
        for problem in problems {
            warn!(problem, "endpoint left out");
        }
        self.dns.answer_from(table);
    }
}

fn by_upstream(data: &fleet::Data) -> impl Iterator<Item = (Upstream, Endpoints)> {
    let upstream = |endpoints: &Endpoints| Upstream {
        name: endpoints.name.clone(),
        service: endpoints.service.clone(),
    };
    data.endpoints
        .iter()
        .map(move |endpoints| (upstream(endpoints), endpoints.clone()))
}

#[cfg(test)]
mod tests {
    use proto::fleet::{EndpointPort, File};

    use super::*;

    fn data(version: &str, names: &[&str]) -> fleet::Data {
        let endpoints = |name: &&str| Endpoints {
            name: (*name).to_owned(),
            service: "e".to_owned(),
            ports: vec![EndpointPort {
                port: 80,
                addresses: vec!["10.0.0.1".to_owned()],
            }],
        };
        let certificate = |name: &&str| File {
            path: format!("{name}.pem"),
            content: version.into(),
        };
        fleet::Data {
            version: version.to_owned(),
            endpoints: names.iter().map(endpoints).collect(),
            certificates: names.iter().map(certificate).collect(),
            ..fleet::Data::default()
        }
    }

    struct Setting {
        _folder: tempfile::TempDir,
        prefix: Prefix,
        report: watch::Sender<Report>,
    }

    impl Setting {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let prefix = Prefix::create(folder.path()).unwrap();
            Self {
                _folder: folder,
                prefix,
                report: watch::Sender::new(Report::default()),
            }
        }

        fn agent(&self) -> InEffect {
            InEffect::new(&self.prefix, &Dns::default(), &self.report)
        }

        fn certificates(&self) -> Vec<String> {
            let paths = files::below(&self.prefix.certificates()).unwrap();
            paths
                .iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        }
    }

    fn names(in_effect: &InEffect) -> Vec<String> {
        in_effect
            .state
            .lock()
            .unwrap()
            .endpoints
            .keys()
            .map(|upstream| upstream.name.clone())
            .collect()
    }

    #[test]
    fn what_is_gone_stays_until_the_newest_configuration_is_served() {
        let setting = Setting::new();
        let in_effect = setting.agent();
        in_effect.put(data("1", &["blog", "shop"])).unwrap();
        in_effect.put(data("2", &["news", "shop"])).unwrap();
        assert_eq!(names(&in_effect), ["blog", "news", "shop"]);
        assert_eq!(setting.certificates(), ["blog.pem", "news.pem", "shop.pem"]);
        assert_eq!(setting.report.borrow().data, "2");
        in_effect.retire().unwrap();
        assert_eq!(names(&in_effect), ["news", "shop"]);
        assert_eq!(setting.certificates(), ["news.pem", "shop.pem"]);
    }

    #[test]
    fn data_survives_a_restart() {
        let setting = Setting::new();
        setting.agent().put(data("1", &["shop"])).unwrap();
        setting.report.send_replace(Report::default());
        let restarted = setting.agent();
        restarted.restore().unwrap();
        assert_eq!(names(&restarted), ["shop"]);
        assert_eq!(setting.report.borrow().data, "1");
    }

    #[test]
    fn certificates_cannot_leave_their_folder() {
        let setting = Setting::new();
        let mut outside = data("1", &[]);
        outside.certificates.push(File {
            path: "../nginx.pid".to_owned(),
            content: Vec::new(),
        });
        assert!(setting.agent().put(outside).is_err());
    }
}
