//! Compression with a window of old content, and differences of elements.

use crate::format::Shape;
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::{self, ZSTD_e_end, ZSTD_e_flush};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer};

/// log2 of the window of the compressor, which covers the old window and the frame.
const WINDOW_LOG: u32 = 21;

/// Compresses `new` with `prefix` before it. Returns the length of the frame in `frame`, or `None`
/// if it does not fit.
///
/// A context that refers to a prefix cannot be used for another one, so each call makes its own.
pub(crate) fn compress(new: &[u8], prefix: &[u8], level: i32, frame: &mut [u8]) -> Option<usize> {
    let mut context = new_context(level)?;
    context.ref_prefix(prefix).ok()?;
    context.compress2(frame, new).ok()
}

/// Compresses the result of [`to_planes`] like [`compress`]. Each plane begins with a new block,
/// because its bytes have another distribution than those of the previous plane.
pub(crate) fn compress_planes(planes: &[u8], shape: Shape, level: i32, frame: &mut [u8]) -> Option<usize> {
    let Parts { elements, plane_start, tail_start } = Parts::new(planes.len(), shape);
    let borders = (1..shape.width).map(|k| plane_start + k * elements).filter(|_| tail_start > plane_start);
    let mut context = new_context(level)?;
    context.set_pledged_src_size(Some(planes.len() as u64)).ok()?;
    let mut output = OutBuffer::around(frame);
    let mut start = 0;
    for end in borders.chain([planes.len()]) {
        let last = end == planes.len();
        let directive: ZSTD_EndDirective = if last { ZSTD_e_end } else { ZSTD_e_flush };
        let mut input = InBuffer::around(&planes[start..end]);
        // What does not fit is not written, and the call would wait for more room.
        if context.compress_stream2(&mut output, &mut input, directive).ok()? > 0 {
            return None;
        }
        start = end;
    }
    Some(output.pos())
}

fn new_context<'a>(level: i32) -> Option<CCtx<'a>> {
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG)).ok()?;
    context.set_parameter(CParameter::ContentSizeFlag(true)).ok()?;
    context.set_parameter(CParameter::ChecksumFlag(false)).ok()?;
    Some(context)
}

/// Decompresses `frame`, which must contain exactly `new.len()` bytes, with `prefix` before it.
/// Returns false if it does not.
pub(crate) fn decompress(frame: &[u8], prefix: &[u8], new: &mut [u8]) -> bool {
    let declares_len = zstd::zstd_safe::get_frame_content_size(frame).is_ok_and(|len| len == Some(new.len() as u64));
    let is_one_frame = zstd::zstd_safe::find_frame_compressed_size(frame).is_ok_and(|len| len == frame.len());
    if !declares_len || !is_one_frame {
        return false;
    }
    let Some(mut context) = DCtx::try_create() else { return false };
    if context.ref_prefix(prefix).is_err() {
        return false;
    }
    context.decompress(&mut *new, frame).is_ok_and(|len| len == new.len())
}

/// Writes the differences of `new` and `old`, which have the same length, to `planes`, also of this
/// length: those of the bytes before the first element, the lowest byte of each element, the next
/// byte of each element and so on, and those of the bytes after the last element.
pub(crate) fn to_planes(new: &[u8], old: &[u8], shape: Shape, planes: &mut [u8]) {
    let Parts { elements, plane_start, tail_start } = Parts::new(new.len(), shape);
    for i in (0..shape.phase).chain(tail_start..new.len()) {
        planes[i] = new[i].wrapping_sub(old[i]);
    }
    for element in 0..elements {
        let at = shape.phase + element * shape.width;
        let number = difference(&new[at..at + shape.width], &old[at..at + shape.width]);
        for (k, byte) in number.to_le_bytes().iter().take(shape.width).enumerate() {
            planes[plane_start + k * elements + element] = *byte;
        }
    }
}

/// Reverses [`to_planes`].
pub(crate) fn from_planes(planes: &[u8], old: &[u8], shape: Shape, new: &mut [u8]) {
    let Parts { elements, plane_start, tail_start } = Parts::new(planes.len(), shape);
    for i in (0..shape.phase.min(planes.len())).chain(tail_start..planes.len()) {
        new[i] = old[i].wrapping_add(planes[i]);
    }
    for element in 0..elements {
        let at = shape.phase + element * shape.width;
        let mut bytes = [0; 4];
        for (k, byte) in bytes.iter_mut().take(shape.width).enumerate() {
            *byte = planes[plane_start + k * elements + element];
        }
        let number = u32::from_le_bytes(bytes);
        let difference = number >> 1 ^ (number & 1).wrapping_neg();
        let sum = number_of(&old[at..at + shape.width]).wrapping_add(difference);
        new[at..at + shape.width].copy_from_slice(&sum.to_le_bytes()[..shape.width]);
    }
}

/// Estimates how many bits the differences need for each byte: the entropy of each plane.
pub(crate) fn estimate_bits(new: &[u8], old: &[u8], shape: Shape) -> f32 {
    let mut planes = vec![0; new.len()];
    to_planes(new, old, shape, &mut planes);
    let Parts { elements, plane_start, .. } = Parts::new(new.len(), shape);
    if elements == 0 {
        return 8.0;
    }
    let bits: f32 = planes[plane_start..].chunks_exact(elements).take(shape.width).map(entropy).sum();
    bits / shape.width as f32
}

/// Returns the entropy of the bytes of `plane` in bits for each byte.
fn entropy(plane: &[u8]) -> f32 {
    let mut counts = [0_u32; 256];
    plane.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let len = plane.len() as f32;
    counts.iter().filter(|count| **count > 0).map(|count| *count as f32 / len * (len / *count as f32).log2()).sum()
}

struct Parts {
    elements: usize,
    plane_start: usize,
    tail_start: usize,
}

impl Parts {
    fn new(len: usize, shape: Shape) -> Self {
        let plane_start = shape.phase.min(len);
        let elements = (len - plane_start) / shape.width;
        Self { elements, plane_start, tail_start: plane_start + elements * shape.width }
    }
}

fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Returns the signed difference with its sign in the lowest bit: 0, -1, 1, -2 as 0, 1, 2, 3.
fn difference(new: &[u8], old: &[u8]) -> u32 {
    let unused = 32 - 8 * new.len() as u32;
    let difference = (number_of(new).wrapping_sub(number_of(old)) << unused) as i32 >> unused;
    let zigzag = (difference << 1 ^ difference >> 31) as u32;
    zigzag & (u32::MAX >> unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn differences_round_trip_for_all_shapes_and_lengths() {
        for width in [1, 2, 4] {
            for phase in 0..width {
                for len in [0, 1, 2, 3, 4, 5, 7, 8, 100, 1003] {
                    let shape = Shape::new(width, phase).unwrap();
                    if len < phase {
                        continue;
                    }
                    let (new, old) = (noise(len, 1), noise(len, 2));
                    let (mut planes, mut back) = (vec![0; len], vec![0; len]);
                    to_planes(&new, &old, shape, &mut planes);
                    from_planes(&planes, &old, shape, &mut back);
                    assert!(back == new, "{width} {phase} {len}");
                }
            }
        }
    }

    #[test]
    fn small_differences_become_small_bytes() {
        let old: Vec<u8> = (0..100_u32).flat_map(|i| (i * 1_000_003).to_le_bytes()).collect();
        let new: Vec<u8> = (0..100_u32).flat_map(|i| (i * 1_000_003).wrapping_sub(i % 3).to_le_bytes()).collect();
        let mut planes = vec![9; 400];
        to_planes(&new, &old, Shape::new(4, 0).unwrap(), &mut planes);
        assert_eq!(planes[..4], [0, 1, 3, 0]);
        assert!(planes[100..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn shape_of_the_elements_has_the_lowest_estimate() {
        let old = noise(40_000, 4);
        for (width, phase) in [(1, 0), (2, 1), (4, 3)] {
            let mut new = old.clone();
            for (element, step) in new[phase..].chunks_exact_mut(width).zip(noise(40_000, 5)) {
                let number = number_of(element).wrapping_add(u32::from(step % 16)).wrapping_sub(8);
                element.copy_from_slice(&number.to_le_bytes()[..width]);
            }
            let estimate = |width, phase| estimate_bits(&new, &old, Shape::new(width, phase).unwrap());
            let right = estimate(width, phase);
            for (other, other_phase) in [(1, 0), (2, 0), (2, 1), (4, 0), (4, 1), (4, 2), (4, 3)] {
                assert!((other, other_phase) == (width, phase) || estimate(other, other_phase) > right, "{width}");
            }
        }
    }

    #[test]
    fn frames_use_their_prefix_and_only_exact_ones_are_accepted() {
        let (prefix, mut frame) = (noise(50_000, 3), vec![0; 50_000]);
        // A copy: zstd does not use a prefix that overlaps its input.
        let new = &prefix[10_000..40_000].to_vec()[..];
        let len = compress(new, &prefix, 9, &mut frame).unwrap();
        assert!(len < 100, "{len}");
        let mut back = vec![0; new.len()];
        assert!(decompress(&frame[..len], &prefix, &mut back) && back == new);
        assert!(!decompress(&frame[..len], &[], &mut back) || back != new);
        assert!(!decompress(&frame[..len], &prefix, &mut vec![0; new.len() + 1]));
        assert!(!decompress(&frame[..len], &prefix, &mut vec![0; new.len() - 1]));
        assert!(!decompress(&frame[..len + 1], &prefix, &mut back), "bytes after the frame");
        assert!(!decompress(&frame[..len - 1], &prefix, &mut back));
    }
}
