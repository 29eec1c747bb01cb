//! Exact-size stacks of free runs, in front of the merging map.

use super::{Align, Run};

/// Sizes with a bin of their own: 1 to this many units.
const BIN_LEN_MAX: u32 = 1024;
/// Runs that the bins of one free space hold at most: it bounds the time of folding them.
const RUNS_MAX: usize = 1024;
/// No node.
const NONE: u16 = u16::MAX;
const _: () = assert!(RUNS_MAX < NONE as usize && BIN_LEN_MAX <= NONE as u32);

/// A run in a bin, or an unused node in the chain of unused nodes (`len` is then 0).
#[derive(Copy, Clone, Debug)]
struct Node {
    start: u32,
    len: u16,
    next: u16,
}

/// The bins. Nothing is allocated before the first run comes.
#[derive(Debug)]
pub(super) struct Bins {
    /// By length: the node put last, or `NONE`.
    heads: Vec<u16>,
    nodes: Vec<Node>,
    unused: u16,
    len: usize,
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            heads: Vec::new(),
            nodes: Vec::new(),
            unused: NONE,
            len: 0,
        }
    }
}

impl Bins {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Keeps the run, or says no: too long, or the bins are full.
    pub(super) fn push(&mut self, run: Run) -> bool {
        let (Ok(len), true) = (u16::try_from(run.len), run.len <= BIN_LEN_MAX) else {
            return false;
        };
        if self.heads.is_empty() {
            self.heads = vec![NONE; BIN_LEN_MAX as usize + 1];
        }
        let head = self.heads[usize::from(len)];
        let node = Node {
            start: run.start,
            len,
            next: head,
        };
        let Some(index) = self.store(node) else {
            return false;
        };
        self.heads[usize::from(len)] = index;
        self.len += 1;
        true
    }

    fn store(&mut self, node: Node) -> Option<u16> {
        if self.unused != NONE {
            let index = self.unused;
            self.unused = self.nodes[usize::from(index)].next;
            self.nodes[usize::from(index)] = node;
            return Some(index);
        }
        if self.nodes.len() >= RUNS_MAX {
            return None;
        }
        let index = u16::try_from(self.nodes.len()).ok()?;
        self.nodes.push(node);
        Some(index)
    }

    /// The run of this length that was put last, if it is aligned.
    pub(super) fn pop(&mut self, len: u32, align: Align) -> Option<u32> {
        let head = self.heads.get_mut(len as usize)?;
        let index = *head;
        let node = self.nodes.get_mut(usize::from(index))?;
        if align.next(node.start) != Some(node.start) {
            return None;
        }
        *head = node.next;
        node.next = self.unused;
        node.len = 0;
        self.unused = index;
        self.len -= 1;
        Some(node.start)
    }

    /// Empties the bins into `sink`.
    pub(super) fn drain(&mut self, mut sink: impl FnMut(Run)) {
        if self.len == 0 {
            return;
        }
        for node in self.nodes.drain(..).filter(|node| node.len > 0) {
            self.heads[usize::from(node.len)] = NONE;
            sink(Run {
                start: node.start,
                len: u32::from(node.len),
            });
        }
        self.unused = NONE;
        self.len = 0;
    }
}
