//! Text formats of one access, or a run of accesses, a line.

use crate::access::Access;
use crate::error::{Problem, echo};
use crate::import::Import;
use crate::packing::Content;
use crate::text::{Lines, cost, exactly, fields, need};

/// A run of accesses longer than this is damage: it would be 4 GiB of blocks of 512 bytes at once.
const RUN_MAX: u64 = 1 << 23;

/// Lines `start count ignored request`.
pub(super) struct Lis {
    lines: Lines,
    next_id: u64,
    left: u64,
    count: u64,
}

impl Lis {
    pub(super) fn new(content: Content) -> Self {
        Lis {
            lines: Lines::new(content),
            next_id: 0,
            left: 0,
            count: 0,
        }
    }
}

impl Import for Lis {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        while self.left == 0 {
            let Some((number, line)) = self.lines.next()? else {
                return Ok(None);
            };
            let Some([start, count, _, _]) = exactly(line) else {
                return Err(wrong_line(number, line, "`start count ignored request`"));
            };
            let start = need(number, "start", start)?;
            let count = need(number, "count", count)?;
            if count > RUN_MAX || start.checked_add(count).is_none() {
                return Err(Problem::line(
                    number,
                    format!("{count} accesses from id {start} on are more than a trace can mean"),
                ));
            }
            (self.next_id, self.left) = (start, count);
        }
        let access = unsized_access(self.count, self.next_id);
        self.left -= 1;
        self.count += 1;
        // Behind the last id of a run there may be none.
        self.next_id = self.next_id.wrapping_add(1);
        Ok(Some(access))
    }
}

/// Lines `time id size`.
pub(super) struct TimeIdSize(Lines);

impl TimeIdSize {
    pub(super) fn new(content: Content) -> Self {
        TimeIdSize(Lines::new(content))
    }
}

impl Import for TimeIdSize {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        let Some((number, line)) = self.0.next()? else {
            return Ok(None);
        };
        let Some([time, id, size]) = exactly(line) else {
            return Err(wrong_line(number, line, "`time id size`"));
        };
        Ok(Some(Access {
            time: need(number, "time", time)?,
            id: need(number, "id", id)?,
            size_bytes: need(number, "size", size)?,
            cost: None,
        }))
    }
}

/// Lines `kind address n hit_penalty miss_penalty`.
pub(super) struct Penalties {
    lines: Lines,
    count: u64,
}

impl Penalties {
    pub(super) fn new(content: Content) -> Self {
        Penalties {
            lines: Lines::new(content),
            count: 0,
        }
    }
}

impl Import for Penalties {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        let Some((number, line)) = self.lines.next()? else {
            return Ok(None);
        };
        let (address, miss_penalty) = match exactly(line) {
            Some([_, address, _, _, miss_penalty]) => (address, Some(miss_penalty)),
            None => match exactly(line) {
                Some([_, address, _]) => (address, None),
                None => {
                    let wanted = "`kind address n hit_penalty miss_penalty`";
                    return Err(wrong_line(number, line, wanted));
                }
            },
        };
        let id = need(number, "address", address)?;
        let mut access = unsized_access(self.count, id);
        if let Some(miss_penalty) = miss_penalty {
            let Some(cost) = cost(miss_penalty) else {
                let problem = format!(
                    "the miss penalty {} is no number from 0 on",
                    echo(miss_penalty)
                );
                return Err(Problem::line(number, problem));
            };
            access.cost = Some(cost);
        }
        self.count += 1;
        Ok(Some(access))
    }
}

/// An id a line, sections ended by `*`.
pub(super) struct Lirs {
    lines: Lines,
    count: u64,
}

impl Lirs {
    pub(super) fn new(content: Content) -> Self {
        Lirs {
            lines: Lines::new(content),
            count: 0,
        }
    }
}

impl Import for Lirs {
    fn next(&mut self) -> Result<Option<Access>, Problem> {
        loop {
            let Some((number, line)) = self.lines.next()? else {
                return Ok(None);
            };
            if line == b"*" {
                continue;
            }
            let Some([id]) = exactly(line) else {
                return Err(wrong_line(number, line, "one id or `*`"));
            };
            let access = unsized_access(self.count, need(number, "id", id)?);
            self.count += 1;
            return Ok(Some(access));
        }
    }
}

/// An access of a trace without times and sizes: the `index`-th request, of one byte.
fn unsized_access(index: u64, id: u64) -> Access {
    Access {
        time: index,
        id,
        size_bytes: 1,
        cost: None,
    }
}

fn wrong_line(number: u64, line: &[u8], wanted: &str) -> Problem {
    let count = fields(line).count();
    let noun = if count == 1 { "field" } else { "fields" };
    Problem::line(
        number,
        format!("{count} {noun} ({}) where a line is {wanted}", echo(line)),
    )
}
