//! The heap of glibc: how much of it is in use, and giving the rest back to the system.
//!
//! `free` of glibc returns only what lies at the end of a heap. One small allocation that was made last keeps everything
//! below it resident. `malloc_trim` returns every free page, wherever it lies.
//!
//! Both functions are the C library's, and the compiler cannot check how they are called. The calls are alone in this package, so
//! that all others can forbid unsafe code.
#![deny(unsafe_code)]
#![warn(missing_docs)]

/// Whether this system's heap is that of glibc. Elsewhere the functions of this package do nothing.
pub const SUPPORTED: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// How many bytes the program has allocated and not freed, modulo 2³²; 0 where it is not [`SUPPORTED`].
///
/// The field of `mallinfo` has 32 bits. `mallinfo2` has 64, but is missing before glibc 2.33, and then the program would not
/// start there. What threads keep in caches of their own counts as allocated; that is some 100 KiB a thread.
///
/// Each arena of the heap is locked in turn, while its free blocks are counted.
#[must_use]
pub fn allocated() -> u32 {
    imp::allocated()
}

/// Gives all free pages of the heap back to the system. Does nothing where it is not [`SUPPORTED`].
///
/// Each arena of the heap is locked in turn, while its pages are given back. A thread that needs the arena meanwhile waits.
pub fn trim() {
    imp::trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod imp {
    #[expect(unsafe_code, reason = "mallinfo is a function of C")]
    pub(crate) fn allocated() -> u32 {
        // SAFETY: mallinfo(3) takes nothing, returns plain numbers, and locks what it reads. It may not run together with
        // mallopt(3), which nothing in this program calls.
        let info = unsafe { libc::mallinfo() };
        // In the arenas, and in mappings of their own.
        info.uordblks.cast_unsigned().wrapping_add(info.hblkhd.cast_unsigned())
    }

    #[expect(unsafe_code, reason = "malloc_trim is a function of C")]
    pub(crate) fn trim() {
        // SAFETY: malloc_trim(3) may be called by any thread at any time. It touches only memory that is free, and 0 is the
        // number of bytes to keep at the end of the heap.
        let _some_was_given_back = unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod imp {
    pub(crate) fn allocated() -> u32 {
        0
    }

    pub(crate) fn trim() {}
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/status").expect("Linux shows what this process has");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the field is there");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kB") << 10
    }

    #[test]
    fn what_was_freed_below_a_live_allocation_is_given_back() {
        const BLOCKS: usize = 32 << 10;
        // Blocks of 1 KiB are in the heap, not in mappings of their own.
        let blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1; 1024]).collect();
        let live = vec![1_u8; 1024];
        let (most_allocated, most) = (allocated(), resident());
        drop(blocks);
        let freed = most_allocated.wrapping_sub(allocated());
        assert!((32 << 20..36 << 20).contains(&freed), "{freed} bytes were freed");
        assert!(most - resident() < 2 << 20, "glibc keeps them: {} of {most} bytes", resident());
        trim();
        assert!(most - resident() > 28 << 20, "{} of {most} bytes are left", resident());
        drop(live);
    }
}
