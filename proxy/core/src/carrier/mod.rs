//! How a context travels in a payload.
