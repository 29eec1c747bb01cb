//! The functions about the budget: a reservation of it, and calls back when it changes or something
//! is to be trimmed.
//!
//! # Safety
//!
//! As for all functions here. Besides, a function that the program registers can be called from
//! another thread until it is unregistered, with the context that came with it, and returns: it
//! neither unwinds nor jumps over its caller.
#![allow(unsafe_code)]
#![allow(
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "the names are those of the Windows headers; the module's page has the contract of all"
)]

use std::sync::atomic::{AtomicPtr, Ordering};

use vidmm_abi::{
    D3DDDI_TRIMRESIDENCYSET_FLAGS, D3DKMT_BUDGETCHANGENOTIFICATION,
    D3DKMT_CHANGEVIDEOMEMORYRESERVATION, D3DKMT_REGISTERBUDGETCHANGENOTIFICATION,
    D3DKMT_REGISTERTRIMNOTIFICATION, D3DKMT_TRIMNOTIFICATION,
    D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION, D3DKMT_UNREGISTERTRIMNOTIFICATION, NTSTATUS,
    VIDMM_ADAPTER_LUID,
};
use vidmm_pool::Notice;

use crate::caller::{INVALID, Place};
use crate::face::{Face, guarded};
use crate::memory;
use crate::notices::{self, Kind, Registered};

/// `D3DKMTChangeVideoMemoryReservation`: says how much memory the process needs at least.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTChangeVideoMemoryReservation(
    args: *const D3DKMT_CHANGEVIDEOMEMORYRESERVATION,
) -> NTSTATUS {
    guarded(|| memory::reserve(Face::get()?, &place!(args)?.read()))
}

/// `D3DKMTRegisterBudgetChangeNotification`: has a function called whenever the budget changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTRegisterBudgetChangeNotification(
    args: *mut D3DKMT_REGISTERBUDGETCHANGENOTIFICATION,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        let callback = asked.Callback.0.ok_or(INVALID)?;
        let context = AtomicPtr::new(asked.Context);
        let what = Registered {
            kind: Kind::Budget,
            device: asked.hDevice,
            callback_address: asked.Callback.address(),
        };
        let handle = notices::register(face, what, move |notice| {
            if let Notice::BudgetChanged { budget_bytes } = notice {
                let told = D3DKMT_BUDGETCHANGENOTIFICATION {
                    Context: context.load(Ordering::Relaxed),
                    Budget: budget_bytes,
                };
                // SAFETY: the contract of the function: it can be called, with this context, until
                // it is unregistered, and the engine does not call it after that.
                unsafe { callback(&raw const told) };
            }
        })?;
        args.update(|args| args.Handle = handle);
        Ok(())
    })
}

/// `D3DKMTUnregisterBudgetChangeNotification`: ends that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTUnregisterBudgetChangeNotification(
    args: *mut D3DKMT_UNREGISTERBUDGETCHANGENOTIFICATION,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        notices::unregister(face, Kind::Budget, asked.Handle, 0)
    })
}

/// `D3DKMTRegisterTrimNotification`: has a function called whenever the process should trim.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTRegisterTrimNotification(
    args: *mut D3DKMT_REGISTERTRIMNOTIFICATION,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let args = place!(args)?;
        let asked = args.read();
        if asked.AdapterLuid != VIDMM_ADAPTER_LUID {
            return Err(INVALID);
        }
        let callback = asked.Callback.0.ok_or(INVALID)?;
        let context = AtomicPtr::new(asked.Context);
        let what = Registered {
            kind: Kind::Trim,
            device: asked.hDevice,
            callback_address: asked.Callback.address(),
        };
        let handle = notices::register(face, what, move |notice| {
            if let Notice::PleaseTrim { bytes } = notice {
                let mut told = D3DKMT_TRIMNOTIFICATION {
                    Context: context.load(Ordering::Relaxed),
                    Flags: D3DDDI_TRIMRESIDENCYSET_FLAGS {
                        Value: D3DDDI_TRIMRESIDENCYSET_FLAGS::TrimToBudget,
                    },
                    NumBytesToTrim: bytes,
                };
                // SAFETY: the contract of the function: it can be called, with this context, until
                // it is unregistered, and the engine does not call it after that.
                unsafe { callback(&raw mut told) };
            }
        })?;
        args.update(|args| args.Handle = handle);
        Ok(())
    })
}

/// `D3DKMTUnregisterTrimNotification`: ends that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn D3DKMTUnregisterTrimNotification(
    args: *mut D3DKMT_UNREGISTERTRIMNOTIFICATION,
) -> NTSTATUS {
    guarded(|| {
        let face = Face::get()?;
        let asked = place!(args)?.read();
        notices::unregister(face, Kind::Trim, asked.Handle, asked.Callback.address())
    })
}
