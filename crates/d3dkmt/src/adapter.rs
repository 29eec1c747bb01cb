//! Finding the adapter, opening and closing it. There is one, in every process the same.

use vidmm_abi::{
    D3DKMT_ADAPTERINFO, D3DKMT_CLOSEADAPTER, D3DKMT_ENUMADAPTERS_FILTER, D3DKMT_ENUMADAPTERS2,
    D3DKMT_ENUMADAPTERS3, D3DKMT_HANDLE, D3DKMT_OPENADAPTERFROMLUID, STATUS_BUFFER_TOO_SMALL,
    ULONG, VIDMM_ADAPTER_LUID,
};

use crate::caller::{Answer, INVALID, Place};
use crate::face::Face;
use crate::objects::Kind;

/// How many adapters there are.
const ADAPTERS: ULONG = 1;

pub(crate) fn enumerate(
    face: &Face,
    args: Place<D3DKMT_ENUMADAPTERS2>,
    first: Option<Place<D3DKMT_ADAPTERINFO>>,
) -> Answer {
    let room = args.read().NumAdapters;
    list(face, room, first)?;
    args.update(|args| args.NumAdapters = ADAPTERS);
    Ok(())
}

/// The adapter renders, so it is listed whatever the filter adds.
pub(crate) fn enumerate_filtered(
    face: &Face,
    args: Place<D3DKMT_ENUMADAPTERS3>,
    first: Option<Place<D3DKMT_ADAPTERINFO>>,
) -> Answer {
    use D3DKMT_ENUMADAPTERS_FILTER as Filter;
    let asked = args.read();
    if !asked
        .Filter
        .is_within(Filter::IncludeComputeOnly | Filter::IncludeDisplayOnly)
    {
        return Err(INVALID);
    }
    list(face, asked.NumAdapters, first)?;
    args.update(|args| args.NumAdapters = ADAPTERS);
    Ok(())
}

/// Without an array only the number of adapters is asked for.
fn list(face: &Face, room: ULONG, first: Option<Place<D3DKMT_ADAPTERINFO>>) -> Answer {
    let Some(first) = first else {
        return Ok(());
    };
    if room < ADAPTERS {
        return Err(STATUS_BUFFER_TOO_SMALL);
    }
    first.write(D3DKMT_ADAPTERINFO {
        hAdapter: open_one(face)?,
        AdapterLuid: VIDMM_ADAPTER_LUID,
        NumOfSources: 0,
        bPrecisePresentRegionsPreferred: 0,
    });
    Ok(())
}

pub(crate) fn open(face: &Face, args: Place<D3DKMT_OPENADAPTERFROMLUID>) -> Answer {
    if args.read().AdapterLuid != VIDMM_ADAPTER_LUID {
        return Err(INVALID);
    }
    let adapter = open_one(face)?;
    args.update(|args| args.hAdapter = adapter);
    Ok(())
}

fn open_one(face: &Face) -> Answer<D3DKMT_HANDLE> {
    let _pass = face.gate.enter();
    face.objects.make(Kind::Adapter)
}

pub(crate) fn close(face: &Face, args: Place<D3DKMT_CLOSEADAPTER>) -> Answer {
    let _pass = face.gate.enter();
    face.objects.end(Kind::Adapter, args.read().hAdapter)
}
