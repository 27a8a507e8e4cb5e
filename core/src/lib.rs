//! Marea's engine.
