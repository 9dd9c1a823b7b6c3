//! The glha daemon and its commands.

fn main() {}
