//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, Subcommand};

/// Runs one NGINX for Flotilla's operator.
///
/// The agent takes configuration and endpoints from the operator, has NGINX test and serve them, and reports what
/// NGINX serves. It keeps the last good configuration in its folder and starts from it when the operator is away.
///
/// The log goes to standard error; what is logged is up to `$RUST_LOG`, such as `debug` or `info,agent::proxy=debug`.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub role: Role,
}

/// The process to be.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Starts supervisor and proxy and restarts them when they die; made to be the first process of a container.
    ///
    /// Reaps all processes that end up without a parent, NGINX among them. SIGTERM, SIGINT, SIGQUIT and SIGHUP are
    /// passed on to the supervisor, whose exit status is then this one's; the proxy is ended after it.
    Init(Options),
    /// Supervises NGINX: follows the operator, applies what it wants, answers DNS queries, reports.
    ///
    /// Started by `init`, with the same options. Takes over an NGINX that already runs from the same folder, without
    /// a reload. On SIGTERM, SIGINT, SIGQUIT or SIGHUP it reports that it is not ready, lets connections end, and exits.
    Supervise(Options),
    /// Takes the requests that NGINX hands over to their endpoints: inference, time limits, retries.
    ///
    /// Started by `init`, with the same options. On SIGTERM, SIGINT, SIGQUIT or SIGHUP it accepts nothing more, lets
    /// requests end, and exits.
    Proxy(Options),
}

/// What all these processes take.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Folder of this gateway, created when missing; one agent at a time.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,

    /// Where the operator listens: `unix:/path/to.sock` or `https://host:port`.
    #[arg(long, value_name = "ADDRESS")]
    pub operator: String,

    /// File with the certificates of the authorities that the operator's certificate may come from, in PEM; read at
    /// each connection.
    #[arg(long, value_name = "PATH")]
    pub operator_ca: Option<PathBuf>,

    /// File with the bearer token that says to the operator who this is; read at each connection.
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,

    /// Name of this pod or process, as it is to stand in reports.
    #[arg(long, value_name = "NAME")]
    pub instance: String,

    /// The NGINX to run, 1.27.4 or newer.
    #[arg(long, value_name = "PATH", default_value = "nginx")]
    pub nginx: PathBuf,

    /// Address to answer /healthz, /readyz and /metrics on: whether the agent is alive, whether its NGINX takes
    /// requests, and what it has done.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,

    /// Address to answer NGINX's DNS queries on; the ports are chosen at the first start and kept.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub dns: IpAddr,

    /// How long to go on serving after the signal to stop, so that load balancers notice; such as `5s`.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub drain_delay: Duration,

    /// How long connections may then take to end before they are cut; such as `30s`.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// A duration written as a whole number with `ms`, `s` or `m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number
        .parse()
        .map_err(|_| "expected a whole number and a unit, such as 500ms".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_mins(number.into())),
        _ => Err("expected one of the units ms, s and m, such as 500ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert!(duration("30").is_err());
        assert!(duration("s").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
