//! The process's own pool: one budget for all faces in it, made from the environment.

use std::sync::{Arc, OnceLock};

use vidmm_arena::LinuxKernel;

use crate::options::{EnvironmentError, PoolOptions};
use crate::pool::{NewPoolError, Pool};

/// Why the process's own pool cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GlobalError {
    /// A variable of the environment that cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// No budget, or no address space.
    #[error(transparent)]
    Pool(#[from] NewPoolError),
}

/// The process's own pool, made from the environment ([`PoolOptions::from_environment`]) at the
/// first call. What went wrong then is said at every call.
///
/// # Errors
/// A variable with a value that it cannot have; no budget; no address space.
#[inline]
pub fn global() -> Result<&'static Arc<Pool>, &'static GlobalError> {
    static GLOBAL: OnceLock<Result<Arc<Pool>, GlobalError>> = OnceLock::new();
    GLOBAL.get_or_init(make).as_ref()
}

fn make() -> Result<Arc<Pool>, GlobalError> {
    let mut options = PoolOptions::from_environment()?;
    match Pool::new(LinuxKernel, options.clone()) {
        Err(NewPoolError::Trace(error)) => {
            // Children inherit the variable, also those that may not write there: that is no reason
            // for them to fail. Whoever asked for a trace looks at this program's messages.
            eprintln!("vidmm: {error} (VIDMM_TRACE); the program goes on without");
            options.trace = None;
            Ok(Pool::new(LinuxKernel, options)?)
        }
        made => Ok(made?),
    }
}
