//! Huge pages that are filled once, taken by a pipe, and given back.
#![allow(unsafe_code, reason = "mapping memory and handing it to a pipe")]

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munlock, munmap};
use rustix::pipe::{IoSliceRaw, SpliceFlags, vmsplice};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// Bytes of a huge page; where the system's are of another size, there are none
/// for us.
const HUGE: usize = 2 << 20;

/// Largest page, in bytes, that is not a huge one, on any machine. A slot begins
/// at a multiple of it, so that no two slots share a page.
const PAGE_MAX: usize = 64 << 10;

/// One mapping, cut into slots that are filled and handed over one after another.
///
/// The slots before the current one, and the current one too once it is `spent`,
/// belong to pipes and are never written. When all are spent the memory goes back
/// to the system in one piece; a pipe keeps what it has, and the next write finds
/// fresh zeros.
pub(crate) struct Pages {
    mapping: NonNull<u8>,
    mapping_len: usize,
    /// The area of the slots: whole huge pages, `area_len` bytes. Readable and
    /// writable memory of at least `PAGE_MAX` bytes stands behind it.
    area: NonNull<u8>,
    area_len: usize,
    /// Bytes from one slot to the next.
    stride: usize,
    /// Bytes of a slot: `stride`, and a little of what follows it.
    len: usize,
    slot: usize,
    spent: bool,
    /// The memory lies in huge pages.
    huge: bool,
    /// Slots that were not handed over since it does not.
    passed_by: u32,
    /// The system takes no memory of ours, and will not.
    refused: bool,
}

/// Fillings that are written before huge pages are tried for again.
const RETRY: u32 = 32;

// SAFETY: the mapping belongs to this value alone; nothing of it is bound to a thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Slots of `len` bytes; `None` where such slots are too small to pay, or the
    /// system has no memory.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let stride = len & !(PAGE_MAX - 1);
        if stride == 0 {
            return None;
        }
        let area_len = stride.checked_next_multiple_of(HUGE)?;
        let mapping_len = area_len.checked_add(HUGE + PAGE_MAX)?;
        // SAFETY: a new mapping where the system likes; nothing else lies there.
        let mapping = unsafe {
            mmap_anonymous(ptr::null_mut(), mapping_len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let mapping = NonNull::new(mapping.ok()?.cast::<u8>())?;
        let before = mapping.align_offset(HUGE);
        // SAFETY: `before` is less than HUGE, by which the mapping is longer than the area.
        let area = unsafe { mapping.add(before) };
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
            passed_by: 0,
            refused: false,
        };
        // A process that locks its memory because of its keys need not lock what it hands
        // on, and locked memory cannot be given back.
        // SAFETY: this value's own mapping, whose content stays as it is.
        let _ = unsafe { munlock(mapping.as_ptr().cast(), mapping_len) };
        // What stands around the area is not to grow into huge pages of its own.
        pages.advise(mapping, mapping_len, Advice::LinuxNoHugepage);
        pages.refused = !pages.advise(area, area_len, Advice::LinuxHugepage);
        pages.huge = pages.is_huge();
        Some(pages)
    }

    /// Bytes of a slot.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The current slot.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `at` is inside the mapping with `len` bytes behind it, which the system
        // made zeros; whoever else refers to these pages, a pipe, only reads them.
        unsafe { std::slice::from_raw_parts(self.at().as_ptr(), self.len) }
    }

    /// The current slot, to be filled. Only after [`Pages::freshen`] said that it can be.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(!self.spent, "memory of a pipe is not written");
        // SAFETY: as in `bytes`; the slot is not spent, those behind it are not either, and
        // this value is borrowed, so nobody else refers to these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.at().as_ptr(), self.len) }
    }

    fn at(&self) -> NonNull<u8> {
        // SAFETY: slot * stride + stride <= area_len holds for every slot.
        unsafe { self.area.add(self.slot * self.stride) }
    }

    /// Leaves a slot that was handed over for the next one. False where no fresh
    /// memory is to be had: then this value is of no more use.
    pub(crate) fn freshen(&mut self) -> bool {
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

    /// Hands the bytes of the slot in `range` to `pipe`, as many as it takes.
    pub(crate) fn hand_over(&mut self, pipe: BorrowedFd<'_>, range: Range<usize>) -> io::Result<usize> {
        if self.refused {
            return Ok(0);
        }
        if !self.huge {
            // Left for fresh memory before the next filling, now and then.
            self.passed_by += 1;
            self.spent |= self.passed_by.is_multiple_of(RETRY);
            return Ok(0);
        }
        let from = range.start;
        let mut rest = range;
        // Bytes behind the stride belong to the next slot, which is still to be filled.
        while !self.refused && !rest.is_empty() && rest.end <= self.stride {
            let bytes = IoSliceRaw::from_slice(&self.bytes()[rest.clone()]);
            // SAFETY: the kernel reads these bytes only. Whoever gets the pages may keep
            // them, so they are marked as spent, whatever the outcome, and never written again.
            let taken = unsafe { vmsplice(pipe, &[bytes], SpliceFlags::empty()) };
            self.spent = true;
            match taken {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                Ok(taken) => rest.start += taken,
                Err(rustix::io::Errno::INTR) => {}
                Err(error @ rustix::io::Errno::PIPE) => return Err(error.into()),
                // No pipe, no such call, forbidden: it will not be otherwise next time.
                Err(_) => self.refused = true,
            }
        }
        Ok(rest.start - from)
    }

    /// Touches each huge page at its first and at its last byte, and looks whether the
    /// first touch brought all of it.
    fn is_huge(&self) -> bool {
        (0..self.area_len).step_by(HUGE).all(|offset| {
            self.touch(offset);
            let before = page_faults();
            self.touch(offset + HUGE - 1);
            before.is_some() && before == page_faults()
        })
    }

    fn touch(&self, offset: usize) {
        // SAFETY: the caller stays below `area_len`.
        let byte = unsafe { self.area.add(offset) };
        // SAFETY: inside the area, which is writable; at this time no slot is handed over.
        unsafe { byte.write_volatile(0) };
    }

    fn advise(&self, from: NonNull<u8>, len: usize, advice: Advice) -> bool {
        // SAFETY: a part of this value's own mapping; `self` is not borrowed by a slice of
        // it now, and the advice that drops the content is given to spent slots alone.
        unsafe { madvise(from.as_ptr().cast(), len, advice) }.is_ok()
    }
}

/// Pages that this thread was the first to touch. `mincore` would say of one page whether it
/// is there, but is not among the calls that systemd lets a service make.
fn page_faults() -> Option<libc::c_long> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: room for the one structure that is written.
    let outcome = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: where the call succeeded, it has written the structure.
    (outcome == 0).then(|| unsafe { usage.assume_init() }.ru_minflt)
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the whole mapping of this value, to which nothing refers any more; pages
        // that a pipe has taken stay with the pipe.
        let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_len) };
    }
}
