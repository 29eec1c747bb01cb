//! Offer and reclaim.

use crate::basic::{BOOL, D3DKMT_HANDLE, UINT, UINT64};

enumeration! {
    /// How soon what is offered is discarded: low first.
    ///
    /// `d3dkmthk.h: D3DKMT_OFFER_PRIORITY`.
    pub enum D3DKMT_OFFER_PRIORITY {
        /// Before all others.
        D3DKMT_OFFER_PRIORITY_LOW = 1,
        /// When nothing low is left.
        D3DKMT_OFFER_PRIORITY_NORMAL = 2,
        /// Last.
        D3DKMT_OFFER_PRIORITY_HIGH = 3,
        /// As the allocation priority says.
        D3DKMT_OFFER_PRIORITY_AUTO = 4,
    }
}

flags! {
    /// How allocations are offered.
    ///
    /// `d3dkmthk.h: D3DKMT_OFFER_FLAGS`.
    pub Valued D3DKMT_OFFER_FLAGS: UINT {
        /// Do not put it off.
        OfferImmediately: 0, 1;
        /// The allocation itself may be lost with its content.
        AllowDecommit: 1, 1;
        /// Must be 0.
        Reserved: 2, 30;
    }
}

structure! {
    /// Offers allocations: their content may be lost until they are reclaimed.
    ///
    /// `d3dkmthk.h: D3DKMT_OFFERALLOCATIONS`.
    pub struct D3DKMT_OFFERALLOCATIONS {
        /// The device they belong to.
        pub hDevice: D3DKMT_HANDLE,
        /// Resources whose members are offered, or NULL.
        pub pResources: *mut D3DKMT_HANDLE,
        /// Allocations, or NULL.
        pub HandleList: *const D3DKMT_HANDLE,
        /// How many are in the one array that is not NULL.
        pub NumAllocations: UINT,
        /// How soon they may go.
        pub Priority: D3DKMT_OFFER_PRIORITY,
        /// How they are offered.
        pub Flags: D3DKMT_OFFER_FLAGS,
    }
}

structure! {
    /// Reclaims what was offered.
    ///
    /// `d3dkmthk.h: D3DKMT_RECLAIMALLOCATIONS`.
    pub struct D3DKMT_RECLAIMALLOCATIONS {
        /// The device they belong to.
        pub hDevice: D3DKMT_HANDLE,
        /// Resources, or NULL.
        pub pResources: *mut D3DKMT_HANDLE,
        /// Allocations, or NULL.
        pub HandleList: *const D3DKMT_HANDLE,
        /// Out: for each, whether its content is lost. May be NULL.
        pub pDiscarded: *mut BOOL,
        /// How many are in the one array that is not NULL.
        pub NumAllocations: UINT,
    }
}

enumeration! {
    /// What a reclaim found.
    ///
    /// `d3dukmdt.h: D3DDDI_RECLAIM_RESULT`.
    pub enum D3DDDI_RECLAIM_RESULT {
        /// The content is what it was.
        D3DDDI_RECLAIM_RESULT_OK = 0,
        /// The content is lost, the memory is there.
        D3DDDI_RECLAIM_RESULT_DISCARDED = 1,
        /// The allocation is dead: it can only be destroyed.
        D3DDDI_RECLAIM_RESULT_NOT_COMMITTED = 2,
    }
}

structure! {
    /// Reclaims what was offered, through a paging queue.
    ///
    /// `d3dkmthk.h: D3DKMT_RECLAIMALLOCATIONS2`.
    pub struct D3DKMT_RECLAIMALLOCATIONS2 {
        /// The paging queue; its device is the one they belong to.
        pub hPagingQueue: D3DKMT_HANDLE,
        /// How many are in the one array that is not NULL.
        pub NumAllocations: UINT,
        /// Resources, or NULL.
        pub pResources: *mut D3DKMT_HANDLE,
        /// Allocations, or NULL.
        pub HandleList: *const D3DKMT_HANDLE,
        /// Out: for each a [`D3DDDI_RECLAIM_RESULT`]. May be NULL. In C, at the same place:
        /// `pResults` and `UINT64 AlignUnionTo64`.
        pub pDiscarded: *mut BOOL = [
            pDiscarded: *mut BOOL,
            pResults: *mut D3DDDI_RECLAIM_RESULT,
            AlignUnionTo64: UINT64,
        ],
        /// Out: what the queue's fence must reach before a GPU may use them.
        pub PagingFenceValue: UINT64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_what_is_set_and_what_is_set_beside_it() {
        const BOTH: UINT = D3DKMT_OFFER_FLAGS::OfferImmediately | D3DKMT_OFFER_FLAGS::AllowDecommit;
        let flags = D3DKMT_OFFER_FLAGS { Value: 0b10 };
        assert!(flags.contains(D3DKMT_OFFER_FLAGS::AllowDecommit) && !flags.contains(BOTH));
        assert!(flags.is_within(BOTH) && flags.is_within(!D3DKMT_OFFER_FLAGS::Reserved));
        assert!(!flags.is_within(D3DKMT_OFFER_FLAGS::OfferImmediately));
        assert_eq!(D3DKMT_OFFER_FLAGS::Reserved, 0xFFFF_FFFC);
    }
}
