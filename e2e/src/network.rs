//! A network of a test's own, for programs that listen at every address of the machine.

use std::{
    env,
    net::{Ipv6Addr, TcpListener},
    process::Command,
};

use anyhow::{Result, ensure};
use rustix::process::geteuid;

use crate::command::output;

/// Set for a test that is in a network of its own.
const VARIABLE: &str = "FLOTILLA_OWN_NETWORK";

/// Whether this test, given by its path in the test binary, is in a network of its own already, which has loopback
/// and nothing else. If not, the same test has been run in one, and passed, when this returns.
///
/// ```no_run
/// # fn test() -> anyhow::Result<()> {
/// if !e2e::network::is_own("folder::name_of_this_test")? {
///     return Ok(());
/// }
/// # Ok(()) }
/// ```
pub fn is_own(test: &str) -> Result<bool> {
    if env::var_os(VARIABLE).is_some() {
        return Ok(true);
    }
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
    command
        .arg(env::current_exe()?)
        .args(["--exact", "--nocapture", test]);
    let said = output(command.env(VARIABLE, "yes"))?;
    print!("{said}");
    ensure!(said.contains("1 passed"), "there is no test {test}: {said}");
    Ok(false)
}

/// Whether this test, given as for [`is_own`], can go on: it has an address of IPv6 here, or in the network of its own that
/// it is run in else.
pub fn has_ipv6(test: &str) -> Result<bool> {
    let has_address = || TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if has_address() {
        return Ok(true);
    }
    let is_own = is_own(test)?;
    if is_own && !has_address() {
        println!("skipped: this machine has no IPv6");
        return Ok(false);
    }
    Ok(is_own)
}
