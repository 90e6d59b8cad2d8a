//! discretion
