//! The glha daemon and its commands.

fn main() {
    std::process::exit(glha::cli::main(std::env::args_os()));
}
