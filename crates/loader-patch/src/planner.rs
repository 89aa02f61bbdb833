//! Decides which parts of the new content are copied, and which are coded with which window.

use crate::extents::FileMap;
use crate::format::{FRAME_MAX, WINDOW_MAX};
use crate::matches::Match;

/// Matches of at least this length in bytes are copied. Shorter ones are coded together with their
/// surroundings, whose window contains them.
const COPY_MIN: u64 = 64 * 1024;

/// Number of bytes of the window before and after the range that corresponds to the frame.
const WINDOW_MARGIN: u64 = 192 * 1024;

/// Windows whose starts are closer than this, in bytes, count as the same.
const WINDOW_DISTANCE: u64 = 128 * 1024;

/// A step of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Probably equal bytes.
    Copy(Match),
    /// Bytes that are coded.
    Code(Frame),
}

/// A range of the new content, and ranges of the old one that are probably similar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) new: u64,
    pub(crate) len: usize,
    /// Offset and length of one or two windows.
    pub(crate) windows: [(u64, usize); 2],
    pub(crate) window_count: usize,
    /// Offset of the range of the same length that corresponds exactly, if there may be one.
    pub(crate) aligned: Option<u64>,
}

/// Iterates over the steps.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    matches: std::iter::Peekable<std::slice::Iter<'a, Match>>,
    files: &'a FileMap,
    at: u64,
    new_len: u64,
    old_len: u64,
    /// Difference between old and new offset of the last match.
    shift: i64,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(matches: &'a [Match], files: &'a FileMap, new_len: u64, old_len: u64) -> Self {
        Self { matches: matches.iter().peekable(), files, at: 0, new_len, old_len, shift: 0 }
    }

    /// Returns the frame of the next `len` bytes. `near` is the first short match in it, and `next`
    /// the match after it.
    fn frame(&self, len: usize, near: Option<Match>, next: Option<Match>) -> Frame {
        let middle = self.at + len as u64 / 2;
        let by_path = self.files.map(middle);
        let shift = near.map_or(self.shift, |found| found.old.wrapping_sub(found.new) as i64);
        let by_match = middle.saturating_add_signed(shift).min(self.old_len);
        let by_next = next.filter(|next| next.new == self.at + len as u64);
        let by_next = by_next.map(|next| middle.saturating_add_signed(next.old.wrapping_sub(next.new) as i64));
        let by_position = by_path.map_or(by_match, |mapped| mapped.old);
        let first = if self.files.is_empty() { by_next.unwrap_or(by_position) } else { by_position };
        let first = first.min(self.old_len);
        let windows = [self.window(first, len), self.window(by_match, len)];
        let is_same = windows[0].0.abs_diff(windows[1].0) < WINDOW_DISTANCE;
        let exact = |middle: u64| middle.checked_sub(len as u64 / 2).filter(|old| old + len as u64 <= self.old_len);
        let aligned = match by_path {
            Some(mapped) if mapped.is_same_len => exact(mapped.old),
            _ => exact(by_match),
        };
        Frame { new: self.at, len, windows, window_count: 2 - usize::from(is_same), aligned }
    }

    fn window(&self, middle: u64, len: usize) -> (u64, usize) {
        let half = WINDOW_MARGIN + len as u64 / 2;
        let start = middle.saturating_sub(half);
        let end = middle.saturating_add(half).min(self.old_len);
        (start.min(end), (end.saturating_sub(start) as usize).min(WINDOW_MAX))
    }
}

impl Iterator for Planner<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let mut near = None;
        loop {
            match self.matches.peek() {
                Some(found) if found.new + found.len <= self.at => {}
                // Coded, because it is short, or what is left of it.
                Some(found) if found.len < COPY_MIN && found.new < self.at + FRAME_MAX as u64 => {
                    near = near.or(Some(**found));
                }
                _ => break,
            }
            self.matches.next();
        }
        if self.at >= self.new_len {
            return None;
        }
        let end = self.matches.peek().map_or(self.new_len, |found| found.new.max(self.at));
        if end == self.at {
            let found = **self.matches.peek()?;
            // A longer match may begin before the end of the last frame.
            let skipped = self.at - found.new;
            let found = Match { new: self.at, old: found.old + skipped, len: found.len - skipped };
            self.matches.next();
            self.shift = found.old.wrapping_sub(found.new) as i64;
            self.at += found.len;
            return Some(Step::Copy(found));
        }
        let len = (end - self.at).min(FRAME_MAX as u64) as usize;
        let next = self.matches.peek().map(|found| **found);
        let frame = self.frame(len, near, next);
        if let Some(near) = near {
            self.shift = near.old.wrapping_sub(near.new) as i64;
        }
        self.at += len as u64;
        Some(Step::Code(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(matches: &[Match], len: u64) -> Vec<Step> {
        let files = FileMap::default();
        let steps: Vec<_> = Planner::new(matches, &files, len, len).collect();
        let mut at = 0;
        for step in &steps {
            let (new, len) = match step {
                Step::Copy(found) => (found.new, found.len),
                Step::Code(frame) => (frame.new, frame.len as u64),
            };
            assert_eq!(new, at);
            at += len;
        }
        assert_eq!(at, len);
        steps
    }

    #[test]
    fn long_matches_are_copied_and_the_rest_is_coded() {
        assert!(steps(&[], 0).is_empty());
        assert_eq!(steps(&[], 3 * FRAME_MAX as u64 + 1).len(), 4);
        let long = |new| Match { new, old: new + 7, len: COPY_MIN };
        let short = |new| Match { new, old: new + 9, len: 5000 };
        let found = steps(&[long(0), long(COPY_MIN), short(2 * COPY_MIN + 9), long(300_000), short(400_000)], 500_000);
        assert!(matches!(
            found[..],
            [Step::Copy(_), Step::Copy(_), Step::Code(_), Step::Copy(Match { new: 300_000, .. }), Step::Code(_)]
        ));
        // Short matches only.
        let shorts: Vec<_> = (0..100).map(|i| short(i * 20_000)).collect();
        assert!(steps(&shorts, 2_000_000).iter().all(|step| matches!(step, Step::Code(_))));
    }
}
