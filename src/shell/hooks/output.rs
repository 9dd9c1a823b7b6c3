//! What a hook writes: split into lines, logged within a bound, the last lines kept.

use std::collections::VecDeque;

/// Longer lines are cut.
pub const LINE_BYTES_MAX: usize = 1024;
/// So many lines of a run are logged; the rest is counted.
pub const LOGGED_LINES_MAX: u64 = 1000;
/// So many last lines are kept for the event of the run's end.
pub const KEPT_LINES_MAX: usize = 20;

/// Which of a hook's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

/// The output of one run. Its memory is bounded whatever the hook writes.
#[derive(Debug)]
pub struct Output {
    name: String,
    out: Line,
    err: Line,
    kept: VecDeque<String>,
    logged_count: u64,
    unlogged_count: u64,
}

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    cut: bool,
}

impl Output {
    /// For a run that is logged as `name`.
    pub fn new(name: String) -> Self {
        Self {
            name,
            out: Line::default(),
            err: Line::default(),
            kept: VecDeque::new(),
            logged_count: 0,
            unlogged_count: 0,
        }
    }

    /// How the run is called in the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes in what was read from one stream.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.line(stream).append(text);
            if ended {
                self.end_line(stream);
            }
        }
    }

    /// Counts an unfinished line as finished.
    pub fn flush(&mut self) {
        self.end_line(Stream::Out);
        self.end_line(Stream::Err);
    }

    /// The last lines so far, oldest first.
    pub fn take_kept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept).into()
    }

    /// Logs how many lines were left out of the log since it was last told.
    pub fn report_unlogged(&mut self) {
        let count = std::mem::take(&mut self.unlogged_count);
        if count > 0 {
            log::info!("{}: ... {count} more lines not logged", self.name);
        }
    }

    const fn line(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let text = self.line(stream).finish();
        if text.is_empty() {
            return;
        }
        if self.logged_count < LOGGED_LINES_MAX {
            self.logged_count += 1;
            log::info!("{}: {text}", self.name);
        } else {
            self.unlogged_count += 1;
        }
        if self.kept.len() == KEPT_LINES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(text);
    }
}

impl Line {
    fn append(&mut self, text: &[u8]) {
        let room = LINE_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(text.get(..room).unwrap_or(text));
        self.cut |= text.len() > room;
    }

    /// The line as text. Control characters would let a hook forge log lines or drive a terminal.
    fn finish(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).trim_end().replace('\t', " ");
        if text.contains(char::is_control) {
            text = text.replace(char::is_control, "\u{fffd}");
        }
        if self.cut {
            text.push_str(" ...");
        }
        self.bytes.clear();
        self.cut = false;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut output = Output::new("test".to_owned());
        for chunk in chunks {
            output.take(Stream::Out, chunk);
        }
        output.flush();
        output.take_kept()
    }

    #[test]
    fn lines_are_put_together_across_reads() {
        assert_eq!(lines(&[b"one\ntw", b"o\r\n\nthr", b"ee"]), ["one", "two", "three"]);
    }

    #[test]
    fn the_streams_do_not_mix() {
        let mut output = Output::new("test".to_owned());
        output.take(Stream::Out, b"to ");
        output.take(Stream::Err, b"oops\n");
        output.take(Stream::Out, b"out\n");
        assert_eq!(output.take_kept(), ["oops", "to out"]);
    }

    #[test]
    fn a_line_is_cut_at_its_bound() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(lines(&[&long])[0].len(), LINE_BYTES_MAX);
        let kept = lines(&[&long, b"y", b"y\nz"]);
        assert_eq!(kept.len(), 2);
        assert!(kept[0].ends_with("x ..."), "{}", kept[0]);
        assert_eq!(kept[1], "z");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        let kept = lines(&[text.as_bytes()]);
        assert_eq!(kept.len(), KEPT_LINES_MAX);
        assert_eq!(kept.last().map(String::as_str), Some("99"));
        assert_eq!(kept.first().map(String::as_str), Some("80"));
    }

    #[test]
    fn bytes_that_are_no_text_do_not_reach_the_log() {
        assert_eq!(lines(&[b"a\x1b[31m\xffb\tc\n"]), ["a\u{fffd}[31m\u{fffd}b c"]);
    }
}
