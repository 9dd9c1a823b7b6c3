//! The word that was perhaps meant.

/// The candidate nearest to `word`, if one is near enough to be worth a guess: a third of its
/// letters may differ, letter case never counts.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > WORD_CHARS_MAX {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        let allowed = (word.len().max(letters.len()) / 3).max(1);
        if word.len().abs_diff(letters.len()) > allowed {
            continue;
        }
        let distance = distance(&word, &letters);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Longer words get no suggestion: no keyword is near them, and the comparison is quadratic.
const WORD_CHARS_MAX: usize = 64;

/// Number of letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut least =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const WORDS: [&str; 5] = ["priority", "interface", "state", "fall", "rise"];

    #[test]
    fn near_words_are_found() {
        assert_eq!(nearest("prioirty", WORDS), Some("priority"));
        assert_eq!(nearest("State", WORDS), Some("state"));
        assert_eq!(nearest("fail", WORDS), Some("fall"));
        assert_eq!(nearest("inteface", WORDS), Some("interface"));
    }

    #[test]
    fn far_words_are_not() {
        assert_eq!(nearest("#Define", WORDS), None);
        assert_eq!(nearest("", WORDS), None);
        assert_eq!(nearest("virtual_server", WORDS), None);
    }
}
