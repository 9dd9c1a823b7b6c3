//! Statements put together into blocks as their lines and braces arrive.

use super::diagnostic::Span;
use super::statement::Statement;

/// The deepest nesting of blocks; keepalived's deepest is 5.
pub const BLOCK_DEPTH_MAX: usize = 32;

/// The blocks that are open, outermost first, each with its statements so far.
///
/// The owner of an open block is the last statement of the level around it.
#[derive(Debug, Default)]
pub struct Tree {
    top: Vec<Statement>,
    open: Vec<Vec<Statement>>,
}

impl Tree {
    fn level(&mut self) -> &mut Vec<Statement> {
        self.open.last_mut().unwrap_or(&mut self.top)
    }

    /// Adds a line to the innermost open block.
    pub fn add(&mut self, statement: Statement) {
        self.level().push(statement);
    }

    /// Opens a block: that of the line before, unless it already had one.
    ///
    /// Says whether it is still within [`BLOCK_DEPTH_MAX`]; if not, nothing is opened.
    pub fn begin(&mut self, span: Span) -> bool {
        if self.open.len() >= BLOCK_DEPTH_MAX {
            return false;
        }
        let level = self.level();
        if level.last().is_none_or(|last| last.block.is_some()) {
            level.push(Statement { words: Vec::new(), rest: String::new(), block: None, span });
        }
        self.open.push(Vec::new());
        true
    }

    /// Closes the innermost block; false if none is open.
    pub fn end(&mut self) -> bool {
        let Some(block) = self.open.pop() else { return false };
        if let Some(owner) = self.level().last_mut() {
            owner.block = Some(block);
        }
        true
    }

    /// The first word of the top-level block that stands open, if it is the only one.
    pub fn only_block(&self) -> Option<&str> {
        match self.open.len() {
            1 => self.top.last()?.words.first().map(|word| word.text.as_str()),
            _ => None,
        }
    }

    /// Closes everything; returns the statements and the lines whose blocks stood open,
    /// innermost first.
    pub fn finish(mut self) -> (Vec<Statement>, Vec<(String, Span)>) {
        let mut unclosed = Vec::new();
        while self.end() {
            if let Some(owner) = self.level().last() {
                let words: Vec<&str> = owner.words.iter().map(|word| word.text.as_str()).collect();
                unclosed.push((words.join(" "), owner.span));
            }
        }
        (self.top, unclosed)
    }
}
