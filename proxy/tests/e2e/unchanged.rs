//! unchanged
