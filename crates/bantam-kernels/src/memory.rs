//! Memory that is free, back to the system.
//!
//! glibc's allocator keeps what was freed in its middle for whoever wants as much again. A process that goes from one kind
//! of work to another would hold both kinds' memory in the end.

/// Gives back what the allocator keeps without use, where it is one that keeps much.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc has it since 2.0, for any thread at any time; it touches no memory that is in use.
        unsafe { malloc_trim(0) };
    }
}
