//! What a trace knows and no policy may: when each object is wanted next.

use crate::Requests;

/// For each request, the place of the next one for the same object.
#[derive(Debug, Clone)]
pub struct Future {
    next: Vec<u32>,
}

/// No next access.
const NEVER: u32 = u32::MAX;

impl Future {
    /// As many requests can be told apart.
    pub const MOST_REQUESTS: usize = NEVER as usize;

    /// Found by looking at the whole trace.
    ///
    /// # Panics
    /// Beyond [`Future::MOST_REQUESTS`].
    #[must_use]
    pub fn of(requests: &Requests) -> Self {
        let mut last_seen = vec![NEVER; requests.objects()];
        let mut next = vec![NEVER; requests.len()];
        for index in (0..requests.len()).rev() {
            let Some(request) = requests.get(index) else {
                continue;
            };
            let seen = &mut last_seen[request.object.index()];
            next[index] = *seen;
            *seen = u32::try_from(index).expect("fewer requests than 2^32");
        }
        Future { next }
    }

    /// The place of the next request for the object that the request at `index` is for.
    #[must_use]
    pub fn next_after(&self, index: usize) -> Option<usize> {
        match self.next.get(index) {
            None | Some(&NEVER) => None,
            Some(&next) => Some(next as usize),
        }
    }
}
