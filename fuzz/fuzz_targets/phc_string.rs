//! Any text as a stored password hash: reading it neither panics nor allocates what its parameters ask for.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use auth::password::hash::Hasher;
use libfuzzer_sys::fuzz_target;

/// Most bytes at once. A text that is bcrypt's is copied; all else is of fixed size.
const MAX_ALLOCATION_BYTES: usize = 64 * 1024;

/// The system's allocator, which remembers the largest request.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

fuzz_target!(|text: &str| {
    LARGEST.store(0, Ordering::Relaxed);
    let importable = Hasher::check_importable(text).is_ok();
    let current = !Hasher::new().needs_rehash(text);
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= MAX_ALLOCATION_BYTES.max(text.len()), "{largest} bytes for {text:?}");
    assert!(importable || !current, "a hash is current and cannot be computed: {text:?}");
});
