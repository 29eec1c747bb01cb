//! Lists of objects, newest to oldest: what most policies are made of.
//!
//! All nodes lie in one array by object number, so an object is in one list at most, and finding it
//! is an index. A list may hold objects that are in the cache or only the names of some that were (a
//! ghost list); which it is, its owner knows. Each list knows the bytes of its objects.

use crate::{ObjectId, Request};

/// The list of an object that is in none.
const NOWHERE: u8 = u8::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// Places in the array of nodes; meaningless for what is in no list.
    newer: u32,
    older: u32,
    list: u8,
    /// The owner's own few bits; 0 for what is in no list.
    mark: u8,
}

/// `N` lists of objects.
///
/// The first `N` nodes are the ends of the lists: each list is a ring through its own end, and so
/// neither the first nor the last is a special case.
///
/// Sizes lie beside the nodes: what is hit is moved within its list, whose bytes stay what they are,
/// and so a hit touches no more memory than it must. That is most of its time.
#[derive(Debug)]
pub(super) struct Lists<const N: usize> {
    nodes: Vec<Node>,
    /// As the nodes are; meaningless for the ends and for what is in no list.
    sizes_bytes: Vec<u64>,
    bytes: [u64; N],
}

impl<const N: usize> Lists<N> {
    /// All empty.
    pub(super) fn new() -> Self {
        let nodes = (0..N).map(|list| {
            let place = Self::number(list);
            Node {
                newer: place,
                older: place,
                list: NOWHERE,
                mark: 0,
            }
        });
        Lists {
            nodes: nodes.collect(),
            sizes_bytes: vec![0; N],
            bytes: [0; N],
        }
    }

    /// Makes room in the array for an object of a number not seen before.
    #[inline]
    pub(super) fn know(&mut self, object: ObjectId) {
        let place = Self::place(object);
        if place >= self.nodes.len() {
            self.grow(place);
        }
    }

    #[cold]
    fn grow(&mut self, place: usize) {
        let absent = Node {
            newer: 0,
            older: 0,
            list: NOWHERE,
            mark: 0,
        };
        self.nodes.resize(place + 1, absent);
        self.sizes_bytes.resize(place + 1, 0);
    }

    #[inline]
    fn place(object: ObjectId) -> usize {
        object.index() + N
    }

    /// Places fit 32 bits, since objects number less than 2^32 - 256 ([`crate::Requests::push`]).
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    fn number(place: usize) -> u32 {
        place as u32
    }

    #[inline]
    fn object(place: u32) -> Option<ObjectId> {
        (place as usize)
            .checked_sub(N)
            .map(|index| ObjectId(Self::number(index)))
    }

    /// The list that an object is in.
    #[inline]
    pub(super) fn list_of(&self, object: ObjectId) -> Option<usize> {
        match self.nodes.get(Self::place(object)) {
            Some(node) if node.list != NOWHERE => Some(usize::from(node.list)),
            _ => None,
        }
    }

    /// What the objects of a list weigh together.
    #[inline]
    pub(super) fn bytes(&self, list: usize) -> u64 {
        self.bytes[list]
    }

    /// The one put at the newer end last.
    #[cfg(test)]
    pub(super) fn newest(&self, list: usize) -> Option<ObjectId> {
        Self::object(self.nodes[list].older)
    }

    /// The one at the other end.
    #[inline]
    pub(super) fn oldest(&self, list: usize) -> Option<ObjectId> {
        Self::object(self.nodes[list].newer)
    }

    /// The neighbour of an object that is in a list, towards the newer end.
    #[inline]
    pub(super) fn newer(&self, object: ObjectId) -> Option<ObjectId> {
        Self::object(self.nodes[Self::place(object)].newer)
    }

    /// The bits that the owner keeps with an object.
    #[inline]
    pub(super) fn mark(&self, object: ObjectId) -> u8 {
        self.nodes[Self::place(object)].mark
    }

    /// Sets them, of an object that is in a list.
    #[inline]
    pub(super) fn set_mark(&mut self, object: ObjectId, mark: u8) {
        self.nodes[Self::place(object)].mark = mark;
    }

    /// The size of an object that is in a list.
    #[inline]
    pub(super) fn size_bytes(&self, object: ObjectId) -> u64 {
        self.sizes_bytes[Self::place(object)]
    }

    /// Puts an object that is in no list at the newer end of one.
    #[inline]
    pub(super) fn put(&mut self, list: usize, request: &Request) {
        debug_assert!(self.list_of(request.object).is_none());
        let place = Self::place(request.object);
        self.sizes_bytes[place] = request.size_bytes;
        self.bytes[list] += request.size_bytes;
        self.link(list, place);
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a handful of lists")]
    fn link(&mut self, list: usize, place: usize) {
        let older = std::mem::replace(&mut self.nodes[list].older, Self::number(place));
        self.nodes[older as usize].newer = Self::number(place);
        let node = &mut self.nodes[place];
        (node.newer, node.older) = (Self::number(list), older);
        node.list = list as u8;
    }

    /// Gives the list that it was in.
    #[inline]
    fn unlink(&mut self, place: usize) -> usize {
        let Node {
            newer, older, list, ..
        } = self.nodes[place];
        self.nodes[newer as usize].older = older;
        self.nodes[older as usize].newer = newer;
        usize::from(list)
    }

    /// Takes an object out of the list that it is in, with its mark.
    #[inline]
    pub(super) fn remove(&mut self, object: ObjectId) {
        debug_assert!(self.list_of(object).is_some());
        let place = Self::place(object);
        let list = self.unlink(place);
        self.bytes[list] -= self.sizes_bytes[place];
        let node = &mut self.nodes[place];
        (node.list, node.mark) = (NOWHERE, 0);
    }

    /// Moves an object from the list that it is in to the newer end of one (the same or another).
    /// It keeps its mark.
    #[inline]
    pub(super) fn renew(&mut self, list: usize, object: ObjectId) {
        debug_assert!(self.list_of(object).is_some());
        let place = Self::place(object);
        let before = self.unlink(place);
        if before != list {
            self.bytes[before] -= self.sizes_bytes[place];
            self.bytes[list] += self.sizes_bytes[place];
        }
        self.link(list, place);
    }

    /// Moves an object from the cache to a list of names, unmarked, and forgets the oldest names
    /// there beyond `limit_bytes`. One that alone is beyond it is forgotten itself and costs no
    /// other its place.
    pub(super) fn remember(&mut self, ghosts: usize, object: ObjectId, limit_bytes: u64) {
        if self.size_bytes(object) > limit_bytes {
            self.remove(object);
            return;
        }
        self.renew(ghosts, object);
        self.set_mark(object, 0);
        while self.bytes[ghosts] > limit_bytes {
            let Some(oldest) = self.oldest(ghosts) else {
                return;
            };
            self.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Debug, Clone)]
    enum Step {
        Put(usize, u32),
        Remove(u32),
        Renew(usize, u32),
        Remember(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let object = 0..12_u32;
        prop_oneof![
            (0..2_usize, object.clone()).prop_map(|(list, object)| Step::Put(list, object)),
            object.clone().prop_map(Step::Remove),
            (0..2_usize, object.clone()).prop_map(|(list, object)| Step::Renew(list, object)),
            object.prop_map(Step::Remember),
        ]
    }

    fn size_of(object: u32) -> u64 {
        u64::from(object) + 1
    }

    const GHOSTS: usize = 2;
    const LIMIT: u64 = 10;

    proptest! {
        /// Against queues that are searched from end to end.
        #[test]
        fn lists_are_what_plain_queues_are(steps in prop::collection::vec(step(), 1..80)) {
            let mut lists = Lists::<3>::new();
            let mut queues: [VecDeque<u32>; 3] = Default::default();
            for step in steps {
                let (Step::Put(_, object) | Step::Remove(object) | Step::Renew(_, object)
                    | Step::Remember(object)) = step;
                let id = ObjectId(object);
                lists.know(id);
                let at = queues.iter().position(|queue| queue.contains(&object));
                match (step, at) {
                    (Step::Put(list, _), None) => {
                        let request = Request {
                            time: 0,
                            object: id,
                            size_bytes: size_of(object),
                            cost: 0.0,
                        };
                        lists.put(list, &request);
                        queues[list].push_front(object);
                    }
                    (Step::Remove(_), Some(from)) => {
                        lists.remove(id);
                        queues[from].retain(|&other| other != object);
                    }
                    (Step::Renew(list, _), Some(from)) => {
                        lists.renew(list, id);
                        queues[from].retain(|&other| other != object);
                        queues[list].push_front(object);
                    }
                    (Step::Remember(_), Some(from)) => {
                        lists.remember(GHOSTS, id, LIMIT);
                        queues[from].retain(|&other| other != object);
                        if size_of(object) <= LIMIT {
                            queues[GHOSTS].push_front(object);
                        }
                        while queues[GHOSTS].iter().map(|&o| size_of(o)).sum::<u64>() > LIMIT {
                            queues[GHOSTS].pop_back();
                        }
                    }
                    _ => {}
                }
                for (list, queue) in queues.iter().enumerate() {
                    let mut found = VecDeque::new();
                    let mut next = lists.oldest(list);
                    while let Some(object) = next {
                        found.push_front(object.0);
                        prop_assert_eq!(lists.list_of(object), Some(list));
                        next = lists.newer(object);
                    }
                    prop_assert_eq!(&found, queue);
                    prop_assert_eq!(lists.newest(list).map(|object| object.0), queue.front().copied());
                    prop_assert_eq!(lists.bytes(list), queue.iter().map(|&o| size_of(o)).sum::<u64>());
                }
                let held: usize = queues.iter().map(VecDeque::len).sum();
                let known = (0..12).filter(|&o| lists.list_of(ObjectId(o)).is_some()).count();
                prop_assert_eq!(held, known);
            }
        }
    }
}
