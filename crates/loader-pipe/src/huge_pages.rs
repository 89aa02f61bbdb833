//! Huge pages that are filled once, passed to a pipe, and returned to the kernel.
#![allow(unsafe_code, reason = "maps memory and passes it to a pipe")]

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munlock, munmap};
use rustix::pipe::{IoSliceRaw, SpliceFlags, vmsplice};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// Size of a huge page in bytes. Huge pages of any other size are not used.
const HUGE_PAGE_LEN: usize = 2 << 20;

/// Size in bytes of the largest ordinary page on any machine. A slot begins at a multiple
/// of it, so that no two slots share a page.
const MAX_SMALL_PAGE_LEN: usize = 64 << 10;

/// One mapping, divided into slots that are filled and passed to a pipe one after another.
///
/// The slots before the current one, and the current one once it is `spent`, belong to
/// pipes and are never written. When all slots are spent, the whole area is returned to
/// the kernel; a pipe keeps the pages it has, and the next write gets fresh zeroed pages.
pub(crate) struct HugePages {
    mapping: NonNull<u8>,
    mapping_len: usize,
    /// Start of the slots: whole huge pages, `area_len` bytes, followed by at least
    /// `MAX_SMALL_PAGE_LEN` bytes of readable and writable memory.
    area: NonNull<u8>,
    area_len: usize,
    /// Distance in bytes from one slot to the next.
    stride: usize,
    /// Length of a slot in bytes; the part beyond `stride` overlaps the next slot.
    len: usize,
    /// Index of the current slot.
    slot: usize,
    /// True if a pipe may refer to the current slot.
    spent: bool,
    /// True if the area consists of huge pages.
    huge: bool,
    /// Number of fills that were written because the area has no huge pages.
    skipped_fills: u32,
    /// True if the kernel rejected vmsplice or huge pages; it is not asked again.
    unsupported: bool,
}

/// Number of fills that are written before huge pages are requested again.
const RETRY_AFTER_FILLS: u32 = 32;

// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for HugePages {}

impl HugePages {
    /// Maps memory with slots of `len` bytes. Returns `None` if such slots are smaller than
    /// an ordinary page, or if the kernel has no memory.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let stride = len & !(MAX_SMALL_PAGE_LEN - 1);
        if stride == 0 {
            return None;
        }
        let area_len = stride.checked_next_multiple_of(HUGE_PAGE_LEN)?;
        let mapping_len = area_len.checked_add(HUGE_PAGE_LEN + MAX_SMALL_PAGE_LEN)?;
        // SAFETY: the kernel chooses the address of the new mapping; it replaces no other.
        let mapping = unsafe {
            mmap_anonymous(ptr::null_mut(), mapping_len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let mapping = NonNull::new(mapping.ok()?.cast::<u8>())?;
        let offset = mapping.align_offset(HUGE_PAGE_LEN);
        // SAFETY: `offset` is less than HUGE_PAGE_LEN, and the mapping is longer than the area by more than that.
        let area = unsafe { mapping.add(offset) };
        let mut pages = Self {
            mapping,
            mapping_len,
            area,
            area_len,
            stride,
            len,
            slot: 0,
            spent: false,
            huge: false,
            skipped_fills: 0,
            unsupported: false,
        };
        // A process that locks its memory because of its keys need not lock its output, and
        // locked memory cannot be returned with MADV_DONTNEED.
        // SAFETY: the mapping of this value, whose content does not change.
        let _ = unsafe { munlock(mapping.as_ptr().cast(), mapping_len) };
        // The margins around the area must not become huge pages.
        pages.advise(mapping, mapping_len, Advice::LinuxNoHugepage);
        pages.unsupported = !pages.advise(area, area_len, Advice::LinuxHugepage);
        pages.huge = pages.is_huge();
        Some(pages)
    }

    /// Returns the length of a slot in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the current slot.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes from `slot_start` are inside the mapping and initialised (the
        // kernel zeroes them); a pipe that refers to these pages only reads them.
        unsafe { std::slice::from_raw_parts(self.slot_start().as_ptr(), self.len) }
    }

    /// Returns the current slot to fill it.
    ///
    /// # Panics
    /// If the slot is spent: call [`HugePages::next_slot`] first, and only continue if it
    /// returns true.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(!self.spent, "memory that was passed to a pipe must not be written");
        // SAFETY: as in `bytes`; neither this slot nor a later one is spent, and this value
        // is mutably borrowed, so nothing else refers to these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.slot_start().as_ptr(), self.len) }
    }

    fn slot_start(&self) -> NonNull<u8> {
        // SAFETY: slot * stride + stride <= area_len holds for every slot.
        unsafe { self.area.add(self.slot * self.stride) }
    }

    /// Moves on from a spent slot to one that can be filled. Returns false if the kernel
    /// supplies no fresh memory; this value cannot be used any more then.
    pub(crate) fn next_slot(&mut self) -> bool {
        if !self.spent {
            return true;
        }
        self.slot += 1;
        if !self.huge || (self.slot + 1) * self.stride > self.area_len {
            self.slot = 0;
            if !self.advise(self.area, self.area_len, Advice::LinuxDontNeed) {
                return false;
            }
            self.huge = self.is_huge();
        }
        self.spent = false;
        true
    }

    /// Passes as many bytes of the slot in `range` to `pipe` as it accepts, and returns
    /// their number.
    pub(crate) fn vmsplice_to(&mut self, pipe: BorrowedFd<'_>, range: Range<usize>) -> io::Result<usize> {
        if self.unsupported {
            return Ok(0);
        }
        if !self.huge {
            // Marking the slot as spent now and then makes the next fill request fresh memory.
            self.skipped_fills += 1;
            self.spent |= self.skipped_fills.is_multiple_of(RETRY_AFTER_FILLS);
            return Ok(0);
        }
        let from = range.start;
        let mut rest = range;
        // Bytes after the stride belong to the next slot, which is filled later.
        while !self.unsupported && !rest.is_empty() && rest.end <= self.stride {
            let bytes = IoSliceRaw::from_slice(&self.bytes()[rest.clone()]);
            // SAFETY: the kernel only reads these bytes. A reader may keep the pages, so the
            // slot is marked as spent, whatever the result, and never written again.
            let taken = unsafe { vmsplice(pipe, &[bytes], SpliceFlags::empty()) };
            self.spent = true;
            match taken {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                Ok(taken) => rest.start += taken,
                Err(rustix::io::Errno::INTR) => {}
                Err(error @ rustix::io::Errno::PIPE) => return Err(error.into()),
                // Not a pipe, no such call, or forbidden: the next call would fail too.
                Err(_) => self.unsupported = true,
            }
        }
        Ok(rest.start - from)
    }

    /// Returns true if the area consists of huge pages: touching the first byte of each
    /// must map its last byte too.
    fn is_huge(&self) -> bool {
        (0..self.area_len).step_by(HUGE_PAGE_LEN).all(|offset| {
            self.touch_page(offset);
            let before = page_faults();
            self.touch_page(offset + HUGE_PAGE_LEN - 1);
            before.is_some() && before == page_faults()
        })
    }

    fn touch_page(&self, offset: usize) {
        // SAFETY: callers pass an offset below `area_len`.
        let byte = unsafe { self.area.add(offset) };
        // SAFETY: inside the area, which is writable; no pipe refers to a slot at this point.
        unsafe { byte.write_volatile(0) };
    }

    fn advise(&self, from: NonNull<u8>, len: usize, advice: Advice) -> bool {
        // SAFETY: part of the mapping of this value, of which no slice is borrowed here; the
        // advice that discards the content is only used when all slots are spent.
        unsafe { madvise(from.as_ptr().cast(), len, advice) }.is_ok()
    }
}

/// Returns the number of minor page faults of this thread. `mincore` would report on a
/// single page, but the `@system-service` filter of systemd does not allow it.
fn page_faults() -> Option<libc::c_long> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: there is room for the one structure that the call writes.
    let outcome = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: the call has written the structure if it succeeded.
    (outcome == 0).then(|| unsafe { usage.assume_init() }.ru_minflt)
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // SAFETY: the whole mapping of this value, to which nothing refers any more; a pipe
        // keeps the pages that were passed to it.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_len) };
    }
}
