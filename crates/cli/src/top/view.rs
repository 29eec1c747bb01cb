//! What is shown, and what keys and news do to it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use vidmm_wire::ClientRow;

use crate::operator::Snapshot;
use crate::top::fetch::News;
use crate::words::{discards, offered_bytes};

/// What the list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Pid,
    Name,
    Held,
    Locked,
    Offered,
    Warm,
    Discards,
    Hits,
    Share,
    Budget,
}

impl Sort {
    /// Each with its key and its name.
    pub(crate) const ALL: [(char, Sort, &'static str); 10] = [
        ('p', Sort::Pid, "process number"),
        ('n', Sort::Name, "name"),
        ('h', Sort::Held, "held"),
        ('l', Sort::Locked, "locked"),
        ('o', Sort::Offered, "offered"),
        ('w', Sort::Warm, "warm"),
        ('d', Sort::Discards, "discards"),
        ('i', Sort::Hits, "hits"),
        ('s', Sort::Share, "share"),
        ('b', Sort::Budget, "budget"),
    ];

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        let found = Sort::ALL.iter().find(|(_, sort, _)| *sort == self);
        found.map_or("", |(_, _, name)| name)
    }

    /// Whether the smallest comes first.
    fn rises(self) -> bool {
        matches!(self, Sort::Pid | Sort::Name)
    }
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Suspend,
    Quit,
}

/// One row of the list.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) client: ClientRow,
    /// Discards in the last interval, per second; `None` at a process's first appearance.
    pub(crate) discards_per_s: Option<f64>,
}

/// All that is shown.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) colours: bool,
    pub(crate) sort: Sort,
    /// The order is turned around.
    pub(crate) reversed: bool,
    pub(crate) help: bool,
    /// How many rows are above the screen.
    pub(crate) offset: usize,
    /// What the manager told last, sorted.
    pub(crate) snapshot: Snapshot,
    pub(crate) rows: Vec<Row>,
    /// Why there is nothing newer.
    pub(crate) trouble: Option<String>,
    /// When the manager told, and how many discards each process had then.
    before: Option<(Instant, BTreeMap<u32, u64>)>,
}

impl View {
    /// Nothing known yet.
    pub(crate) fn new(colours: bool) -> Self {
        Self {
            colours,
            sort: Sort::Held,
            reversed: false,
            help: false,
            offset: 0,
            snapshot: Snapshot::default(),
            rows: Vec::new(),
            trouble: None,
            before: None,
        }
    }

    /// Takes what came of asking, at `now`. After an error the last figures stay.
    pub(crate) fn take(&mut self, news: News, now: Instant) {
        let snapshot = match news {
            Ok(snapshot) => snapshot,
            Err(trouble) => {
                self.trouble = Some(trouble);
                return;
            }
        };
        self.trouble = None;
        let rate = |client: &ClientRow| {
            let (then, counts) = self.before.as_ref()?;
            let more = discards(&client.figures).saturating_sub(*counts.get(&client.pid)?);
            let seconds = now.saturating_duration_since(*then).as_secs_f64();
            (seconds > 0.0).then(|| more as f64 / seconds)
        };
        let row = |client: &ClientRow| Row {
            client: client.clone(),
            discards_per_s: rate(client),
        };
        self.rows = snapshot.clients.iter().map(row).collect();
        let counts = |client: &ClientRow| (client.pid, discards(&client.figures));
        self.before = Some((now, snapshot.clients.iter().map(counts).collect()));
        self.snapshot = snapshot;
        self.order();
    }

    /// Does what a key says.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Quit,
                KeyCode::Char('z') => Next::Suspend,
                _ => Next::GoOn,
            };
        }
        if self.help && matches!(key.code, KeyCode::Esc | KeyCode::Char('?')) {
            self.help = false;
            return Next::GoOn;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char('?') => self.help = true,
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char(letter) => {
                if let Some((_, sort, _)) = Sort::ALL.iter().find(|(key, ..)| *key == letter) {
                    self.sort = *sort;
                    self.reversed = false;
                    self.offset = 0;
                }
            }
            KeyCode::Down => self.scroll(1),
            KeyCode::Up => self.scroll(-1),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::PageUp => self.scroll(-10),
            KeyCode::Home => self.offset = 0,
            KeyCode::End => self.scroll(isize::MAX),
            _ => {}
        }
        self.order();
        Next::GoOn
    }

    fn scroll(&mut self, by: isize) {
        let last = self.rows.len().saturating_sub(1);
        self.offset = self.offset.saturating_add_signed(by).min(last);
    }

    fn order(&mut self) {
        let (sort, turned) = (self.sort, self.sort.rises() == self.reversed);
        self.rows.sort_by(|left, right| {
            let order = compare(sort, left, right);
            let order = if turned { order.reverse() } else { order };
            // Rows that are alike keep their places from one look to the next.
            order.then(left.client.pid.cmp(&right.client.pid))
        });
        self.offset = self.offset.min(self.rows.len().saturating_sub(1));
    }
}

/// The order in which the smaller comes first.
fn compare(sort: Sort, left: &Row, right: &Row) -> Ordering {
    let by = |figure: fn(&ClientRow) -> u64| figure(&left.client).cmp(&figure(&right.client));
    match sort {
        Sort::Pid => by(|client| u64::from(client.pid)),
        Sort::Name => left.client.name.cmp(&right.client.name),
        Sort::Held => by(|client| client.figures.held_bytes),
        Sort::Locked => by(|client| client.figures.locked.bytes),
        Sort::Offered => by(|client| offered_bytes(&client.figures)),
        Sort::Warm => by(|client| client.figures.warm_bytes),
        Sort::Discards => {
            let rate = |row: &Row| row.discards_per_s.unwrap_or(0.0);
            rate(left)
                .total_cmp(&rate(right))
                .then(by(|client| discards(&client.figures)))
        }
        Sort::Hits => by(hits_in_thousandths),
        Sort::Share => by(|client| client.share_bytes),
        Sort::Budget => by(|client| client.budget_bytes),
    }
}

fn hits_in_thousandths(client: &ClientRow) -> u64 {
    let figures = &client.figures;
    let all = u128::from(figures.reclaims_intact) + u128::from(figures.reclaims_discarded);
    let hits = u128::from(figures.reclaims_intact) * 1000;
    hits.checked_div(all)
        .map_or(0, |share| u64::try_from(share).unwrap_or(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fake::{client, summary};
    use std::time::Duration;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn pids(view: &View) -> Vec<u32> {
        view.rows.iter().map(|row| row.client.pid).collect()
    }

    fn snapshot() -> Snapshot {
        let mut clients = vec![
            client(30, "beta", 100),
            client(10, "gamma", 300),
            client(20, "alpha", 200),
        ];
        clients[0].figures.locked.bytes = 9;
        clients[1].figures.reclaims_intact = 0;
        clients[2].share_bytes = 1;
        Snapshot {
            summary: summary(),
            clients,
        }
    }

    #[test]
    fn keys_sort_and_turn_around() {
        let mut view = View::new(false);
        view.take(Ok(snapshot()), Instant::now());
        assert_eq!(pids(&view), [10, 20, 30], "the largest first");
        for (pressed, order) in [
            ('p', [10, 20, 30]),
            ('r', [30, 20, 10]),
            ('n', [20, 30, 10]),
            ('l', [10, 20, 30]),
            ('r', [30, 10, 20]),
            ('i', [20, 30, 10]),
            ('s', [10, 30, 20]),
            // Nothing tells them apart: by number.
            ('b', [10, 20, 30]),
            ('x', [10, 20, 30]),
        ] {
            assert_eq!(view.press(key(KeyCode::Char(pressed))), Next::GoOn);
            assert_eq!(pids(&view), order, "{pressed}");
        }
    }

    #[test]
    fn rates_are_of_the_last_interval() {
        let mut view = View::new(false);
        let start = Instant::now();
        view.take(Ok(snapshot()), start);
        assert!(view.rows.iter().all(|row| row.discards_per_s.is_none()));
        let mut later = snapshot();
        later.clients[0].figures.discards[1].count += 30;
        later.clients.push(client(40, "new", 1));
        view.take(Ok(later), start + Duration::from_secs(2));
        view.press(key(KeyCode::Char('d')));
        let rates: Vec<_> = view.rows.iter().map(|row| row.discards_per_s).collect();
        assert_eq!(pids(&view), [30, 10, 20, 40]);
        assert_eq!(rates, [Some(15.0), Some(0.0), Some(0.0), None]);
        // The same moment again: no rate rather than one without end.
        view.take(Ok(snapshot()), start + Duration::from_secs(2));
        assert_eq!(view.rows[0].discards_per_s, None);
    }

    #[test]
    fn trouble_keeps_the_last_figures_until_it_ends() {
        let mut view = View::new(false);
        view.take(Ok(snapshot()), Instant::now());
        view.take(Err("gone".into()), Instant::now());
        assert_eq!(
            (view.trouble.as_deref(), view.rows.len()),
            (Some("gone"), 3)
        );
        view.take(Ok(Snapshot::default()), Instant::now());
        assert_eq!((view.trouble, view.rows.len()), (None, 0));
    }

    #[test]
    fn the_list_moves_within_its_ends() {
        let mut view = View::new(false);
        view.press(key(KeyCode::End));
        assert_eq!(view.offset, 0);
        view.take(Ok(snapshot()), Instant::now());
        for (code, offset) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 2),
            (KeyCode::Home, 0),
            (KeyCode::End, 2),
        ] {
            view.press(key(code));
            assert_eq!(view.offset, offset, "{code:?}");
        }
        view.take(Ok(Snapshot::default()), Instant::now());
        assert_eq!(view.offset, 0);
    }

    #[test]
    fn quitting() {
        let mut view = View::new(false);
        let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        assert_eq!(view.press(control('c')), Next::Quit);
        assert_eq!(view.press(control('z')), Next::Suspend);
        assert_eq!(view.press(key(KeyCode::Char('q'))), Next::Quit);
        assert_eq!(view.press(key(KeyCode::Char('?'))), Next::GoOn);
        // Help goes first.
        assert_eq!(view.press(key(KeyCode::Esc)), Next::GoOn);
        assert!(!view.help);
        assert_eq!(view.press(key(KeyCode::Esc)), Next::Quit);
    }
}
