//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{ArgAction, Args as Arguments, Parser, Subcommand};
use operator_core::options::Options;

use crate::{infrastructure::AddressRange, telemetry::LogFormat};

/// Runs fleets of NGINX gateways from Kubernetes Gateway API objects.
///
/// A folder of YAML files becomes running gateways with `flotilla run`; no cluster is needed. In a cluster, `operator`
/// runs them, which the Helm chart installs, and `status` says how they are. Four commands say what would happen, without
/// anything running: `check` what is wrong with the objects, `render` what NGINX would be given, `diff` what would change
/// in it, `explain` where a request would go.
///
/// A folder may hold any number of files named *.yaml, *.yml or *.json, at any depth, with any number of objects each:
/// Gateways and routes, and the Services, endpoint slices, Secrets, config maps and Namespaces that they need. Objects
/// without a namespace are in `default`. Kinds that Flotilla does not read are left alone.
#[derive(Debug, Parser)]
#[command(name = "flotilla", version, max_term_width = 100)]
pub struct Args {
    /// How the log looks, which goes to standard error; what is logged is up to `$RUST_LOG`, such as `debug`.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a gateway for every Gateway object of a folder, and follows the folder as it changes.
    ///
    /// Each gateway gets a loopback address of its own, or the ones in its spec.addresses, and serves its listeners'
    /// ports there. Ports below 1024 are served 10,000 higher where this user may not listen on them. Files that do not
    /// parse keep what they held before, and configurations that NGINX refuses leave the last good one serving; the log
    /// and the objects' statuses say so.
    ///
    /// Ctrl-C ends the gateways in order. If the operator is killed, they go on, and the next `run` with the same
    /// state folder takes them over.
    Run(Run),

    /// Runs the gateways of a Kubernetes cluster, as pods that it makes.
    ///
    /// The cluster is the one that the operator is a pod of, or else the one that $KUBECONFIG names. Any number of
    /// replicas may run: all of them serve gateways, and one of them, who holds a Lease, writes.
    Operator(Operator),

    /// Says what every gateway of a cluster serves, which pods lag behind and why, and what is wrong with objects.
    ///
    /// READY counts the pods that take requests, CURRENT those that serve the newest generation. The cluster is the one
    /// that $KUBECONFIG names; the operator is asked through its API server, which takes the right to `get` `pods/proxy`
    /// and `leases` in the operator's namespace.
    Status(Status),

    /// Writes the configuration that each gateway's NGINX would be given.
    ///
    /// Makes a folder OUT/NAMESPACE/NAME for each Gateway, in place of the one that an earlier run made there. NGINX
    /// takes it: `nginx -t -p OUT/NAMESPACE/NAME -c nginx.conf`. Private keys are in it, readable by you alone.
    Render {
        /// Folder with the objects.
        #[arg(value_name = "DIR")]
        manifests: PathBuf,

        /// Folder to write to, made if it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },

    /// Says what is wrong with the objects of a folder, one problem a line.
    ///
    /// A line is `FILE:LINE: MESSAGE`, and for what a status would say of an object
    /// `FILE:LINE: KIND NAMESPACE/NAME: CONDITION=STATUS reason REASON: MESSAGE`.
    ///
    /// Made for the pipelines of repositories: needs no network and takes milliseconds. The exit status is 1 if there
    /// is any problem and 2 if the folder cannot be read. Documents that are for others are noted on standard error, and
    /// are no problem.
    Check {
        /// Folder with the objects, or a single file.
        #[arg(value_name = "DIR")]
        manifests: PathBuf,
    },

    /// Says which gateway, listener, route and rule would serve a request, and why the nearer candidates would not.
    Explain {
        /// Folder with the objects.
        #[arg(value_name = "DIR")]
        manifests: PathBuf,

        /// Method and URL; the port, if it is not the scheme's, is the listener's.
        #[arg(long, value_name = "'METHOD URL'")]
        request: String,

        /// A header of the request; may be given many times.
        #[arg(short = 'H', long = "header", value_name = "'NAME: VALUE'")]
        headers: Vec<String>,
    },

    /// Says what would change in NGINX between two folders of objects, as a unified diff.
    ///
    /// The exit status is 0 either way.
    Diff {
        /// Folder with the objects as they are.
        old: PathBuf,

        /// Folder with the objects as they will be.
        new: PathBuf,
    },

    /// Prints the definitions of our own kinds, ready for `kubectl apply -f -`.
    Crds,
}

/// What `run` takes.
#[derive(Debug, Arguments)]
pub struct Run {
    /// Folder with the objects, followed as it changes.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,

    /// Folder for what has to outlive a restart: addresses, the last good configurations, logs of the gateways. One
    /// operator at a time uses it. By default one of the user's, by the path of the manifests.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Address to answer /healthz, /readyz, /metrics, /fleets and /objects on.
    ///
    /// /fleets says what every gateway serves and what is wrong, /objects is a v1/List of all objects with their
    /// statuses, with Secrets blanked out.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,

    /// The NGINX to run, 1.27.4 or newer; by default the one on the path.
    #[arg(long, value_name = "PATH", env = "NGINX", default_value = "nginx")]
    pub nginx: PathBuf,

    /// Loopback addresses to give to gateways that ask for none.
    #[arg(long, value_name = "CIDR", default_value = "127.77.0.0/16")]
    pub addresses: AddressRange,
}

/// What `operator` takes.
#[derive(Debug, Arguments)]
pub struct Operator {
    /// Image of the gateways: NGINX and flotilla-agent.
    #[arg(long, value_name = "IMAGE")]
    pub gateway_image: String,

    /// When nodes look for a newer gateway image; by default Kubernetes chooses by the image's tag.
    #[arg(long, value_name = "POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub gateway_image_pull_policy: Option<String>,

    /// Namespace for the operator's own Lease and Secret.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = "flotilla-system"
    )]
    pub namespace: String,

    /// Name of this replica among the others.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "flotilla")]
    pub identity: String,

    /// IP address at which other replicas reach this one.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP")]
    pub address: Option<IpAddr>,

    /// Address to serve gateways on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:9443")]
    pub listen: SocketAddr,

    /// Host name and port that gateways find the operator at, whichever replica that may be.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "flotilla.flotilla-system.svc:9443"
    )]
    pub service: Service,

    /// The controllerName of the GatewayClasses to care for.
    #[arg(long, value_name = "NAME", default_value = Options::CONTROLLER_NAME)]
    pub controller_name: String,

    /// The only namespaces whose Gateways are run and whose routes, Services and other objects are read, separated by
    /// commas; all by default. GatewayClasses and Namespaces are read in any case.
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Whether to run the endpoint pickers that EndpointPickers ask for, which takes rights of its own: those that the
    /// pickers get, and those to write Secrets and Roles.
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    pub endpoint_pickers: bool,

    /// Address to answer /healthz, /readyz, /metrics, /fleets and /objects on.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
}

/// What `status` takes.
#[derive(Debug, Arguments)]
pub struct Status {
    /// The one Gateway to speak of; all by default.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub gateway: Option<String>,

    /// Namespace of the operator.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "flotilla-system")]
    pub namespace: String,

    /// Port of the operator's --admin.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub admin_port: u16,
}

/// A host name with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Such as `flotilla.flotilla-system.svc`.
    pub host: String,
    /// Such as 9443.
    pub port: u16,
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("expected a host name, a colon and a port")?;
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
