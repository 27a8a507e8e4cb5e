//! Counts the memory of the program that installs [`Counting`], so that an input which makes the engine ask for too much is
//! noticed. What SQLite allocates in C is bounded by SQLite's own limit.
#![allow(unsafe_code, reason = "an allocator is unsafe by nature; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static AT_BEGIN: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
pub struct Counting;

// SAFETY: every call is passed on as it came; the counters touch no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Begins to watch.
pub(super) fn begin() {
    let now = NOW.load(Ordering::Relaxed);
    AT_BEGIN.store(now, Ordering::Relaxed);
    MOST.store(now, Ordering::Relaxed);
}

/// The most that was in use since, beyond what was in use then. Zero in a program that does not install the allocator.
pub(super) fn most_since_begin() -> usize {
    MOST.load(Ordering::Relaxed).saturating_sub(AT_BEGIN.load(Ordering::Relaxed))
}
