//! Paging queues.

use crate::basic::{D3DKMT_HANDLE, UINT, VOID};

enumeration! {
    /// Which paging work goes first.
    ///
    /// `d3dukmdt.h: D3DDDI_PAGINGQUEUE_PRIORITY`.
    pub enum D3DDDI_PAGINGQUEUE_PRIORITY {
        /// After the rest.
        D3DDDI_PAGINGQUEUE_PRIORITY_BELOW_NORMAL = -1,
        /// As the rest.
        D3DDDI_PAGINGQUEUE_PRIORITY_NORMAL = 0,
        /// Before the rest.
        D3DDDI_PAGINGQUEUE_PRIORITY_ABOVE_NORMAL = 1,
    }
}

structure! {
    /// Makes a paging queue with its fence.
    ///
    /// `d3dkmthk.h: D3DKMT_CREATEPAGINGQUEUE`.
    pub struct D3DKMT_CREATEPAGINGQUEUE {
        /// The device it belongs to.
        pub hDevice: D3DKMT_HANDLE,
        /// Which of its work goes first.
        pub Priority: D3DDDI_PAGINGQUEUE_PRIORITY,
        /// Out: the queue.
        pub hPagingQueue: D3DKMT_HANDLE,
        /// Out: its fence.
        pub hSyncObject: D3DKMT_HANDLE,
        /// Out: where the fence's value can be read, 64 bits.
        pub FenceValueCPUVirtualAddress: *mut VOID,
        /// Which of the physical adapters that make up the adapter.
        pub PhysicalAdapterIndex: UINT,
    }
}

structure! {
    /// Ends a paging queue and its fence.
    ///
    /// `d3dukmdt.h: D3DDDI_DESTROYPAGINGQUEUE`.
    pub struct D3DDDI_DESTROYPAGINGQUEUE {
        /// The queue.
        pub hPagingQueue: D3DKMT_HANDLE,
    }
}
