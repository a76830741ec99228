//! What takes effect without a reload: endpoints, which DNS answers for, certificates, which NGINX reads at
//! handshakes, and legs, which the proxy goes by.

mod state;

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prost::Message as _;
use proto::fleet::{self, Report};
use tokio::sync::watch;
use tracing::warn;

use self::state::State;
use crate::{
    dns::{Dns, Table},
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

/// The data in effect, on disk, in DNS, and as the proxy is to be told.
///
/// What the newest data no longer has goes on to exist until [`Self::retire`]: the configuration that NGINX still
/// serves may need it.
#[derive(Debug)]
pub struct InEffect {
    prefix: Prefix,
    dns: Dns,
    report: watch::Sender<Report>,
    for_proxy: watch::Sender<Arc<fleet::Data>>,
    state: Mutex<State>,
}

impl InEffect {
    /// Nothing yet.
    #[must_use]
    pub fn new(prefix: &Prefix, dns: &Dns, report: &watch::Sender<Report>) -> Self {
        Self {
            prefix: prefix.clone(),
            dns: dns.clone(),
            report: report.clone(),
            for_proxy: watch::Sender::default(),
            state: Mutex::default(),
        }
    }

    /// What the proxy is to be told, from now on: the legs that are kept and the endpoints they name.
    ///
    /// It has no version, since no version of the operator's may be the same.
    #[must_use]
    pub fn for_proxy(&self) -> watch::Receiver<Arc<fleet::Data>> {
        self.for_proxy.subscribe()
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.take_up(data);
        self.answer(&state);
        self.report(&state);
        Ok(())
    }

    /// Puts newer data into effect.
    ///
    /// Endpoints and legs first, which need no file: a full disk must not send requests to pods that are gone.
    pub fn put(&self, data: fleet::Data) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.take_up(data);
        self.answer(&state);
        for file in &state.newest.certificates {
            let path = RelativePath::new(&file.path)?;
            files::replace(&path.below(&self.prefix.certificates()), &file.content)?;
        }
        self.store(&state)?;
        self.report(&state);
        Ok(())
    }

    /// Removes what only an older configuration needed, when NGINX serves the newest.
    ///
    /// Returns how long to wait for what cannot be removed yet, if there is anything.
    pub fn retire(&self) -> Result<Option<Duration>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.size();
        let remaining = state.retire();
        if state.size() != before {
            self.store(&state)?;
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
        Ok(remaining)
    }

    /// Leaves the state for the supervisor and the proxy that start from it.
    fn store(&self, state: &State) -> Result<(), files::Error> {
        files::replace(&self.prefix.data(), &state.all().encode_to_vec())
    }

    /// Makes everybody who asks, or is to be told, hear of the state.
    fn answer(&self, state: &State) {
        let for_proxy = state.for_proxy();
        self.for_proxy.send_if_modified(|known| {
            let is_new = **known != for_proxy;
            if is_new {
                *known = Arc::new(for_proxy);
            }
            is_new
        });
        let (table, problems) = Table::new(state.endpoints.values());
        for problem in problems {
            warn!(problem, "endpoint left out");
        }
        self.dns.answer_from(table);
    }

    /// Says that all of the newest data is in effect.
    fn report(&self, state: &State) {
        self.report.send_if_modified(|report| {
            let is_new = report.data != state.newest.version;
            report.data.clone_from(&state.newest.version);
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use proto::fleet::{EndpointPort, Endpoints, File, Leg};

    use super::{state::LEG_GRACE, *};

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

    #[test]
    fn endpoints_change_where_nothing_can_be_written() {
        let setting = Setting::new();
        let in_effect = setting.agent();
        let for_proxy = in_effect.for_proxy();
        in_effect.put(legs("1", &["shop"])).unwrap();
        // Not even root can put a file in the place of a folder.
        files::remove(&setting.prefix.data()).unwrap();
        fs::create_dir(setting.prefix.data()).unwrap();
        assert!(in_effect.put(legs("2", &["blog"])).is_err());
        assert_eq!(leg_names(&for_proxy.borrow()), ["leg-blog", "leg-shop"]);
        assert_eq!(setting.report.borrow().data, "1", "not all of it is in effect");
        fs::remove_dir(setting.prefix.data()).unwrap();
        in_effect.put(legs("2", &["blog"])).unwrap();
        assert_eq!(setting.report.borrow().data, "2");
    }

    fn legs(version: &str, names: &[&str]) -> fleet::Data {
        let leg = |name: &&str| Leg {
            name: format!("leg-{name}"),
            endpoints: (*name).to_owned(),
            ..Leg::default()
        };
        fleet::Data {
            legs: names.iter().map(leg).collect(),
            ..data(version, names)
        }
    }

    fn leg_names(data: &fleet::Data) -> Vec<&str> {
        data.legs.iter().map(|leg| leg.name.as_str()).collect()
    }

    #[test]
    fn the_proxy_is_told_of_its_own_endpoints_only() {
        let setting = Setting::new();
        let in_effect = setting.agent();
        let mut for_proxy = in_effect.for_proxy();
        let mut both = legs("1", &["shop"]);
        both.endpoints.extend(data("1", &["blog"]).endpoints);
        in_effect.put(both.clone()).unwrap();
        let told = for_proxy.borrow_and_update().clone();
        assert_eq!(leg_names(&told), ["leg-shop"]);
        assert_eq!(told.endpoints, data("1", &["shop"]).endpoints);

        "2".clone_into(&mut both.version);
        both.endpoints[1].ports.clear();
        in_effect.put(both).unwrap();
        assert!(!for_proxy.has_changed().unwrap(), "it has no part in this");
    }

    #[tokio::test(start_paused = true)]
    async fn legs_stay_until_older_workers_take_no_requests() {
        let setting = Setting::new();
        let in_effect = setting.agent();
        let for_proxy = in_effect.for_proxy();
        in_effect.put(legs("1", &["shop"])).unwrap();
        assert_eq!(in_effect.retire().unwrap(), None);
        in_effect.put(legs("2", &["news"])).unwrap();
        assert_eq!(in_effect.retire().unwrap(), Some(LEG_GRACE));
        assert_eq!(leg_names(&for_proxy.borrow()), ["leg-news", "leg-shop"]);
        assert_eq!(names(&in_effect), ["news", "shop"]);

        tokio::time::advance(LEG_GRACE).await;
        assert_eq!(in_effect.retire().unwrap(), None);
        assert_eq!(leg_names(&for_proxy.borrow()), ["leg-news"]);
        assert_eq!(names(&in_effect), ["news"]);
    }

    #[test]
    fn what_is_not_retired_survives_a_restart() {
        let setting = Setting::new();
        let in_effect = setting.agent();
        in_effect.put(legs("1", &["shop"])).unwrap();
        in_effect.put(legs("2", &["news"])).unwrap();
        let restarted = setting.agent();
        restarted.restore().unwrap();
        assert_eq!(
            leg_names(&restarted.for_proxy().borrow()),
            ["leg-news", "leg-shop"]
        );
        assert_eq!(names(&restarted), ["news", "shop"]);
    }
}
