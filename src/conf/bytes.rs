//! Bytes that are no UTF-8. keepalived takes every value as the bytes that stand there, on the wire, in
//! the names of files and in what scripts are told; here they are text. Other bytes would be another
//! password, another file or another name, so a value with such bytes is an error. In comments, and in
//! what has no effect here, they do not matter.

/// What is said of a value that is not UTF-8.
pub const NOT_TEXT: &str = "not UTF-8: keepalived takes these bytes as they are, and here they would be \
                            others; save the file in UTF-8 (and rename what the value names, if it is a \
                            file), or write ASCII";

/// Was something in this text no UTF-8? The lexer has put U+FFFD there.
pub fn is_replaced(text: &str) -> bool {
    text.contains(char::REPLACEMENT_CHARACTER)
}
