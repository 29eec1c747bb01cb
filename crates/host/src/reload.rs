//! A configuration read anew: nobody is disconnected, and a bad file changes nothing.

use sd_notify::NotifyState;
use vidmm_manager::{Event, ProcessId};

use crate::config::Config;
use crate::error::HostError;
use crate::server::{Server, settings_of};

impl Server {
    pub(crate) fn reload(&mut self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.notify(&[NotifyState::Reloading, now]);
        }
        let result = self.take_new_configuration();
        let (label, status) = match &result {
            Ok(()) => ("ok", "serving".to_owned()),
            Err(error) => {
                self.log.error(
                    "the new configuration is not used; the old one holds",
                    &[("problem", error)],
                );
                ("refused", format!("old configuration: {error}"))
            }
        };
        self.metrics.reloads.add(label, 1);
        self.metrics.changed = true;
        self.notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    fn take_new_configuration(&mut self) -> Result<(), HostError> {
        let config = match &self.options.config {
            Some(path) => Config::read(path, &self.options.files)?,
            None => Config::default(),
        };
        let settings = settings_of(&self.options, &config)?;
        let old = std::mem::replace(&mut self.config, config);
        self.log.level = self
            .options
            .log_level
            .or(self.config.log_level)
            .unwrap_or_default();
        let moved = old.metrics != self.config.metrics
            || old.metrics_textfile != self.config.metrics_textfile;
        if moved {
            self.log.warning(
                "where metrics are to be found changes with a restart only",
                &[],
            );
        }
        if self.config.rules.look_at_executables() && self.executables_hidden {
            self.log.warning(
                "rules by executable hold after a restart only: the sandbox hides executables",
                &[],
            );
        }
        self.feed(Event::Reconfigured { settings });
        let all = self.watched.processes();
        let changed = all
            .into_iter()
            .filter(|process| self.take_new_terms(*process))
            .count();
        self.log.info(
            "the new configuration holds",
            &[
                ("budget_bytes", &settings.budget_bytes),
                ("clients_with_new_terms", &changed),
            ],
        );
        Ok(())
    }

    /// Whether they have changed.
    fn take_new_terms(&mut self, process: ProcessId) -> bool {
        let Some(watched) = self.watched.get(process) else {
            return false;
        };
        let uid = watched.who.uid;
        let old = watched.terms;
        let terms = self.terms_of(process.pid, uid);
        if terms == old {
            return false;
        }
        if let Some(watched) = self.watched.get_mut(process) {
            watched.terms = terms;
        }
        if let Some(charged_bytes) = self.ledger.charge_of(process) {
            // Old terms on the disk would hold until the process joins the next manager.
            let _ = self.ledger.record(process, uid, terms, charged_bytes);
        }
        self.feed(Event::NewTerms { process, terms });
        true
    }
}
