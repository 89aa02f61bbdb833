//! Making a patch.

use crate::codec::{compress, compress_planes, estimate_bits, to_planes};
use crate::format::{FRAME_MAX, Shape, WINDOW_MAX, compressed_max};
use crate::matches::{Match, OldIndex};
use crate::planner::{Frame, Planner, Step};
use crate::{Error, OldContent, PatchWriter};
use loader_pack::ReleaseId;
use loader_pipe::{Memory, process_in_order};
use std::io::Write;
use std::ops::Range;

/// Number of bytes that are compared together.
const COMPARE_LEN: usize = 256 * 1024;

/// Differences are tried if the best frame has more than this percentage of its content.
const DIFFERENCE_FROM_PERCENT: usize = 50;

/// Number of bytes from which the shape of the elements is estimated.
const ESTIMATE_LEN: usize = 16 * 1024;

/// Differences that need more bits than this for each byte are not tried.
const ESTIMATE_MAX_BITS: f32 = 7.0;

/// Parts of a buffer: new bytes, two windows, aligned old bytes, planes, two frames.
const NEW: usize = 0;
const WINDOWS: [usize; 2] = [FRAME_MAX, FRAME_MAX + WINDOW_MAX];
const ALIGNED: usize = FRAME_MAX + 2 * WINDOW_MAX;
const PLANES: usize = ALIGNED + FRAME_MAX;
const FRAMES: usize = PLANES + FRAME_MAX;
const FRAME_ROOM: usize = FRAME_MAX + FRAME_MAX / 256 + 64;
const BUFFER_LEN: usize = FRAMES + 2 * FRAME_ROOM;

/// Options for [`diff`].
#[derive(Clone, Copy, Debug)]
pub struct DiffOptions {
    /// Level of compression of zstd.
    pub level: i32,
    /// Number of threads.
    pub threads: usize,
}

/// Result of [`diff`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffSummary {
    /// Number of bytes of the new content that are copied.
    pub copied: u64,
    /// Number of bytes of the new content that are in frames.
    pub coded: u64,
    /// Length of the patch in bytes.
    pub patch_len: u64,
}

/// What is written for a step.
enum Coded {
    Copy { old: u64, len: u64 },
    Frame { len: usize, frame: Range<usize>, old: u64, window: usize },
    Difference { len: usize, frame: Range<usize>, old: u64, shape: Shape },
}

/// Writes the patch from `old`, the content of the release `old_id`, to `new`, which `statement`
/// describes (its bytes with all signatures), to `output`. Reads both contents twice. `report`
/// receives the number of bytes of the new content as they are done.
///
/// Needs about 5 bytes of memory for each KiB of the old content, and 5 MiB for each thread.
///
/// # Errors
/// [`Error::Old`], [`Error::New`], [`Error::Write`], [`Error::Compress`].
pub fn diff(
    old: &mut (impl OldContent + Send),
    old_id: &ReleaseId,
    new: &mut (impl OldContent + Send),
    statement: &[u8],
    output: &mut (impl Write + Send),
    options: &DiffOptions,
    mut report: impl FnMut(u64) + Send,
) -> Result<DiffSummary, Error> {
    let (matches, files) = OldIndex::build(old)?.find(new)?;
    let mut planner = Planner::new(&matches, &files, new.content_len(), old.content_len());
    let mut writer = PatchWriter::new(output, old_id, statement)?;
    let mut summary = DiffSummary::default();
    // The part of a match that is not compared yet.
    let mut compared: Option<Match> = None;
    process_in_order(
        options.threads,
        Memory::Ordinary,
        BUFFER_LEN,
        |buffer, _| loop {
            if let Some(found) = compared.take_if(|found| found.len > 0) {
                let len = found.len.min(COMPARE_LEN as u64) as usize;
                let rest = len as u64;
                compared = Some(Match { new: found.new + rest, old: found.old + rest, len: found.len - rest });
                let (new_bytes, others) = buffer.split_at_mut(FRAME_MAX);
                new.read_at(found.new, &mut new_bytes[..len]).map_err(Error::New)?;
                old.read_at(found.old, &mut others[..len]).map_err(Error::Old)?;
                if new_bytes[..len] == others[..len] {
                    return Ok(Some(Job::Copy { old: found.old, len: rest }));
                }
                // Equal ids of different chunks: coded with the bytes that were read as window.
                let windows = [(found.old, len); 2];
                let frame = Frame { new: found.new, len, windows, window_count: 1, aligned: None };
                return Ok(Some(Job::Code(frame)));
            }
            match planner.next() {
                None => return Ok(None),
                Some(Step::Copy(found)) => compared = Some(found),
                Some(Step::Code(frame)) => {
                    new.read_at(frame.new, &mut buffer[NEW..frame.len]).map_err(Error::New)?;
                    for (place, (offset, len)) in WINDOWS.iter().zip(frame.windows).take(frame.window_count) {
                        old.read_at(offset, &mut buffer[*place..place + len]).map_err(Error::Old)?;
                    }
                    if let Some(aligned) = frame.aligned {
                        old.read_at(aligned, &mut buffer[ALIGNED..ALIGNED + frame.len]).map_err(Error::Old)?;
                    }
                    return Ok(Some(Job::Code(frame)));
                }
            }
        },
        || |job: Job, buffer: &mut [u8]| job.run(buffer, options.level),
        |buffer, coded: Coded| {
            let done = match coded {
                Coded::Copy { old, len } => {
                    summary.copied += len;
                    writer.copy(old, len)?;
                    len
                }
                Coded::Frame { len, frame, old, window } => {
                    summary.coded += len as u64;
                    writer.frame(len, &buffer[frame], old, window)?;
                    len as u64
                }
                Coded::Difference { len, frame, old, shape } => {
                    summary.coded += len as u64;
                    writer.difference(len, &buffer[frame], old, shape)?;
                    len as u64
                }
            };
            report(done);
            Ok(())
        },
    )?;
    let (patch_len, _) = writer.finish()?;
    Ok(DiffSummary { patch_len, ..summary })
}

enum Job {
    Copy { old: u64, len: u64 },
    Code(Frame),
}

impl Job {
    fn run(self, buffer: &mut [u8], level: i32) -> Result<Coded, Error> {
        let frame = match self {
            Self::Copy { old, len } => return Ok(Coded::Copy { old, len }),
            Self::Code(frame) => frame,
        };
        let len = frame.len;
        let (inputs, frames) = buffer.split_at_mut(FRAMES);
        let (best, other) = frames.split_at_mut(FRAME_ROOM);
        let room = compressed_max(len);
        let mut found: Option<(usize, Coded)> = None;
        let mut keep = |frame_len: Option<usize>, other: &[u8], make: &dyn Fn(Range<usize>) -> Coded| {
            if let Some(frame_len) = frame_len.filter(|len| found.as_ref().is_none_or(|(best, _)| len < best)) {
                best[..frame_len].copy_from_slice(&other[..frame_len]);
                found = Some((frame_len, make(FRAMES..FRAMES + frame_len)));
            }
            found.as_ref().map_or(usize::MAX, |(best, _)| *best)
        };
        let mut best_len = usize::MAX;
        for (place, (old, window)) in WINDOWS.iter().zip(frame.windows).take(frame.window_count) {
            let frame_len = compress(&inputs[NEW..len], &inputs[*place..place + window], level, &mut other[..room]);
            best_len = keep(frame_len, other, &|frame| Coded::Frame { len, frame, old, window });
        }
        if let Some(old) = frame.aligned.filter(|_| best_len > len * DIFFERENCE_FROM_PERCENT / 100) {
            let (before, planes) = inputs.split_at_mut(PLANES);
            let (new, old_bytes) = (&before[NEW..len], &before[ALIGNED..ALIGNED + len]);
            if let Some(shape) = best_shape(new, old_bytes) {
                to_planes(new, old_bytes, shape, &mut planes[..len]);
                let frame_len = compress_planes(&planes[..len], shape, level, &mut other[..room]);
                keep(frame_len, other, &|frame| Coded::Difference { len, frame, old, shape });
            }
        }
        found.map(|(_, coded)| coded).ok_or(Error::Compress)
    }
}

/// Returns the shape of elements whose differences are smallest, if they are small at all.
fn best_shape(new: &[u8], old: &[u8]) -> Option<Shape> {
    let start = (new.len().saturating_sub(ESTIMATE_LEN) / 2) & !3;
    let end = new.len().min(start + ESTIMATE_LEN);
    let shapes = [1, 2, 4].into_iter().flat_map(|width| (0..width).filter_map(move |phase| Shape::new(width, phase)));
    let estimated = shapes
        .filter(|shape| shape.phase <= new.len())
        .map(|shape| (estimate_bits(&new[start..end], &old[start..end], shape), shape));
    let best = estimated.min_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(bits, _)| *bits < ESTIMATE_MAX_BITS).map(|(_, shape)| shape)
}
