//! Users by name, from the machine's own file: asking other sources (LDAP and the like) could wait.

use std::path::PathBuf;

use vidmm_machine::MachineFiles;

/// The machine's list of users.
#[derive(Debug, Clone)]
pub(super) struct Users {
    path: PathBuf,
}

impl Users {
    pub(super) fn of(files: &MachineFiles) -> Self {
        // A test's machine has its users beside its other files.
        let path = match files.proc_root.as_os_str() == "/proc" {
            true => PathBuf::from("/etc/passwd"),
            false => files.proc_root.with_file_name("passwd"),
        };
        Users { path }
    }

    /// A user's number. `Err`: why there is none, and what to do.
    pub(super) fn uid(&self, name: &str) -> Result<u32, String> {
        let text = std::fs::read_to_string(&self.path).map_err(|error| {
            format!(
                "cannot read {}: {error}; write the user's number",
                self.path.display()
            )
        })?;
        let found = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        });
        found.ok_or_else(|| {
            format!(
                "{} has no user {name:?}; write the user's number (`id -u NAME` tells it)",
                self.path.display()
            )
        })
    }
}
