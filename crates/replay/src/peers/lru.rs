//! Least recently used.

use crate::{Cache, ObjectId, Outcome, Request};

/// Marks the end of a list, and of what is not in one.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    newer: u32,
    older: u32,
    /// 0 is "not in the cache".
    size_bytes: u64,
}

/// The one that has not been used for the longest time goes first.
#[derive(Debug)]
pub struct Lru {
    nodes: Vec<Node>,
    newest: u32,
    oldest: u32,
    used_bytes: u64,
    size_bytes: u64,
}

impl Lru {
    /// A cache of so many bytes.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Lru {
            nodes: Vec::new(),
            newest: NONE,
            oldest: NONE,
            used_bytes: 0,
            size_bytes,
        }
    }

    fn unlink(&mut self, object: u32) {
        let Node { newer, older, .. } = self.nodes[object as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, object: u32) {
        let older = std::mem::replace(&mut self.newest, object);
        let node = &mut self.nodes[object as usize];
        (node.newer, node.older) = (NONE, older);
        match older {
            NONE => self.oldest = object,
            older => self.nodes[older as usize].newer = object,
        }
    }
}

impl Cache for Lru {
    fn request(&mut self, request: Request) -> Outcome {
        let ObjectId(object) = request.object;
        if request.object.index() >= self.nodes.len() {
            let absent = Node {
                newer: NONE,
                older: NONE,
                size_bytes: 0,
            };
            self.nodes.resize(request.object.index() + 1, absent);
        }
        if self.contains(request.object) {
            self.unlink(object);
            self.link_newest(object);
            return Outcome::Hit;
        }
        while self.used_bytes + request.size_bytes > self.size_bytes && self.oldest != NONE {
            let victim = self.oldest;
            self.unlink(victim);
            self.used_bytes -= std::mem::take(&mut self.nodes[victim as usize].size_bytes);
        }
        self.nodes[request.object.index()].size_bytes = request.size_bytes;
        self.used_bytes += request.size_bytes;
        self.link_newest(object);
        Outcome::Miss
    }

    fn contains(&self, object: ObjectId) -> bool {
        self.nodes
            .get(object.index())
            .is_some_and(|node| node.size_bytes > 0)
    }

    fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}
