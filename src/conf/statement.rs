//! What a configuration is made of: lines of words, with blocks.

use super::diagnostic::Span;

/// A line of the configuration after all substitution, with the block that follows it if any.
///
/// keepalived ends a line at `{` and `}` wherever they stand outside quotes, and everything before
/// a brace is one line; so is it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its words; at least one, except for a block that has no name.
    pub words: Vec<Word>,
    /// The text from the second word to the end of the line, as it stood (quotes, escapes and
    /// all, comments gone), for keywords whose value is a command and is split as a shell would.
    pub rest: String,
    /// The block in braces, if one follows.
    pub block: Option<Vec<Self>>,
    /// Where the line begins.
    pub span: Span,
}

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word, without its quotes.
    pub text: String,
    /// Where it begins, quotes included.
    pub span: Span,
}
