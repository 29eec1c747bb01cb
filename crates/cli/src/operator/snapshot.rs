//! What a manager tells of everything at one time.

use vidmm_wire::{ClientRow, EventRow, OperatorRequest, Summary, ToOperator, WhoseEvents};

use crate::operator::{Link, OperatorError};

/// The state of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) summary: Summary,
    /// Those that the operator may see.
    pub(crate) clients: Vec<ClientRow>,
}

/// Orders and discards, oldest first within each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explained {
    pub(crate) orders: Vec<EventRow>,
    pub(crate) discards: Vec<WhoseEvents>,
}

impl Snapshot {
    /// Asks for it.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(crate) fn ask(link: &mut Link) -> Result<Self, OperatorError> {
        let mut summary = None;
        let mut clients = Vec::new();
        link.ask(OperatorRequest::Stat, |part| match part {
            ToOperator::Summary(told) => summary = Some(told),
            ToOperator::Client(row) => clients.push(row),
            _ => {}
        })?;
        let summary = summary.ok_or_else(|| {
            OperatorError::NotVidmm(
                link.path().to_path_buf(),
                "it tells nothing of itself".to_owned(),
            )
        })?;
        for client in &mut clients {
            client.name = crate::output::printable(&client.name);
        }
        Ok(Self { summary, clients })
    }

    /// The name of a process, if it is one of the clients.
    pub(crate) fn name_of(&self, pid: u32) -> Option<&str> {
        let client = self.clients.iter().find(|client| client.pid == pid)?;
        Some(&client.name)
    }
}

impl Explained {
    /// Asks for the newest orders, and the newest discards of each client.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(crate) fn ask(link: &mut Link, newest: u32) -> Result<Self, OperatorError> {
        let mut explained = Self::default();
        link.ask(OperatorRequest::Events { newest }, |part| match part {
            ToOperator::Event(order) => explained.orders.push(order),
            ToOperator::Discards(whose) => explained.discards.push(whose),
            _ => {}
        })?;
        Ok(explained)
    }
}
