//! The development backend.
