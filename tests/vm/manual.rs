//! The README's steps from keepalived and the examples of glha-hooks(7), as a person reads them: commands and
//! configuration literally.

use std::fs;
use std::path::Path;

/// One step: its number and what stands in it.
pub struct Step {
    text: String,
}

impl Step {
    /// Step `number` of the five; 0 is the way back, which stands below them.
    pub fn of(number: usize) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let page = fs::read_to_string(path).expect("README.md");
        let section =
            page.split("\n## ").find(|text| text.starts_with("From keepalived, in five steps"));
        let section = section.expect("the section of the five steps");
        let beginning = |number| match number {
            0 => "\n**And back:**".to_owned(),
            n => format!("\n{n}. **"),
        };
        let from = section.find(&beginning(number)).unwrap_or_else(|| panic!("no step {number}"));
        let rest = &section[from + 1..];
        let end = rest.find(&beginning(if number == 5 { 0 } else { number + 1 }));
        Self { text: rest[..end.unwrap_or(rest.len())].to_owned() }
    }

    /// Its indented block that has this in it, without the indentation.
    pub fn block(&self, part: &str) -> String {
        let is_code = |line: &str| line.starts_with("       ");
        let mut blocks = vec![String::new()];
        for line in self.text.lines() {
            let last = blocks.last_mut().expect("one");
            if is_code(line) {
                *last += &format!("{}\n", &line[7..]);
            } else if line.trim().is_empty() && !last.is_empty() {
                last.push('\n');
            } else if !last.is_empty() {
                blocks.push(String::new());
            }
        }
        let found = blocks.into_iter().find(|block| block.contains(part));
        found.unwrap_or_else(|| panic!("no block with {part:?} in:\n{}", self.text))
    }

    /// What stands in backquotes and begins so.
    pub fn command(&self, beginning: &str) -> String {
        let quoted = self.text.split('`').skip(1).step_by(2);
        let mut quoted = quoted.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        let found = quoted.find(|command| command.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no command {beginning:?} in:\n{}", self.text))
    }
}

/// The literal block of glha-hooks(7) that has this in it, in the example of this heading.
pub fn example(heading: &str, part: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/glha-hooks.7");
    let page = fs::read_to_string(path).expect("glha-hooks.7");
    let section = page.split("\n.S").find(|text| text.starts_with(&format!("s {heading}\n")));
    let section = section.unwrap_or_else(|| panic!("no example {heading:?}"));
    let blocks = section.split("\n.Bd -literal -offset indent\n").skip(1);
    let mut blocks = blocks.map(|rest| rest.split(".Ed\n").next().expect("one").to_owned());
    let found = blocks.find(|block| block.contains(part));
    let found = found.unwrap_or_else(|| panic!("no block with {part:?} in {heading:?}"));
    found.replace("\\e", "\\").replace("\\-", "-")
}

/// The commands of a block: what follows `# `.
pub fn commands(block: &str) -> impl Iterator<Item = &str> {
    block.lines().filter_map(|line| line.strip_prefix("# "))
}
