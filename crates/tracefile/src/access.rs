//! What a trace is made of.

/// One request for an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Access {
    /// When, in the trace's own units (nanoseconds in vidmm's own traces). Traces without times
    /// count requests from 0.
    pub time: u64,
    /// What.
    pub id: u64,
    /// The object's size, in bytes, as this request states it; 1 in traces without sizes. May be
    /// 0 and may differ from request to request, if the trace says so.
    pub size_bytes: u64,
    /// What it takes to rebuild the object, in the trace's own units (nanoseconds in vidmm's own
    /// traces); finite and not negative. `None` where the trace does not say.
    pub cost: Option<f32>,
}
