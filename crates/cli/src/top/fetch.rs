//! Asks the manager, again and again, on a thread of its own.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::operator::{Link, OperatorError, Place, Snapshot};
use crate::output::Failure;

/// What came of asking; an error is said in words.
pub(crate) type News = Result<Snapshot, String>;

/// The thread's other end. The thread ends at its next word after this is dropped.
#[derive(Debug)]
pub(crate) struct Fetcher {
    news: Receiver<News>,
}

impl Fetcher {
    /// Begins to ask.
    ///
    /// # Errors
    /// The first answer does not come.
    pub(crate) fn begin(place: &Place, interval: Duration) -> Result<Self, Failure> {
        let mut link = Link::connect(place)?;
        let first = Snapshot::ask(&mut link)?;
        // Whoever does not listen is not told more than one thing.
        let (teller, news) = sync_channel(1);
        teller.send(Ok(first))?;
        let place = place.clone();
        thread::Builder::new()
            .name("fetcher".to_owned())
            .spawn(move || ask_on(&place, link, interval, &teller))?;
        Ok(Self { news })
    }

    /// What came since the last call.
    pub(crate) fn news(&self) -> Result<News, TryRecvError> {
        self.news.try_recv()
    }
}

fn ask_on(place: &Place, link: Link, interval: Duration, teller: &SyncSender<News>) {
    let mut link = Some(link);
    loop {
        thread::sleep(interval);
        let asked = ask(place, &mut link);
        if asked.is_err() {
            link = None;
        }
        let news = asked.map_err(|error| error.to_string());
        if teller.send(news).is_err() {
            return;
        }
    }
}

fn ask(place: &Place, link: &mut Option<Link>) -> Result<Snapshot, OperatorError> {
    if link.is_none() {
        *link = Some(Link::connect(place)?);
    }
    match link {
        Some(link) => Snapshot::ask(link),
        None => Ok(Snapshot::default()),
    }
}
