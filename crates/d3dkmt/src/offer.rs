//! OfferAllocations.

use vidmm_abi::{
    D3DKMT_HANDLE, D3DKMT_OFFER_FLAGS, D3DKMT_OFFER_PRIORITY, D3DKMT_OFFER_PRIORITY_AUTO,
    D3DKMT_OFFER_PRIORITY_HIGH, D3DKMT_OFFER_PRIORITY_LOW, D3DKMT_OFFER_PRIORITY_NORMAL,
};
use vidmm_pool::{Class, HandleList, OfferMode};

use crate::caller::{Answer, Array, Handles, INVALID};
use crate::face::{Face, list_refusal, refusal};
use crate::lists::{Members, with_members};

/// How the caller wants it offered. `OfferImmediately` only forbids a deferral (9.13), and nothing
/// is deferred here.
#[inline]
pub(crate) fn mode_of(
    priority: D3DKMT_OFFER_PRIORITY,
    flags: D3DKMT_OFFER_FLAGS,
) -> Answer<OfferMode> {
    use D3DKMT_OFFER_FLAGS as Flags;
    if !flags.is_within(Flags::OfferImmediately | Flags::AllowDecommit) {
        return Err(INVALID);
    }
    let class = match priority {
        D3DKMT_OFFER_PRIORITY_LOW => Class::Low,
        D3DKMT_OFFER_PRIORITY_NORMAL => Class::Normal,
        D3DKMT_OFFER_PRIORITY_HIGH => Class::High,
        D3DKMT_OFFER_PRIORITY_AUTO => Class::Auto,
        _ => return Err(INVALID),
    };
    Ok(OfferMode {
        class,
        allow_decommit: flags.contains(Flags::AllowDecommit),
    })
}

/// Offers allocations.
pub(crate) fn allocations(
    face: &Face,
    device: D3DKMT_HANDLE,
    handles: Array<D3DKMT_HANDLE>,
    mode: OfferMode,
) -> Answer {
    let list = Handles::of(device, handles)?;
    face.pool.offer_list(&list, mode).map_err(list_refusal)?;
    if face.always_discards() {
        discard_now(face, &list)?;
    }
    Ok(())
}

/// Offers resources: all members of each. An empty one is offered by doing nothing (9.11).
pub(crate) fn resources(
    face: &Face,
    device: D3DKMT_HANDLE,
    resources: Array<D3DKMT_HANDLE>,
    mode: OfferMode,
) -> Answer {
    with_members(face, device, resources, |members: Members<'_>| {
        if members.is_empty() {
            return Ok(());
        }
        face.pool.offer_list(&members, mode).map_err(list_refusal)?;
        if face.always_discards() {
            discard_now(face, &members)?;
        }
        Ok(())
    })
}

/// The knob of testers: what was just offered is discarded.
#[cold]
fn discard_now(face: &Face, list: &impl HandleList) -> Answer {
    let handles = (0..list.count()).filter_map(|index| list.handle(index));
    face.pool.evict(handles).map_err(refusal)?;
    Ok(())
}
