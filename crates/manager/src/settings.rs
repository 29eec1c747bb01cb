//! What the operator of the machine has decided.

/// What holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The budget, in bytes; never 0.
    pub budget_bytes: u64,
    /// What is kept for clients below their floor, in bytes.
    pub reserve_bytes: u64,
    /// How much of a client's fair share is safe from others' needs, in percent, at most 100: what is
    /// offered beyond that gives first, whoever's it is, by how long it has not been used.
    pub guarded_percent: u32,
    /// As many processes may be counted at once.
    pub clients_max: u32,
    /// How long a request may wait for memory that others have in use, in milliseconds.
    pub patience_ms: u32,
    /// How long a client may take to answer an order or a poll before it counts as unresponsive,
    /// in milliseconds.
    pub answer_ms: u32,
    /// By how much the kernel's count of a process may exceed its charge, in bytes, before it is
    /// said to hold more than it was granted: the kernel counts the process's own memory, too.
    pub audit_slack_bytes: u64,
}

impl Settings {
    /// The defaults for a budget: a reserve of a sixteenth.
    #[must_use]
    pub fn of_budget(budget_bytes: u64) -> Self {
        Settings {
            budget_bytes,
            reserve_bytes: budget_bytes / 16,
            guarded_percent: 100,
            clients_max: 4096,
            patience_ms: 500,
            answer_ms: 100,
            audit_slack_bytes: 1 << 30,
        }
    }

    /// What can be worked with, whatever was configured: a budget, and no more reserve than that.
    pub(crate) fn sane(mut self) -> Self {
        self.budget_bytes = self.budget_bytes.max(1);
        self.reserve_bytes = self.reserve_bytes.min(self.budget_bytes);
        self.guarded_percent = self.guarded_percent.min(100);
        self.answer_ms = self.answer_ms.max(1);
        self
    }

    /// The same for another budget, with the same part of it as reserve.
    pub(crate) fn with_budget(mut self, budget_bytes: u64) -> Self {
        let reserve = u128::from(self.reserve_bytes) * u128::from(budget_bytes)
            / u128::from(self.budget_bytes.max(1));
        self.reserve_bytes = u64::try_from(reserve).unwrap_or(u64::MAX);
        self.budget_bytes = budget_bytes;
        self.sane()
    }
}

/// What holds for one client, by the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How much of the shared budget it gets beside others, in hundredths: 100 is usual; never 0.
    pub weight_hundredths: u32,
    /// What is kept for it, in bytes.
    pub reservation_bytes: u64,
    /// What it can always reach, in bytes, out of the reserve for newcomers; `None`: the default,
    /// the smaller of 1/64 of the budget and the reserve divided by the clients.
    pub floor_bytes: Option<u64>,
    /// What it may never exceed, in bytes.
    pub cap_bytes: Option<u64>,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            weight_hundredths: 100,
            reservation_bytes: 0,
            floor_bytes: None,
            cap_bytes: None,
        }
    }
}
