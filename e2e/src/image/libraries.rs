//! The shared libraries of a program, as the dynamic linker finds them on this machine.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

/// Absolute paths of every library that a program loads at its start, and of the linker itself; none for a static one.
pub(super) fn of(program: &Path) -> Result<Vec<String>> {
    let said = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot start ldd")?;
    // It fails for static programs, and says what is the matter with others in what it writes.
    let said = String::from_utf8_lossy(&said.stdout);
    anyhow::ensure!(
        !said.contains("not found"),
        "{} lacks a library: {said}",
        program.display()
    );
    Ok(said.lines().filter_map(library).map(str::to_owned).collect())
}

/// Reads `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; the kernel's
/// own `linux-vdso.so.1 (0x…)` has no file.
fn library(line: &str) -> Option<&str> {
    let (path, _address) = line.trim().rsplit_once(" (")?;
    let path = path.rsplit_once(" => ").map_or(path, |(_, path)| path);
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_have_paths() {
        let linux = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)";
        assert_eq!(library(linux), Some("/lib/x86_64-linux-gnu/libc.so.6"));
        let linker = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)";
        assert_eq!(library(linker), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(library("\tstatically linked"), None);
    }
}
