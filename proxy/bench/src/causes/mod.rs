//! Whether the inference of causes names the right ones: `make bench-causes`.

mod recordings;
mod score;
mod services;

use crate::failure::Failure;
use crate::options::Causes;
use score::Bounds;

/// Judges the answers to recordings, and those of real sidecars in front of real services.
///
/// # Errors
/// If something cannot be played or run, or if the answers are worse than they may be.
pub(crate) fn check(options: &Causes, say: impl Fn(&str)) -> Result<(), Failure> {
    let mut bounds = Bounds::default();
    recordings::check(options, &mut bounds, &say)?;
    if let Some(services) = &options.services {
        services::check(services, &mut bounds, &say)?;
    }
    bounds.result()
}
